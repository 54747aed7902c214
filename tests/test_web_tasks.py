"""Tasks over all runs by the API, the words of other orchestrators, pages of lists, and what is told for debugging."""

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestra.plan.toml_file import parse_draft
from orchestra.web.live import LiveRuns, stream_frames
from orchestra.web.repositories import Repositories
from orchestra.web.routes.runs import find_cursor, make_cursor
from tests.support import corpus
from tests.support.load import wait_until
from tests.support.runs import make_place
from tests.test_web import OWNER, ask
from tests.test_web_launch import has_output


def send(repositories: Repositories, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(repositories, method, f"/api{path}", OWNER | named, **({} if body is None else {"json": body}))


@pytest.fixture
def repositories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repositories]:
    place = make_place(tmp_path, {"src/a.py": "a = 1\n", "src/b.py": "b = 2\n", "c.py": "c = 3\n"})
    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)
    opened = Repositories([str(place.repo)], "")
    yield opened
    opened.close()


def test_task_of_the_platform_is_submitted_changed_and_removed(repositories: Repositories) -> None:
    body = {"title": "Log in", "description": "Add a login", "priority": 1, "riskLevel": "LOW", "filesHint": ["src/"]}
    made = send(repositories, "POST", "/tasks", body)
    task = made.json()["data"]
    assert made.status_code == 201, made.text
    assert (task["id"], task["status"], task["filesHint"]) == ("s:log-in", "PENDING", ["src/a.py", "src/b.py"])
    assert (task["title"], task["priority"], task["riskLevel"]) == ("Log in", 1, "LOW")
    send(repositories, "POST", "/tasks", {"title": "Other", "filesHint": ["c.py"]})
    listed = send(repositories, "GET", "/tasks?limit=1").json()
    assert listed["page"]["total"] == 2 and [each["id"] for each in listed["data"]] == ["s:log-in"]
    got = send(repositories, "GET", "/tasks/s:log-in")
    assert got.json()["data"] == task
    changed = send(repositories, "PATCH", "/tasks/s:log-in", {"priority": 4}, If_Match=got.headers["etag"])
    assert changed.json()["data"]["priority"] == 5
    assert (
        send(repositories, "PATCH", "/tasks/s:log-in", {"title": "x"}, If_Match=got.headers["etag"]).status_code == 412
    )
    assert send(repositories, "PATCH", "/tasks/s:other", {"status": "CANCELLED"}).json()["data"]["id"] == "s:other"
    assert send(repositories, "DELETE", "/tasks/s:log-in").status_code == 200
    assert send(repositories, "GET", "/tasks").json()["data"] == []
    path = repositories.indexes[0].root / ".aider_logs/plans/submitted.toml"
    assert parse_draft(path.read_text("utf-8"), "").task == ()


def test_task_that_cannot_be_is_refused(repositories: Repositories) -> None:
    titled: tuple[dict[str, Any], ...] = (
        *({"filesHint": ["no.py"]}, {"filesHint": "c.py"}, {"filesHint": ["/etc/passwd"]}, {"priority": 9}),
        *({"priority": True}, {"riskLevel": "huge"}, {"owner": "me"}, {"title": 1}),
    )
    for body in ({}, {"filesHint": ["c.py"]}, *({"title": "x"} | more for more in titled)):
        refused = send(repositories, "POST", "/tasks", body)
        assert refused.status_code == 400, f"{body}: {refused.text}"
    assert send(repositories, "GET", "/tasks").json()["data"] == []
    for id in ("s:none", "none", "x:1", "s:"):
        for method in ("GET", "DELETE", "PATCH"):
            more = {"title": "x"} if method == "PATCH" else None
            assert send(repositories, method, f"/tasks/{id}", more).status_code == 404


def test_task_without_files_is_submitted_by_a_program(repositories: Repositories) -> None:
    """A model is to choose the files; here it ends because there is no key."""
    started = send(repositories, "POST", "/tasks", {"title": "--help", "priority": 2})
    assert started.status_code == 202, started.text
    console = repositories.indexes[0].root / started.json()["data"]["console"]
    wait_until(partial(has_output, console), what="the program has said why it ends")
    assert json.loads(console.read_text("utf-8").splitlines()[0])["words"] == ["submit", "--priority=high", "-"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repositories]:
    """Two repositories with a run of the same name, and one with another."""
    folder = tmp_path_factory.mktemp("finished")
    names = (("all_applied", "one"), ("all_applied", "two"), ("person_retries", "three"))
    opened = Repositories([str(corpus.unpack(name, folder / at)) for name, at in names], "")
    yield opened
    opened.close()


def test_tasks_of_runs_have_the_names_of_their_runs(finished: Repositories) -> None:
    rows = send(finished, "GET", "/tasks?scope=runs").json()["data"]
    assert len(rows) == len({row["id"] for row in rows}) and {row["status"] for row in rows} == {"COMPLETE"}
    for row in rows:
        assert send(finished, "GET", f"/tasks/{row['id']}").json()["data"]["title"] == row["title"]
        assert send(finished, "PATCH", f"/tasks/{row['id']}", {"title": "x"}).json()["error"]["code"] == "NOT_RUNNING"
        assert send(finished, "DELETE", f"/tasks/{row['id']}").json()["error"]["code"] == "NOT_RUNNING"
    assert send(finished, "GET", "/tasks?scope=nothing").status_code == 422


def test_run_of_two_repositories_is_named_with_its_mark(finished: Repositories) -> None:
    runs = send(finished, "GET", "/runs").json()["data"]
    doubled = [run for run in runs if run["ref"] != run["run"]]
    assert len(doubled) == 2 and len({run["ref"] for run in doubled}) == 2
    ambiguous = send(finished, "GET", f"/runs/{doubled[0]['run']}")
    assert (ambiguous.status_code, ambiguous.json()["error"]["code"]) == (409, "AMBIGUOUS_RUN")
    assert sorted(ambiguous.json()["error"]["details"]["candidates"]) == sorted(run["ref"] for run in doubled)
    for run in runs:
        assert send(finished, "GET", f"/runs/{run['ref']}").json()["data"]["run"]["id"] == run["run"]


def test_pages_of_runs_are_whole_also_when_new_runs_begin(finished: Repositories) -> None:
    first = send(finished, "GET", "/runs?limit=2").json()
    second = send(finished, "GET", f"/runs?limit=2&cursor={first['page']['next']}").json()
    refs = [run["ref"] for run in [*first["data"], *second["data"]]]
    assert len(set(refs)) == 3 and second["page"]["next"] is None and first["page"]["prev"] is None
    back = send(finished, "GET", f"/runs?limit=2&cursor={second['page']['prev']}").json()
    assert back["data"] == first["data"]
    assert send(finished, "GET", "/runs?cursor=x").status_code == 400
    assert send(finished, "GET", f"/runs?repo={finished.indexes[2].root}").json()["page"]["total"] == 1
    records = [{"started": time, "ref": f"r{time}"} for time in (50, 40, 30, 20)]
    cursor = make_cursor(records[2])
    assert find_cursor([{"started": 60, "ref": "new"}, *records], cursor, 2) == 3
    assert find_cursor([records[0], records[1], records[3]], cursor, 2) == 2, "the run was deleted"


def test_server_tells_what_it_knows_of_a_run(finished: Repositories) -> None:
    run = finished.list_index(finished.indexes[2])[0][1]
    found = send(finished, "GET", f"/debug/run/{run.name}").json()["data"]
    assert found["owner"] is None and found["gaps"] == [] and found["viewers"] == 0
    assert found["last_seq"]["server"] == found["last_seq"]["files"] > 0
    streams = send(finished, "GET", "/debug/stream").json()["data"]
    assert streams["polling"] is False and streams["threads"] > 0
    for probe in ("/health/live", "/health/ready"):
        assert ask(finished, "GET", probe).json() == {"data": {"status": "ok"}}


def test_run_that_was_deleted_is_gone(tmp_path: Path) -> None:
    opened = Repositories([str(corpus.unpack("all_applied", tmp_path / "repo"))], "")
    index, run = opened.find("latest")
    index.store.acquire_run(run.key, run.name, "me", "elsewhere", 1, 60_000)
    kept = send(opened, "DELETE", f"/runs/{run.name}")
    assert (kept.status_code, kept.json()["error"]["code"]) == (409, "CONFLICT") and "works on it" in kept.text
    index.store.release_run(run.key, run.name, "me")
    listed = send(opened, "DELETE", f"/runs/{run.name}?dry_run=true").json()["data"]
    assert listed["deleted"] and send(opened, "GET", f"/runs/{run.name}").status_code == 200

    async def watch() -> list[str]:
        runs = LiveRuns()
        live = await runs.open(index, run)
        frames = stream_frames(runs, live, 0)
        kinds = [await anext(frames)]
        assert (await asyncio.to_thread(send, opened, "DELETE", f"/runs/{run.name}?force=true")).status_code == 200
        live.owner_checked = 0.0
        kinds += [frame async for frame in frames]
        return [frame.split(b"\n")[1].decode() for frame in kinds]

    assert asyncio.run(watch())[-1] == "event: gone"
    gone = send(opened, "GET", f"/runs/{run.name}")
    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "GONE")
    assert send(opened, "GET", "/runs").json()["data"] == []
    assert not list(index.logs.glob(f"*{run.name}*"))
    opened.close()


def test_stream_without_news_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a page knows that it is not the line that is silent."""
    monkeypatch.setattr("orchestra.web.live.BEAT_SECONDS", 0.05)
    opened = Repositories([str(corpus.unpack("all_applied", tmp_path / "repo"))], "")
    index, run = opened.find("latest")

    async def watch() -> list[Any]:
        runs = LiveRuns()
        frames = stream_frames(runs, await runs.open(index, run), 0)
        return [json.loads((await anext(frames)).split(b"data: ")[1]) for _ in range(3)]

    snapshot, *beats = asyncio.run(watch())
    assert [(beat["type"], beat["seq"]) for beat in beats] == [("beat", snapshot["seq"])] * 2
    assert beats[0]["time"] < beats[1]["time"]
    opened.close()


def test_agents_are_started_with_so_many_at_each_task(repositories: Repositories) -> None:
    body = {"change": "Improve it", "files": ["c.py"], "agents_per_task": 2, "no-prd": True, "dry_run": True}
    answer = send(repositories, "POST", "/agents", body | {"model": "gpt-6.1-sol"})
    assert answer.status_code == 200 and answer.json()["data"]["plan"]["estimate"]["each"] == 2, answer.text
    for id, status in (("x", 404), ("latest:1:1", 404)):
        assert send(repositories, "DELETE", f"/agents/{id}").status_code == status
