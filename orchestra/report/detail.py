"""What the pages show beside the report: all attempts, what was said in them, when who did what. Tolerant."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from orchestra.answers.conversation import Turn, unpack
from orchestra.model import Event, TaskState, Usage
from orchestra.report.fold import COMBINED, judged_gate

# What an event raises whose data is not what its kind says.
STRANGE = (LookupError, TypeError, ValueError, AttributeError)
MERGING = ("task_integrated", "combined", "delivered")


Who = tuple[int | None, int | None]  # a task and its attempt: several may be made side by side


class Span(NamedTuple):
    """One stretch of time: waiting, retry, model, edit, gate or merge. `task` is None where the run itself is busy."""

    kind: str
    start: int
    end: int
    task: int | None = None


class Break(NamedTuple):
    """Between the end of the run and its being taken up again."""

    at: int
    length: int


@dataclass
class Try:
    """One attempt."""

    number: int
    started: int
    ended: int = 0
    seconds: float = 0.0
    verdict: str = ""
    cause: str = ""
    usage: Usage = field(default_factory=Usage)
    turns: list[Turn] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    whole: bool = False  # the turns came with their questions, and not only from the replies


@dataclass
class Detail:
    started: int = 0
    ended: int = 0
    briefs: dict[int, str] = field(default_factory=dict)
    needs: dict[int, list[int]] = field(default_factory=dict)
    tries: dict[int, list[Try]] = field(default_factory=dict)
    gates: list[dict[str, Any]] = field(default_factory=list)  # all of them, with `task` and `attempt`
    spans: list[Span] = field(default_factory=list)
    breaks: list[Break] = field(default_factory=list)
    # Since when a task waits, an attempt has heard nothing, a gate runs, the run's own work goes on.
    waiting: dict[int, tuple[str, int]] = field(default_factory=dict)
    quiet: dict[Who, int] = field(default_factory=dict)
    gating: dict[tuple[Who, str], int] = field(default_factory=dict)
    busy: int = 0

    def clock(self, time: int) -> int:
        """Milliseconds at work since the start: the time between two sessions of a run does not count."""
        return time - self.started - sum(pause.length for pause in self.breaks if pause.at < time)

    def span(self, kind: str, start: int, end: int, task: int | None = None) -> None:
        if end > start:
            self.spans.append(Span(kind, start, end, task))

    def close(self, now: int) -> None:
        """What was under way when the run ended, or died."""
        for task, (kind, since) in self.waiting.items():
            self.span(kind, since, now, task)
        for (editing, _), since in self.quiet.items():
            self.span("edit", since, now, editing)
        for ((gated, _), _), since in self.gating.items():
            self.span("gate", since, now, gated)
        self.waiting, self.quiet, self.gating = {}, {}, {}

    def last(self, event: Event) -> Try:
        tries, number = self.tries.setdefault(event.task or 0, []), event.attempt or 1
        found = next((attempt for attempt in reversed(tries) if attempt.number == number), None)
        if found is None:
            found = Try(number, event.time)
            tries.append(found)
        return found


Handler = Callable[[Detail, Event, Mapping[str, Any]], None]


def detail(events: Iterable[Event]) -> Detail:
    found = Detail()
    for event in events:
        found.started = found.started or event.time
        if event.kind == "run_resumed" and found.ended:
            found.close(found.ended)
            found.breaks.append(Break(found.ended, max(0, event.time - found.ended)))
        found.ended = max(found.ended, event.time)
        handler = HANDLERS.get(event.kind)
        if handler is not None:
            with suppress(*STRANGE):
                handler(found, event, event.data)
    found.close(found.ended)
    return found


def plan_made(found: Detail, event: Event, data: Mapping[str, Any]) -> None:
    """Or changed by a person: what tasks are to do now."""
    for task in data.get("tasks", []):
        found.briefs[task["id"]] = str(task.get("brief", ""))
        if task.get("needs"):
            found.needs[task["id"]] = list(task["needs"])


def task_moved(found: Detail, event: Event, data: Mapping[str, Any]) -> None:
    task = event.task or 0
    if task in found.waiting:
        kind, since = found.waiting.pop(task)
        found.span(kind, since, event.time, task)
    if data.get("state") in (TaskState.READY, TaskState.WAITING_HUMAN):
        found.waiting[task] = ("retry" if found.tries.get(task) else "waiting", event.time)


def attempt_started(found: Detail, event: Event, data: Mapping[str, Any]) -> None:
    found.last(event).started = event.time
    found.quiet[who(event)] = event.time


def aider_ready(found: Detail, event: Event, data: Mapping[str, Any]) -> None:
    ready = event.time - round(1000 * data.get("ago", 0))
    for (task, attempt), since in found.quiet.items():
        if since < ready:
            found.span("waiting", since, ready, task)
            found.quiet[task, attempt] = ready


def who(event: Event) -> Who:
    return event.task, event.attempt


def request(found: Detail, event: Event, data: Mapping[str, Any]) -> None:
    """Between two requests an agent edits. A request that failed was time lost."""
    start = event.time - round(1000 * float(data.get("seconds") or 0))
    kind = "retry" if data.get("failure") else "model"
    if event.task is None:
        found.span(kind, max(start, found.started), event.time)
        return
    quiet = found.quiet.get(who(event), start)
    found.span("edit", quiet, max(start, quiet), event.task)
    found.span(kind, max(start, quiet), event.time, event.task)
    found.quiet[who(event)] = event.time
    attempt = found.last(event)
    attempt.usage += Usage(**data.get("usage", {}))
    if data.get("failure"):
        attempt.failures.append(f"{data['failure']} ({data.get('status') or 'no answer'}): {data.get('message', '')}")


def assistant_response(found: Detail, event: Event, data: Mapping[str, Any]) -> None:
    if not found.last(event).whole:
        found.last(event).turns.append(Turn((), str(data.get("content", ""))))


def conversation(found: Detail, event: Event, data: Mapping[str, Any]) -> None:
    if turns := unpack(dict(data)):
        found.last(event).turns, found.last(event).whole = turns, True


def attempt_ended(found: Detail, event: Event, data: Mapping[str, Any]) -> None:
    attempt = found.last(event)
    if who(event) in found.quiet:
        found.span("edit", found.quiet.pop(who(event)), event.time, event.task)
    attempt.ended = found.busy = event.time
    attempt.seconds = float(data.get("seconds", 0.0))
    attempt.verdict, attempt.cause = str(data.get("verdict", "")), str(data.get("cause", ""))


def gate_started(found: Detail, event: Event, data: Mapping[str, Any]) -> None:
    if event.task is not None and who(event) in found.quiet:
        found.span("edit", found.quiet.pop(who(event)), event.time, event.task)
    found.gating[who(event), str(data.get("name", ""))] = event.time


def gate_ended(found: Detail, event: Event, data: Mapping[str, Any]) -> None:
    began = event.time - round(1000 * float(data.get("seconds") or 0))
    found.span("gate", found.gating.pop((who(event), str(data.get("name", ""))), began), event.time, event.task)
    found.gates.append({**data, "task": event.task, "attempt": event.attempt})
    found.busy = event.time if event.task is None else found.busy
    if any(attempt.number == event.attempt and not attempt.ended for attempt in found.tries.get(event.task or 0, [])):
        found.quiet[who(event)] = event.time


def tests_judged(found: Detail, event: Event, data: Mapping[str, Any]) -> None:
    whole = [each for each in found.gates if each["task"] is None and each.get("tree") == COMBINED]
    for gate in whole:
        found.gates[found.gates.index(gate)] = judged_gate(gate, data)


def merging(found: Detail, event: Event, data: Mapping[str, Any]) -> None:
    found.span("merge", found.busy or event.time, event.time)
    found.busy = event.time


HANDLERS: dict[str, Handler] = {
    "plan_made": plan_made,
    "plan_changed": plan_made,
    "task_moved": task_moved,
    "attempt_started": attempt_started,
    "aider_ready": aider_ready,
    "request": request,
    "assistant_response": assistant_response,
    "conversation": conversation,
    "attempt_ended": attempt_ended,
    "gate_started": gate_started,
    "gate_ended": gate_ended,
    "tests_judged": tests_judged,
    **dict.fromkeys(MERGING, merging),
}
