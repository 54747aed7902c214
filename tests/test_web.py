"""The server behind the dashboard: who may ask, the shape of answers, and rows that are sent when they change."""

import asyncio
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from orchestra.cli.command_table import build_command_parser
from orchestra.cli.commands.serve import cmd_serve, open_page, public_urls, server_origins
from orchestra.errors import UsageError
from orchestra.report.fold import fold_events
from orchestra.report.run_status import status_record
from orchestra.web.access import READS_PER_MINUTE, WRITES_PER_MINUTE, Access, load_token
from orchestra.web.app import STATIC, build_app
from orchestra.web.envelope import ApiError
from orchestra.web.guard import Guard
from orchestra.web.live import LiveRun, LiveRuns, stream_frames
from orchestra.web.repositories import Repositories
from tests.support import corpus
from tests.support.ci_runner import ROOT

HOST, TOKEN = "127.0.0.1:8085", "the-token-of-this-server"
OWNER = {"Authorization": f"Bearer {TOKEN}"}
OPEN = {"/", "/health/live", "/health/ready", "/static/{name}"}
OTHERS = {"exception": "latest:1:1", "agent": "latest:1:1", "launch": "1", "gate": "1", "id": "s:1", "seq": "1"}
WAITING = "person_retries"  # its run first ended with a task that waits for a person


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repositories]:
    """The runs of a scenario of the corpus, in a repository of their own."""
    root = corpus.unpack(WAITING, tmp_path_factory.mktemp("web") / "repo")
    opened = Repositories([str(root)], "")
    yield opened
    opened.close()


@lru_cache(4)
def app_of(repositories: Repositories) -> FastAPI:
    """One for all requests of a test, because it takes a twentieth of a second to build."""
    return build_app(repositories)


def ask(
    repositories: Repositories, method: str, path: str, headers: dict[str, str] | None = None, **more: Any
) -> httpx.Response:
    """Send one request through the guard, without a network."""

    async def send() -> httpx.Response:
        guard = Guard(app_of(repositories), Access(TOKEN, [HOST]))
        transport = httpx.ASGITransport(guard, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
            return await client.request(method, path, headers=headers, **more)

    return asyncio.run(send())


# --- who may ask ----------------------------------------------------------------------------------------------------


def routes() -> list[tuple[str, str]]:
    class Nowhere:
        indexes, store, roots = (), "", ()

    app = build_app(Nowhere())  # type: ignore[arg-type]
    found = [(method, route.path) for route in app.routes if isinstance(route, APIRoute) for method in route.methods]
    return [*found, ("GET", "/api/v1/openapi.json")]


def test_every_route_wants_the_token_but_those_that_hold_no_secret(repositories: Repositories) -> None:
    for method, path in routes():
        address = path.format_map({"run": "latest", "task": 1, "command": "pause", "name": "main.js"} | OTHERS)
        without = ask(repositories, method, address)
        wrong = ask(repositories, method, address, {"Authorization": "Bearer wrong"})
        if path in OPEN:
            assert without.status_code == wrong.status_code == 200, path
            continue
        for refused in (without, wrong, ask(repositories, method, f"{address}?token={TOKEN}")):
            assert refused.status_code == 401 and refused.json()["error"]["code"] == "UNAUTHORIZED", path


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/health/live", "/api/v1/runs", "/nowhere"])
@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1.nip.io:8085", "127.0.0.1:8086", "[::]:8085", ""])
def test_other_names_are_refused_on_every_path(repositories: Repositories, path: str, host: str) -> None:
    answer = ask(repositories, "GET", path, OWNER | {"Host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (421, "MISDIRECTED")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:8085"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_pages_of_other_servers_are_refused_also_with_the_token(
    repositories: Repositories, headers: dict[str, str]
) -> None:
    assert ask(repositories, "GET", "/api/v1/runs", OWNER | headers).status_code == 403
    assert ask(repositories, "POST", "/api/v1/runs/latest/pause", OWNER | headers, json={}).status_code == 403
    assert ask(repositories, "GET", "/api/v1/runs", OWNER | {"Origin": f"http://{HOST}"}).status_code == 200


def test_requests_are_counted_for_each_minute() -> None:
    clock = Clock()
    access = Access(TOKEN, [HOST], clock=clock)
    headers = {"host": HOST, "authorization": f"Bearer {TOKEN}"}

    def count(method: str) -> int:
        """How many requests are answered until one is refused."""
        for number in range(10_000):
            try:
                access.check(method, "/api/v1/runs", headers, "me")
            except ApiError as error:
                assert error.status == 429
                return number
        raise AssertionError("no request was refused")

    assert (count("GET"), count("POST")) == (READS_PER_MINUTE, WRITES_PER_MINUTE)
    clock.now += 30
    assert count("POST") == WRITES_PER_MINUTE // 2
    # Wrong tokens are counted by themselves, so that guessing them does not lock the owner out.
    for _ in range(100):
        with pytest.raises(ApiError):
            access.check("GET", "/api/v1/runs", headers | {"authorization": "Bearer x"}, "other")
    assert access.check("GET", "/api/v1/runs", headers, "me")["X-RateLimit-Limit"] == str(READS_PER_MINUTE)


def test_ticket_opens_one_path_once_and_soon() -> None:
    clock = Clock()
    access = Access(TOKEN, [HOST], clock=clock)

    def opens(path: str, ticket: str, method: str = "GET") -> bool:
        try:
            access.check(method, path, {"host": HOST}, "me", f"ticket={ticket}")
        except ApiError as error:
            assert error.status == 401
            return False
        return True

    path = "/api/v1/runs/1/report"
    tickets = [access.issue_ticket(path) for _ in range(4)]
    assert opens(path, tickets[0]) and not opens(path, tickets[0])
    assert not opens("/api/v1/runs/1", tickets[1]) and not opens(path, tickets[1])
    assert not opens(path, tickets[2], "POST") and not opens(path, "") and opens(path, tickets[2])
    clock.now += 31
    assert not opens(path, tickets[3])


@pytest.mark.parametrize("role", ["owner", "viewer", "metrics", "nobody"])
def test_each_role_may_do_what_it_is_for(repositories: Repositories, role: str) -> None:
    """Each route of the app: a new one that changes something is closed to viewers by its method."""
    access = Access(TOKEN, [HOST], limited=False, viewer_token="v" * 40, metrics_token="m" * 40)
    token = {"owner": TOKEN, "viewer": "v" * 40, "metrics": "m" * 40, "nobody": "n" * 40}[role]
    reading_posts = {f"{prefix}{path}" for prefix in ("/api", "/api/v1") for path in ("/tickets", "/locks/check")}
    for method, path in routes():
        headers = {"host": HOST, "authorization": f"Bearer {token}"}
        reads = method == "GET" or path in reading_posts
        expected = {
            "owner": True,
            "viewer": reads,
            "metrics": (method, path) == ("GET", "/metrics"),
            "nobody": False,
        }[role] or path in OPEN
        try:
            access.check(method, path, headers, "me")
            allowed = True
        except ApiError as refused:
            allowed = False
            assert refused.status in ((401, 429) if role == "nobody" else (403,)), path
        assert allowed == expected, f"{role}: {method} {path}"


def test_viewer_has_tickets_that_only_read() -> None:
    access = Access(TOKEN, [HOST], viewer_token="v" * 40)
    path = "/api/v1/runs/1/report"
    role, _ = access.admit("GET", path, {"host": HOST}, "me", f"ticket={access.issue_ticket(path)}")
    assert role == "viewer"
    with pytest.raises(ApiError):
        access.admit("POST", path, {"host": HOST}, "me", f"ticket={access.issue_ticket(path)}")


def serve_error(*words: str) -> str:
    with pytest.raises(UsageError) as refused:
        cmd_serve(build_command_parser("serve").parse(list(words)))
    return str(refused.value)


def test_server_beyond_this_machine_needs_encryption(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        assert "token would be sent unencrypted" in serve_error("--host", host)
    assert "belong together" in serve_error("--tls-cert", "x.pem")
    assert "cannot be used" in serve_error("--tls-cert", str(tmp_path / "no.pem"), "--tls-key", "no.key")
    (tmp_path / "bad.pem").write_text("no certificate", "utf-8")
    assert "cannot be used" in serve_error(
        "--tls-cert", str(tmp_path / "bad.pem"), "--tls-key", str(tmp_path / "bad.pem")
    )
    for url in ("x", "ftp://a", "https://", "https://a/path", "https://me@a", "http://[", "https://a:99999"):
        assert "this is no address" in serve_error("--behind-proxy", url)


def test_names_of_the_server_are_those_by_which_it_is_reached() -> None:
    def origins(*words: str) -> list[str]:
        arguments = build_command_parser("serve").parse(list(words))
        return server_origins(arguments, 8085, public_urls(arguments))

    local = [f"http://{name}:8085" for name in ("127.0.0.1", "localhost", "[::1]")]
    assert origins() == local and origins("--host", "::1")[0] == "http://[::1]:8085"
    proxied = origins("--host", "0.0.0.0", "--behind-proxy", "https://runs.example.org")
    assert proxied == ["https://runs.example.org", *local]
    assert origins("--public-url", "https://runs.example.org:444/")[0] == "https://runs.example.org:444"


def test_token_is_kept_for_the_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "config" / "serve-token"
    token = load_token(path)
    assert len(token) > 40 and path.stat().st_mode & 0o777 == 0o600
    assert load_token(path) == token != load_token(path, new=True)
    path.chmod(0o644)
    with pytest.raises(UsageError, match="can be read by others"):
        load_token(path)


# --- the shape of answers -------------------------------------------------------------------------------------------


def test_errors_have_one_shape_and_the_request_id(repositories: Repositories) -> None:
    cases = [
        ask(repositories, "GET", "/api/v1/runs/never", OWNER | {"X-Request-Id": "mine-1"}),
        ask(repositories, "GET", "/api/v1/nowhere", OWNER | {"X-Request-Id": "<script>"}),
        ask(repositories, "GET", "/api/v1/runs?limit=x", OWNER),
        ask(repositories, "DELETE", "/api/v1/runs", OWNER),
        ask(repositories, "POST", "/api/v1/runs/latest/pause", OWNER, content="x"),
        ask(repositories, "POST", "/api/v1/runs/latest/explode", OWNER, json={}),
        ask(repositories, "POST", "/api/v1/runs/latest/pause", OWNER, json=[1]),
        ask(repositories, "GET", "/static/..%2f..%2faccess.py"),
    ]
    codes = ["NOT_FOUND", "NOT_FOUND", "VALIDATION_ERROR", "METHOD_NOT_ALLOWED", "UNSUPPORTED_MEDIA", "NOT_FOUND"]
    assert [each.json()["error"]["code"] for each in cases] == [*codes, "BAD_REQUEST", "NOT_FOUND"]
    for each in cases:
        assert each.json()["error"]["requestId"] == each.headers["x-request-id"]
        assert each.headers["content-security-policy"].startswith("default-src 'none'")
    assert cases[0].headers["x-request-id"] == "mine-1" and cases[1].headers["x-request-id"].startswith("req_")
    problem = ask(repositories, "GET", "/api/v1/runs/never", OWNER | {"Accept": "application/problem+json"})
    assert problem.headers["content-type"] == "application/problem+json"
    assert (problem.json()["title"], problem.json()["status"]) == ("NOT_FOUND", 404)


def test_run_has_the_figures_of_status(repositories: Repositories) -> None:
    index, run = repositories.find("latest")
    found = ask(repositories, "GET", "/api/v1/runs/latest", OWNER)
    data = found.json()["data"]
    report = fold_events(index.read_log(run).events)
    folder = index.logs.relative_to(index.root)
    logs = {task: str(folder / f"agent{task}_{run.name}.jsonl") for task in report.tasks}
    assert data["status"] == json.loads(json.dumps(status_record(report, logs, None)))
    assert data["run"]["usage"].items() <= data["status"]["usage"].items()
    assert [row["agent"] for row in data["rows"]] == list(data["status"]["agents"])
    for row in data["rows"]:
        agent = data["status"]["agents"][row["agent"]]
        same = ("state", "verdict", "attempts", "cause", "usage", "files", "commit", "seconds")
        assert {name: row[name] for name in same} == {name: agent[name] for name in same}
    again = ask(repositories, "GET", "/api/v1/runs/latest", OWNER | {"If-None-Match": found.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    listed = ask(repositories, "GET", "/api/runs?limit=1", OWNER).json()
    assert listed["data"][0]["run"] == run.name and listed["page"]["total"] >= 1


def test_task_and_events_of_a_run(repositories: Repositories) -> None:
    task = ask(repositories, "GET", "/api/v1/runs/latest/tasks/2", OWNER).json()["data"]
    assert task["brief"] and len(task["attempts"]) > 1 and task["attempts"][-1]["diff"].startswith("diff --git")
    assert ask(repositories, "GET", "/api/v1/runs/latest/tasks/99", OWNER).status_code == 404
    first = ask(repositories, "GET", "/api/v1/runs/latest/events?limit=5", OWNER).json()
    rest = ask(repositories, "GET", f"/api/v1/runs/latest/events?after={first['data'][-1]['seq']}&limit=1000", OWNER)
    numbers = [event["seq"] for event in [*first["data"], *rest.json()["data"]]]
    assert numbers == list(range(1, first["page"]["last"] + 1))
    own = ask(repositories, "GET", "/api/v1/runs/latest/events?task=2&limit=1000", OWNER).json()["data"]
    assert {event["task"] for event in own} == {2}


def test_command_to_a_run_that_no_process_works_on_is_refused(repositories: Repositories) -> None:
    body = {"action": "retry", "task": 1, "run": "x", "key": "x", "kind": "x", "store": "x", "token": "x"}
    answer = ask(repositories, "POST", "/api/v1/runs/latest/tasks/2/resolve", OWNER, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "NOT_RUNNING")
    index, run = repositories.find("latest")
    assert index.store.take_commands(run.key, run.name) == [], "nothing is left for a later session"


def test_metrics_count_each_route_once(repositories: Repositories) -> None:
    app = build_app(repositories)
    guard = Guard(app, Access(TOKEN, [HOST]), app.state.metrics.observe_request)

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(guard)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}", headers=OWNER) as client:
            paths = ("/api/v1/runs/latest", "/api/v1/runs/nothing", "/nowhere", "/metrics")
            return [await client.get(path) for path in paths]

    found = asyncio.run(send())[-1]
    assert found.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    counted = [line for line in found.text.splitlines() if line.startswith("aider_orchestrator_http_requests_total")]
    assert [(re.findall(r'(?:code|route)="([^"]*)"', line), line[-3:]) for line in sorted(counted)] == [
        (["200", "/api/v1/runs/{run}"], "1.0"),
        (["404", "/api/v1/runs/{run}"], "1.0"),
        (["404", "none"], "1.0"),
    ]


def test_health_tells_whether_the_store_answers(repositories: Repositories) -> None:
    found = ask(repositories, "GET", "/api/health", OWNER).json()["data"]
    assert found["status"] == found["checks"]["database"]["status"] == "ok"


# --- changed rows ---------------------------------------------------------------------------------------------------


def read_frame(frame: bytes) -> tuple[str, dict[str, Any]]:
    fields = dict(line.split(": ", 1) for line in frame.decode().strip().split("\n"))
    return fields["event"], json.loads(fields["data"])


def without_numbers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seq"} for row in rows]


def test_viewer_gets_all_rows_and_then_the_changed_ones_once(repositories: Repositories) -> None:
    index, run = repositories.find("latest")
    events = index.read_log(run).events

    async def look() -> None:
        runs, live = LiveRuns(), LiveRun(index, run)
        live.read = lambda: []  # type: ignore[method-assign]  # the test feeds it
        runs.runs["here", run.name] = live
        planned = next(n for n, event in enumerate(events) if event.kind == "plan_made") + 1
        live.apply(events[:planned], True)
        frames = stream_frames(runs, live, 0)
        kind, data = read_frame(await anext(frames))
        assert kind == "snapshot" and [row["id"] for row in data["rows"]] == [1, 2]
        # Many changes while the viewer does not read are one frame, with the rows as they are then.
        for event in events[planned:]:
            live.apply([event], True)
        kind, data = read_frame(await anext(frames))
        while kind == "toast":
            kind, data = read_frame(await anext(frames))
        assert kind == "rows" and data["seq"] == data["run"]["seq"] == events[-1].seq
        whole = LiveRun(index, run)
        whole.apply(events, True)
        assert without_numbers(data["rows"]) == without_numbers(json.loads(json.dumps(whole.task_rows())))
        # Who comes back with the last number misses nothing and gets nothing twice.
        kind, data = read_frame(await anext(stream_frames(runs, live, events[-1].seq)))
        assert (kind, data["rows"]) == ("snapshot", [])
        await frames.aclose()  # type: ignore[attr-defined]

    asyncio.run(look())


def test_events_are_folded_once_by_readers_at_the_same_time(repositories: Repositories) -> None:
    found = repositories.find("latest")

    async def tokens(count: int) -> list[int]:
        runs = LiveRuns()
        opened = await asyncio.gather(*(runs.open(*found) for _ in range(count)))
        return [live.report.usage.tokens for live in opened]

    (alone,) = asyncio.run(tokens(1))
    assert alone > 0 and asyncio.run(tokens(5)) == [alone] * 5


# --- what is delivered ----------------------------------------------------------------------------------------------


def test_files_of_others_are_unchanged_and_named() -> None:
    vendored = tomllib.loads((STATIC / "vendor.toml").read_text("utf-8"))
    for entry in vendored.values():
        assert hashlib.sha256((STATIC / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
        assert entry["licence"] and entry["from"]


def test_server_is_imported_by_serve_alone() -> None:
    script = "import sys, aider_orchestrator; aider_orchestrator.main(['--help']); print(*sys.modules)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ, check=True)
    assert "orchestra.cli.main" in done.stdout.split()
    assert not {"fastapi", "orchestra.web", "prometheus_client"} & set(done.stdout.split())


def test_browser_gets_the_token_in_a_file_that_only_the_user_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opener = tmp_path / "browser"
    opener.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/opened\n')
    opener.chmod(0o755)
    monkeypatch.setattr("webbrowser._tryorder", None)
    monkeypatch.setenv("BROWSER", f"{opener} %s")
    open_page(tmp_path / "page.html", f"http://{HOST}/#t={TOKEN}")
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o600
    assert TOKEN in (tmp_path / "page.html").read_text()
    opened = (tmp_path / "opened").read_text()
    assert opened.strip().endswith("/page.html") and TOKEN not in opened


def test_address_that_others_can_reach_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    import aider_orchestrator

    assert aider_orchestrator.main(["serve", "--host", "0.0.0.0"]) == 2
    assert "is no loopback address, so the token would be sent unencrypted. Give --tls-cert" in capsys.readouterr().err
