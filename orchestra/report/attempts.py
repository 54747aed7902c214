"""What became of each attempt at a task, with what was said in it."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from orchestra.answers.conversation import Turn, unpack
from orchestra.model import Event, Usage
from orchestra.report.fold import STRANGE


@dataclass
class Attempt:
    number: int
    started: int = 0
    model: str = ""
    verdict: str = ""
    cause: str = ""
    remedy: str = ""
    seconds: float = 0.0
    commit: str = ""
    patch: str = ""
    usage: Usage = field(default_factory=Usage)
    gates: list[dict[str, Any]] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)


def attempts(events: Iterable[Event], task: int) -> list[Attempt]:
    found: dict[int, Attempt] = {}
    for event in events:
        if event.task == task and event.attempt is not None:
            with suppress(*STRANGE):
                learn(found.setdefault(event.attempt, Attempt(event.attempt)), event)
    return [found[number] for number in sorted(found)]


def learn(attempt: Attempt, event: Event) -> None:
    data = event.data
    if event.kind == "attempt_started":
        attempt.started, attempt.model = event.time, str(data.get("model", ""))
    elif event.kind == "attempt_ended":
        attempt.seconds = float(data.get("seconds", 0.0))
        for name in ("verdict", "cause", "remedy", "commit", "patch"):
            setattr(attempt, name, str(data.get(name, "")))
    elif event.kind == "request":
        attempt.usage += Usage(**data["usage"])
    elif event.kind == "conversation":
        attempt.turns = unpack(data)
    elif event.kind == "gate_ended" and {"name", "ok"} <= data.keys():
        attempt.gates.append(data)


def brief(events: Iterable[Event], task: int) -> str:
    """What the task's agent was told to do, as the plan has it."""
    plans = [event.data.get("tasks") for event in events if event.kind == "plan_made"]
    tasks = [one for plan in plans if isinstance(plan, list) for one in plan if isinstance(one, dict)]
    return next((str(one.get("brief", "")) for one in reversed(tasks) if one.get("id") == task), "")
