"""Runs that were written down but never paid for, for the commands that look at runs."""

import json
import time
from pathlib import Path
from typing import Any

from orchestra.events import Event, event_record, make_event
from orchestra.journal.jsonl import prepare_log_folder
from orchestra.journal.open_store import open_store
from orchestra.journal.store import Store
from tests.support.shell import Said, Shell

STAMP = "20261121_101010"
USED = {"requests": 1, "replies": 1, "input": 10, "cached": 0, "cache_write": 0, "output": 5, "dollars": 0.25}


def story(root: Path, stamp: str = STAMP, code: int | None = 0, begun: int = 0, **more: Any) -> list[Event]:
    """A run with one task. Without a code it has not ended."""
    begun = begun or time.time_ns() // 1_000_000
    first = {
        "change": "Add",
        "repository": str(root),
        "branch": "main",
        "base": "0" * 40,
        "model": "m",
        "provider": "p",
    }
    files = [{"path": "a.py", "tokens": 1, "new": False, "required": True}]
    task = {"id": 1, "title": "t", "brief": "Do it.", "files": files, "requirements": [], "reads": []}
    asked = {"role": "agent", "provider": "p", "model": "m", "status": 200, "failure": "", "message": ""}
    told: list[tuple[str, int | None, dict[str, Any]]] = [
        ("run_started", None, first | {"namespace": "aider-orchestrator", "folder": ""} | more),
        ("plan_made", None, {"agents": 1, "skipped": [], "tasks": [task]}),
        ("task_moved", 1, {"state": "active"}),
        ("attempt_started", 1, {"model": "m"}),
        ("request", 1, asked | {"usage": USED, "seconds": 1.0, "identity": "i", "type": "json", "body": ""}),
        ("assistant_response", 1, {"content": "Done.", "finish": "stop"}),
    ]
    if code is not None:
        told += [
            ("attempt_ended", 1, {"verdict": "applied", "cause": "Changed a.py.", "commit": "", "seconds": 1.0}),
            ("run_ended", None, {"exit_code": code, "error": "", "tasks": 1, "complete": 1, "cost": 0.25}),
        ]
    return [
        make_event(stamp, seq, begun + seq, kind, task, 1 if task else None, data)
        for seq, (kind, task, data) in enumerate(told, 1)
    ]


def logs_of(shell: Shell) -> Path:
    return prepare_log_folder(shell.place.repo / ".aider_logs")


def files(shell: Shell, events: list[Event]) -> None:
    for event in events:
        name = f"agent{event.task}_{event.run}.jsonl" if event.task else f"run_{event.run}.jsonl"
        with (logs_of(shell) / name).open("a") as file:
            file.write(json.dumps(event_record(event)) + "\n")


def stored(shell: Shell, *runs: list[Event]) -> Store:
    store = open_store(logs_of(shell) / "orchestra.db")
    for events in runs:
        store.append_events(".", events)
    return store


def told(shell: Shell, *words: str) -> str:
    said = shell.run(*words)
    assert (said.code, said.err) == (0, ""), said
    return said.out


def sentence(said: Said) -> str:
    assert said.code == 2 and said.err.count("\n") == 1, said
    return said.err
