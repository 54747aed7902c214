"""The events of runs that are too long to be made by agents."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from orchestra.cli.find import KnownRun, RunIndex
from orchestra.events import Event, make_event
from orchestra.journal.open_store import open_store
from orchestra.journal.store import run_from_marks
from tests.support.runs import Place

NAME = "20260101_120000"
USAGE = {"requests": 1, "replies": 1, "input": 900, "cached": 100, "cache_write": 0, "output": 50, "dollars": 0.001}


def long_run(tasks: int, count: int, requests: int = 3, name: str = NAME) -> Iterator[Event]:
    """Yield so many events of a run that goes on: its tasks are attempted in turns, with so many requests each."""
    first = {"change": "Improve it", "options": {"budget": 100.0}, "folder": "", "pid": 1, "namespace": "n"}
    first |= {"unborn": False, "repository": "/r", "branch": "main", "base": "0" * 40, "model": "m", "provider": "p"}
    planned = [
        {
            "id": n,
            "title": f"Task {n}",
            "brief": f"Do part {n}.",
            "files": [{"path": f"part{n}.py", "tokens": 1, "new": False, "required": True}],
            "needs": [n - 1] if n % 7 == 0 else [],
            "requirements": [],
            "reads": [],
        }
        for n in range(1, tasks + 1)
    ]
    kinds: list[tuple[str, int | None, int | None, dict[str, Any]]] = [
        ("run_started", None, None, first),
        ("plan_made", None, None, {"agents": 4, "skipped": [], "tasks": planned}),
    ]
    seq = 0
    for turn in range(count):
        if turn:
            kinds = list(attempt_events(turn % tasks + 1, turn // tasks + 1, requests))
        for kind, task, attempt, data in kinds:
            seq += 1
            yield make_event(name, seq, 1_767_268_800_000 + 100 * seq, kind, task, attempt, data)
            if seq == count:
                return


def attempt_events(
    task: int, number: int, requests: int
) -> Iterator[tuple[str, int | None, int | None, dict[str, Any]]]:
    asked = {"role": "agent", "provider": "p", "model": "m", "status": 200, "failure": "", "message": ""}
    yield "task_moved", task, None, {"state": "ready"}
    yield "task_moved", task, number, {"state": "active"}
    yield "attempt_started", task, number, {"model": "m"}
    for request in range(requests):
        numbered = {"role": "agent", "number": 1_000 * number + request, "dollars": 0.01, "tokens": 1000}
        yield "set_aside", task, number, numbered
        yield "request", task, number, asked | {"usage": USAGE, "seconds": 0.05, "number": 1_000 * number + request}
        yield "assistant_response", task, number, {"content": "Done.", "finish": "stop"}
    yield "gate_started", None, None, {"name": "tests", "command": "pytest", "tree": f"task{task}-{number}"}
    ok = number % 3 > 0
    gate = {"name": "tests", "about": "tests", "command": "pytest", "tree": f"task{task}-{number}", "ok": ok}
    yield "gate_ended", task, number, gate | {"verifies": ok, "seconds": 0.1, "new": [] if ok else ["test_a"]}
    verdict = "applied" if ok else "gates_failed"
    yield "attempt_ended", task, number, {"verdict": verdict, "cause": "It ended.", "commit": "", "seconds": 1.0}
    yield "task_moved", task, None, {"state": "awaiting_qa" if ok else "failed"}


def store_long_run(
    place: Place, tasks: int, count: int, requests: int = 3, batch: int = 2_000
) -> tuple[RunIndex, KnownRun]:
    """Put such a run into the store of a place, without files. Return it with the open store."""
    folder = place.repo / ".aider_logs"
    folder.mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("*\n", "utf-8")
    store, events = open_store(folder / "orchestra.db"), long_run(tasks, count, requests)
    first = next(events)
    store.append_events(".", [first])
    while page := list(islice(events, batch)):
        store.append_events(".", page)
    return RunIndex(place.repo, store, ".", False), KnownRun(run_from_marks([first]), ".")
