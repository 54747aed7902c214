"""Plans by the API: what `plan` does in a terminal, and that two editors of one file do not lose a change."""

import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestra.web.repositories import Repositories
from tests.support.load import wait_until
from tests.support.runs import make_place
from tests.test_web import OWNER, ask
from tests.test_web_launch import has_output

PLAN = """\
goal = "Improve all"
approved = true
[[task]]
id = "model"
title = "The model"
files = ["a.py"]
[[task]]
id = "use"
title = "Its use"
files = ["b.py"]
needs = ["model"]
"""


@pytest.fixture
def repositories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repositories]:
    place = make_place(tmp_path, {"a.py": "a = 1\n", "b.py": "b = 2\n"})
    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)
    place.write({".aider_logs/plans/all.toml": PLAN, ".aider_logs/.gitignore": "*\n"})
    opened = Repositories([str(place.repo)], "")
    yield opened
    opened.close()


def send(repositories: Repositories, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(repositories, method, f"/api/v1{path}", OWNER | named, **({} if body is None else {"json": body}))


def plan_file(repositories: Repositories, name: str = "all") -> Path:
    return repositories.indexes[0].root / f".aider_logs/plans/{name}.toml"


def test_plan_is_read_with_its_tasks_problems_graph_and_estimate(repositories: Repositories) -> None:
    plan_file(repositories, "broken").write_text("goal = 1", "utf-8")
    listed = {plan["name"]: plan for plan in send(repositories, "GET", "/plans").json()["data"]}
    assert (listed["all"]["approved"], listed["all"]["tasks"], listed["all"]["problem"]) == (True, 2, "")
    assert "goal" in listed["broken"]["problem"]
    found = send(repositories, "GET", "/plans/all")
    data = found.json()["data"]
    assert [task["id"] for task in data["tasks"]] == ["model", "use"] and data["problems"] == []
    assert data["toml"] == PLAN and found.headers["etag"] == data["etag"]
    assert [task for task, *_ in data["graph"]["boxes"]] == [1, 2] and len(data["graph"]["edges"]) == 1
    assert data["estimate"]["tasks"].keys() == {"model", "use"}
    broken = send(repositories, "GET", "/plans/broken").json()["data"]
    assert broken["problems"] and broken["tasks"] == []
    for name in ("nothing", "..", "a%2Fb", "%2Fetc%2Fpasswd"):
        assert send(repositories, "GET", f"/plans/{name}").status_code == 404


def test_plan_that_was_changed_meanwhile_is_not_overwritten(repositories: Repositories) -> None:
    tag = send(repositories, "GET", "/plans/all").headers["etag"]
    text = PLAN.replace("The model", "The new model")
    assert send(repositories, "PUT", "/plans/all", {"toml": text}).status_code == 428
    done = send(repositories, "PUT", "/plans/all", {"toml": text}, If_Match=tag)
    assert done.status_code == 200 and done.json()["data"]["approved"] is False, "the approval was for another plan"
    stale = send(repositories, "PUT", "/plans/all", {"toml": PLAN}, If_Match=tag)
    assert (stale.status_code, stale.json()["error"]["code"]) == (412, "PRECONDITION_FAILED")
    assert stale.json()["error"]["details"] == {"etag": done.headers["etag"]}
    assert send(repositories, "POST", "/plans/all/edit", {"words": ["remove", "use"]}, If_Match=tag).status_code == 412
    refused = send(repositories, "PUT", "/plans/all", {"toml": "goal ="}, If_Match=done.headers["etag"])
    assert refused.status_code == 400 and "not TOML" in refused.json()["error"]["message"]
    assert tomllib.loads(plan_file(repositories).read_text("utf-8"))["task"][0]["title"] == "The new model"


def test_plan_is_edited_by_the_commands_of_the_terminal(repositories: Repositories) -> None:
    edited = send(repositories, "POST", "/plans/all/edit", {"command": "disconnect use model"})
    assert edited.json()["data"]["tasks"][1]["needs"] == []
    for body, status in (({"words": ["explode"]}, 400), ({"words": "x"}, 400), ({"command": "set 'x"}, 400), ({}, 400)):
        assert send(repositories, "POST", "/plans/all/edit", body).status_code == status
    circle = [{"words": ["connect", "use", "model"]}, {"words": ["connect", "model", "use"]}]
    problems = [send(repositories, "POST", "/plans/all/edit", body).json()["data"]["problems"] for body in circle]
    assert problems[0] == [] and problems[1]
    assert send(repositories, "POST", "/plans/all/check", {}).json()["data"]["ok"] is False
    refused = send(repositories, "POST", "/plans/all/approve", {})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "CONFLICT")
    send(repositories, "POST", "/plans/all/edit", {"words": ["disconnect", "model", "use"]})
    approved = send(repositories, "POST", "/plans/all/approve", {}).json()["data"]
    assert approved["approved"] and "approved = true" in plan_file(repositories).read_text("utf-8")


def test_new_plan_is_written_only_under_a_free_name(repositories: Repositories) -> None:
    new = {"If_None_Match": "*"}
    assert send(repositories, "PUT", "/plans/mine", {"toml": PLAN}, **new).status_code == 201
    assert plan_file(repositories, "mine").is_file()
    assert send(repositories, "PUT", "/plans/mine", {"toml": PLAN}, **new).status_code == 400
    for name in ("a b", "..", "x.y"):
        assert send(repositories, "PUT", f"/plans/{name}", {"toml": PLAN}, **new).is_client_error
    assert sorted(path.name for path in plan_file(repositories).parent.iterdir()) == ["all.toml", "mine.toml"]


def test_plan_is_made_and_carried_out_by_programs_of_their_own(repositories: Repositories) -> None:
    """A change may look like an option; the run ends at once, because two options exclude each other."""
    body = {"change": "--help me", "files": ["a.py", "b.py"], "no-prd": True, "model": "gpt-6.1-sol"}
    made = send(repositories, "POST", "/plans", body)
    record = made.json()["data"]
    assert (made.status_code, record["plan"]) == (202, "help-me"), made.text
    console = repositories.indexes[0].root / record["console"]
    wait_until(plan_file(repositories, "help-me").is_file, what="the plan is written: " + console.read_text("utf-8"))
    assert send(repositories, "GET", "/plans/help-me").json()["data"]["goal"] == "--help me"
    assert send(repositories, "POST", "/plans", {"change": " "}).status_code == 400
    started = send(repositories, "POST", "/plans/all/execute", {"agents": 1, "max-agents": 1})
    console = repositories.indexes[0].root / started.json()["data"]["console"]
    wait_until(partial(has_output, console), what="the program has said why it ends")
    assert started.status_code == 202 and "exclude" in console.read_text("utf-8")
    assert send(repositories, "POST", "/plans/none/execute", {}).status_code == 404
