"""A run in detail: each attempt, what was said in it, which gates ran, who did what when. For `show`, the HTML page and
the board."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import singledispatch
from typing import NamedTuple

from orchestra.answers.conversation import Turn, unpack
from orchestra.events import (
    COMBINED,
    AiderReady,
    AssistantResponse,
    AttemptEnded,
    AttemptStarted,
    Combined,
    Conversation,
    Delivered,
    Event,
    GateEnded,
    GateStarted,
    Payload,
    PlanChanged,
    PlanMade,
    Request,
    RunResumed,
    TaskIntegrated,
    TaskMoved,
    TestsJudged,
    Waiting,
)
from orchestra.model import Task, TaskState, Usage
from orchestra.report.fold import judged_gate

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


class GateRun(NamedTuple):
    """A gate that ended, of an attempt or of the run."""

    task: int | None
    attempt: int | None
    result: GateEnded


@dataclass
class Attempt:
    """One attempt at a task. `begun`: it did something; others are known only because an event names them."""

    number: int
    begun: bool = False
    started: int = 0
    ended: int = 0
    model: str = ""
    verdict: str = ""
    cause: str = ""
    remedy: str = ""
    seconds: float = 0.0
    commit: str = ""
    patch: str = ""
    usage: Usage = field(default_factory=Usage)
    failures: list[str] = field(default_factory=list)
    gates: list[GateEnded] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    whole: bool = False  # the turns came with their questions, and not only from the replies


@dataclass
class Detail:
    """`words`: what was said is kept; a board that only counts goes without."""

    words: bool = True
    started: int = 0
    ended: int = 0  # the time of the last event
    ready: int = 0  # since when Aider can work
    briefs: dict[int, str] = field(default_factory=dict)
    planned: dict[int, str] = field(default_factory=dict)  # the briefs before a person changed any
    needs: dict[int, tuple[int, ...]] = field(default_factory=dict)
    known: dict[int, dict[int, Attempt]] = field(default_factory=dict)
    gates: list[GateRun] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    breaks: list[Break] = field(default_factory=list)
    # Since when a task waits, its agent waits for a provider, an attempt has heard nothing, a gate runs, the run's own
    # work goes on.
    waiting: dict[int, tuple[str, int]] = field(default_factory=dict)
    held_up: dict[int, int] = field(default_factory=dict)
    quiet: dict[Who, int] = field(default_factory=dict)
    gating: dict[tuple[Who, str], int] = field(default_factory=dict)
    busy: int = 0

    def attempts(self, task: int) -> list[Attempt]:
        """The attempts at a task that did something, as they began."""
        return [attempt for attempt in self.known.get(task, {}).values() if attempt.begun]

    def named_attempts(self, task: int) -> list[Attempt]:
        """All attempts that any event names, by their numbers."""
        return [attempt for _, attempt in sorted(self.known.get(task, {}).items())]

    def working_time(self, task: int) -> tuple[int, int] | None:
        """When the last attempts at a task began to work, and ended: 0 while any is at work."""
        attempts = [attempt for attempt in self.attempts(task) if attempt.started]
        if not attempts:
            return None
        begun = max(max(attempt.started for attempt in attempts), self.ready)
        working = any(attempt.ended < attempt.started for attempt in attempts)
        return begun, 0 if working else max(attempt.ended for attempt in attempts)

    def clock(self, time: int) -> int:
        """Milliseconds at work since the start: the time between two sessions of a run does not count."""
        return time - self.started - sum(pause.length for pause in self.breaks if pause.at < time)

    def add_span(self, kind: str, start: int, end: int, task: int | None = None) -> None:
        if end > start:
            self.spans.append(Span(kind, start, end, task))

    def close(self, now: int) -> None:
        """End what was under way when the run ended, or died."""
        for task, (kind, since) in self.waiting.items():
            self.add_span(kind, since, now, task)
        for (editing, _), since in self.quiet.items():
            self.add_span("edit", since, now, editing)
        for ((gated, _), _), since in self.gating.items():
            self.add_span("gate", since, now, gated)
        self.waiting, self.quiet, self.gating = {}, {}, {}

    def attempt(self, event: Event) -> Attempt:
        """The event's attempt, which does something."""
        found = self.named(event.task or 0, event.attempt or 1)
        if not found.begun:
            # In the order in which they begin, not in which they are named.
            attempts = self.known[event.task or 0]
            attempts[found.number] = attempts.pop(found.number)
            found.begun = True
        return found

    def named(self, task: int, number: int) -> Attempt:
        return self.known.setdefault(task, {}).setdefault(number, Attempt(number))


def detail(events: Iterable[Event]) -> Detail:
    found = Detail()
    for event in events:
        step(found, event)
    found.close(found.ended)
    return found


def step(found: Detail, event: Event) -> None:
    found.started = found.started or event.time
    if isinstance(event.payload, RunResumed) and found.ended:
        found.close(found.ended)
        found.breaks.append(Break(found.ended, max(0, event.time - found.ended)))
    found.ended = max(found.ended, event.time)
    if event.task is not None and event.attempt is not None:
        found.named(event.task, event.attempt)
    apply(event.payload, found, event)


@singledispatch
def apply(payload: Payload, found: Detail, event: Event) -> None:
    """Add what an event tells. Kinds without a function of their own add nothing."""


@apply.register
def take_plan(plan: PlanMade, found: Detail, event: Event) -> None:
    take_tasks(found, plan.tasks)
    found.planned |= {task.id: task.brief for task in plan.tasks}


@apply.register
def change_plan(changed: PlanChanged, found: Detail, event: Event) -> None:
    """By a person: what tasks are to do now."""
    take_tasks(found, changed.tasks)


def take_tasks(found: Detail, tasks: Iterable[Task]) -> None:
    for task in tasks:
        found.briefs[task.id] = task.brief
        if task.needs:
            found.needs[task.id] = task.needs


@apply.register
def move_task(moved: TaskMoved, found: Detail, event: Event) -> None:
    task = event.task or 0
    if task in found.waiting:
        kind, since = found.waiting.pop(task)
        found.add_span(kind, since, event.time, task)
    if moved.state in (TaskState.READY, TaskState.WAITING_HUMAN):
        found.waiting[task] = ("retry" if found.attempts(task) else "waiting", event.time)


@apply.register
def start_attempt(started: AttemptStarted, found: Detail, event: Event) -> None:
    attempt = found.attempt(event)
    attempt.started, attempt.model = event.time, started.model
    found.quiet[who(event)] = event.time


@apply.register
def make_ready(ready: AiderReady, found: Detail, event: Event) -> None:
    found.ready = event.time - round(1000 * ready.ago)
    for (task, attempt), since in found.quiet.items():
        if since < found.ready:
            found.add_span("waiting", since, found.ready, task)
            found.quiet[task, attempt] = found.ready


def who(event: Event) -> Who:
    return event.task, event.attempt


@apply.register
def wait(waiting: Waiting, found: Detail, event: Event) -> None:
    if event.task is not None:
        found.held_up[event.task] = event.time


@apply.register
def end_request(request: Request, found: Detail, event: Event) -> None:
    """Between two requests an agent edits. A request that failed was time lost."""
    start = event.time - round(1000 * request.seconds)
    kind = "retry" if request.failure else "model"
    if event.task is None:
        found.add_span(kind, max(start, found.started), event.time)
        return
    quiet = found.quiet.get(who(event), start)
    found.add_span("edit", quiet, max(start, quiet), event.task)
    found.add_span(kind, max(start, quiet), event.time, event.task)
    found.quiet[who(event)] = event.time
    attempt = found.attempt(event)
    attempt.usage += request.usage
    if request.failure:
        attempt.failures.append(f"{request.failure} ({request.status or 'no answer'}): {request.message}")


@apply.register
def add_reply(response: AssistantResponse, found: Detail, event: Event) -> None:
    attempt = found.attempt(event)
    if found.words and not attempt.whole:
        attempt.turns.append(Turn((), response.content))


@apply.register
def take_conversation(conversation: Conversation, found: Detail, event: Event) -> None:
    if found.words and (turns := unpack(conversation)):
        attempt = found.attempt(event)
        attempt.turns, attempt.whole = turns, True


@apply.register
def end_attempt(ended: AttemptEnded, found: Detail, event: Event) -> None:
    attempt = found.attempt(event)
    if who(event) in found.quiet:
        found.add_span("edit", found.quiet.pop(who(event)), event.time, event.task)
    attempt.ended = found.busy = event.time
    attempt.seconds = ended.seconds
    attempt.verdict, attempt.cause, attempt.remedy = ended.verdict, ended.cause, ended.remedy
    attempt.commit, attempt.patch = ended.commit, ended.patch or ""


@apply.register
def start_gate(started: GateStarted, found: Detail, event: Event) -> None:
    if event.task is not None and who(event) in found.quiet:
        found.add_span("edit", found.quiet.pop(who(event)), event.time, event.task)
    found.gating[who(event), started.name] = event.time


@apply.register
def end_gate(gate: GateEnded, found: Detail, event: Event) -> None:
    began = event.time - round(1000 * gate.seconds)
    found.add_span("gate", found.gating.pop((who(event), gate.name), began), event.time, event.task)
    found.gates.append(GateRun(event.task, event.attempt, gate))
    found.busy = event.time if event.task is None else found.busy
    if event.task is None or event.attempt is None:
        return
    attempt = found.named(event.task, event.attempt)
    attempt.gates.append(gate)
    if attempt.begun and not attempt.ended:
        found.quiet[who(event)] = event.time


@apply.register
def judge_tests(judged: TestsJudged, found: Detail, event: Event) -> None:
    for n, gate in enumerate(found.gates):
        if gate.task is None and gate.result.tree == COMBINED:
            found.gates[n] = gate._replace(result=judged_gate(gate.result, judged))


@apply.register(TaskIntegrated)
@apply.register(Combined)
@apply.register(Delivered)
def merge(merged: TaskIntegrated | Combined | Delivered, found: Detail, event: Event) -> None:
    found.add_span("merge", found.busy or event.time, event.time)
    found.busy = event.time
