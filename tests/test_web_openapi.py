"""Whatever is asked, the API answers with a status that it documents, and an error is told in the envelope."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from orchestra.web.repositories import Repositories
from tests.support import corpus
from tests.support.sample import SOAK
from tests.test_web import OWNER, ask
from tools.write_api import describe_app, list_endpoints

EXAMPLES = 2_000 if SOAK else 150
HOSTILE = (
    *("", "x", "..", "%00", "a\0b", "\ud800", "<img src=x onerror=alert(1)>", "</script>", "\u202e", "\x1b[31m"),
    *("=cmd|' /C calc'!A0", "javascript:alert(1)", "../../etc/passwd", "@/etc/passwd", "--help", "-", "x" * 5_000),
    *("latest", "1", "-1", "0", "99999999999999999999", "true", "null", "s:1", "latest:1:1", "latest:2:1", "NaN"),
)
# What no test can wait for: these go on until the caller leaves.
ENDLESS = re.compile(r"/stream|/ws")
NAMES = (
    *("change", "files", "model", "budget", "plan", "dry_run", "name", "toml", "words", "command", "action", "text"),
    *(
        "task",
        "title",
        "brief",
        "priority",
        "add_dependency",
        "dollars",
        "path",
        "paths",
        "status",
        "filesHint",
        "hint",
    ),
)
texts = st.sampled_from(HOSTILE) | st.text(max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
bodies = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | texts, inner, max_size=4),
    max_leaves=8,
)


@cache
def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [each for each in list_endpoints(describe_app()) if not ENDLESS.search(each[1])]


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    """A method, an address, the operation, and what goes with the request."""
    method, path, operation = draw(st.sampled_from(operations()))
    for name in re.findall(r"{(\w+)}", path):
        value = draw(st.sampled_from(("latest", "1", "2", "all")) | texts)
        path = path.replace(f"{{{name}}}", quote(value.encode("utf-8", "surrogatepass"), safe=""))
    known = [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]
    query = draw(st.dictionaries(st.sampled_from(known), texts, max_size=3)) if known else {}
    query.pop("follow", None)
    headers = draw(
        st.dictionaries(
            st.sampled_from(("If-Match", "If-None-Match", "Idempotency-Key", "Range", "Accept", "X-Request-Id")),
            st.sampled_from(("*", '"x"', "k1", "bytes=0-5", "bytes=9-1", "application/problem+json", "\t", "a b")),
            max_size=2,
        )
    )
    more: dict[str, Any] = {"headers": headers}
    if method in ("POST", "PUT", "PATCH"):
        body = json.dumps(draw(bodies | st.dictionaries(st.sampled_from(NAMES), scalars, max_size=4)))
        headers["Content-Type"] = draw(st.sampled_from(("application/json",) * 9 + ("text/plain",)))
        more["content"] = draw(st.sampled_from((body.encode(),) * 9 + (body.encode()[:-1], b"[" * 3_000)))
    prefix = "" if path in ("/metrics", "/health/live", "/health/ready") else "/api/v1"
    encoded = urlencode({name: value.encode("utf-8", "surrogatepass") for name, value in query.items()})
    return method, f"{prefix}{path}?{encoded}", operation, more


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repositories]:
    """The run of a scenario, and a program that does nothing in place of ours."""
    folder = tmp_path_factory.mktemp("openapi")
    root = corpus.unpack("person_retries", folder / "repo")
    (folder / "program.py").write_text("print('{}')\n", "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestra.web.launch.PROGRAM", folder / "program.py")
        opened = Repositories([str(root)], "")
        yield opened
        opened.close()


@pytest.mark.thorough
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(request=requests())
def test_every_answer_is_documented(repositories: Repositories, request: Any) -> None:
    method, address, operation, more = request
    answer = ask(repositories, method, address, OWNER | more.pop("headers"), **more)
    told = f"{method} {address} {str(more)[:300]}: {answer.text[:500]}"
    assert str(answer.status_code) in operation["responses"], told
    assert answer.status_code < 500 or answer.status_code in (503, 504), told
    assert answer.headers["x-request-id"] and answer.headers["content-security-policy"]
    kind = answer.headers.get("content-type", "")
    kinds = operation["responses"][str(answer.status_code)].get("content", {})
    assert not kinds or kind.partition(";")[0] in kinds, told
    if answer.status_code >= 400:
        problem = answer.json()
        error = problem.get("error", problem)
        assert (error.get("requestId") or error["instance"]) == answer.headers["x-request-id"]
        assert error.get("message") or error["detail"]
    elif kind.startswith("application/json"):
        assert "data" in answer.json() or address.startswith("/metrics")
