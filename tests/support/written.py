"""Events as a log has them, from bare words: of any version, whole or not."""

import json
from typing import Any

from orchestra.events import Event, RunEnded, RunStarted, make_event

ENDED = RunEnded(exit_code=0, error="", signal=0, tasks=0, complete=0, cost=0.0)


def started(change: str = "c", pid: int = 1) -> RunStarted:
    return RunStarted(
        change=change,
        options={},
        folder="",
        pid=pid,
        namespace="",
        unborn=False,
        repository="",
        branch="main",
        base="b",
        model="m",
        provider="p",
    )


def event(
    kind: str,
    task: int | None = None,
    attempt: int | None = None,
    *,
    run: str = "r",
    seq: int = 1,
    time: int = 1_795_000_000_000,
    **data: Any,
) -> Event:
    """The event as it is read back from a line with this data."""
    return make_event(run, seq, time, kind, task, attempt, json.loads(json.dumps(data)))
