"""A run in detail: each attempt, what was said in it, which gates ran, who did what when. For `show`, the HTML page and
the board."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import singledispatch
from typing import NamedTuple

from orchestra.answers.conversation import Turn, unpack_turns
from orchestra.events import (
    COMBINED_TREE,
    AgentWaiting,
    AiderReady,
    AssistantResponse,
    AttemptEnded,
    AttemptStarted,
    Conversation,
    Event,
    GateEnded,
    GateStarted,
    Payload,
    PlanChanged,
    PlanMade,
    RequestEnded,
    ResultDelivered,
    RunResumed,
    TaskIntegrated,
    TaskMoved,
    TestsJudged,
    WorkCombined,
)
from orchestra.model import Task, TaskState, Usage
from orchestra.report.state import gate_with_judgement

AttemptKey = tuple[int | None, int | None]  # a task and its attempt: several may be made side by side


class Span(NamedTuple):
    """One stretch of time: waiting, retry, model, edit, gate or merge. `task` is None where the run itself is busy."""

    kind: str
    start: int
    end: int
    task: int | None = None


class SessionBreak(NamedTuple):
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
class RunDetail:
    """`words`: what was said is kept; a board that only counts goes without."""

    keeps_texts: bool = True
    started: int = 0
    ended: int = 0  # the time of the last event
    ready_at: int = 0  # since when Aider can work
    briefs: dict[int, str] = field(default_factory=dict)
    planned_briefs: dict[int, str] = field(default_factory=dict)  # the briefs before a person changed any
    needs: dict[int, tuple[int, ...]] = field(default_factory=dict)
    attempts_by_task: dict[int, dict[int, Attempt]] = field(default_factory=dict)
    gates: list[GateRun] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    breaks: list[SessionBreak] = field(default_factory=list)
    # Since when a task waits, its agent waits for a provider, an attempt has heard nothing, a gate runs, the run's own
    # work goes on.
    waiting: dict[int, tuple[str, int]] = field(default_factory=dict)
    held_up_since: dict[int, int] = field(default_factory=dict)
    working_attempts: set[AttemptKey] = field(default_factory=set)  # attempts that are under way
    quiet_since: dict[AttemptKey, int] = field(default_factory=dict)
    gates_since: dict[tuple[AttemptKey, str], int] = field(default_factory=dict)
    busy_since: int = 0

    def attempts(self, task: int) -> list[Attempt]:
        """The attempts at a task that did something, as they began."""
        return [attempt for attempt in self.attempts_by_task.get(task, {}).values() if attempt.begun]

    def all_attempts(self, task: int) -> list[Attempt]:
        """All attempts that any event names, by their numbers."""
        return [attempt for _, attempt in sorted(self.attempts_by_task.get(task, {}).items())]

    def working_time(self, task: int) -> tuple[int, int] | None:
        """When the last attempts at a task began to work, and ended: 0 while any is at work."""
        attempts = [attempt for attempt in self.attempts(task) if attempt.started]
        if not attempts:
            return None
        begun = max(attempt.started for attempt in attempts)
        ended = max(begun, *(attempt.ended for attempt in attempts))
        at_work = any(working == task for working, _ in self.working_attempts)
        # Until Aider is loaded, an attempt has only its worktree made.
        return min(max(begun, self.ready_at), self.ended if at_work else ended), 0 if at_work else ended

    def working_ms(self, time: int) -> int:
        """Milliseconds at work since the start: the time between two sessions of a run does not count."""
        return time - self.started - sum(pause.length for pause in self.breaks if pause.at < time)

    def add_span(self, kind: str, start: int, end: int, task: int | None = None) -> None:
        if end > start:
            self.spans.append(Span(kind, start, end, task))

    def close_spans(self, now: int) -> None:
        """End what was under way when the run ended, or died."""
        for task, (kind, since) in self.waiting.items():
            self.add_span(kind, since, now, task)
        for (editing, _), since in self.quiet_since.items():
            self.add_span("edit", since, now, editing)
        for ((gated, _), _), since in self.gates_since.items():
            self.add_span("gate", since, now, gated)
        self.waiting, self.quiet_since, self.gates_since = {}, {}, {}

    def begin_attempt(self, event: Event) -> Attempt:
        """The event's attempt, which does something."""
        found = self.get_attempt(event.task or 0, event.attempt or 1)
        if not found.begun:
            # In the order in which they begin, not in which they are named.
            attempts = self.attempts_by_task[event.task or 0]
            attempts[found.number] = attempts.pop(found.number)
            found.begun = True
        return found

    def get_attempt(self, task: int, number: int) -> Attempt:
        return self.attempts_by_task.setdefault(task, {}).setdefault(number, Attempt(number))


def build_detail(events: Iterable[Event]) -> RunDetail:
    found = RunDetail()
    for event in events:
        detail_event(found, event)
    found.close_spans(found.ended)
    return found


def detail_event(found: RunDetail, event: Event) -> None:
    found.started = found.started or event.time
    if isinstance(event.payload, RunResumed) and found.ended:
        found.close_spans(found.ended)
        found.working_attempts.clear()
        found.breaks.append(SessionBreak(found.ended, max(0, event.time - found.ended)))
    found.ended = max(found.ended, event.time)
    if event.task is not None and event.attempt is not None:
        found.get_attempt(event.task, event.attempt)
    detail_payload(event.payload, found, event)


@singledispatch
def detail_payload(payload: Payload, found: RunDetail, event: Event) -> None:
    """Add what an event tells. Kinds without a function of their own add nothing."""


@detail_payload.register
def detail_plan_made(plan: PlanMade, found: RunDetail, event: Event) -> None:
    add_task_briefs(found, plan.tasks)
    found.planned_briefs |= {task.id: task.brief for task in plan.tasks}


@detail_payload.register
def detail_plan_changed(changed: PlanChanged, found: RunDetail, event: Event) -> None:
    """By a person: what tasks are to do now."""
    add_task_briefs(found, changed.tasks)


def add_task_briefs(found: RunDetail, tasks: Iterable[Task]) -> None:
    for task in tasks:
        found.briefs[task.id] = task.brief
        if task.needs:
            found.needs[task.id] = task.needs


@detail_payload.register
def detail_task_moved(moved: TaskMoved, found: RunDetail, event: Event) -> None:
    task = event.task or 0
    if task in found.waiting:
        kind, since = found.waiting.pop(task)
        found.add_span(kind, since, event.time, task)
    if moved.state in (TaskState.READY, TaskState.WAITING_HUMAN):
        found.waiting[task] = ("retry" if found.attempts(task) else "waiting", event.time)


@detail_payload.register
def detail_attempt_started(started: AttemptStarted, found: RunDetail, event: Event) -> None:
    attempt = found.begin_attempt(event)
    attempt.started, attempt.model = event.time, started.model
    found.working_attempts.add(attempt_key(event))
    found.quiet_since[attempt_key(event)] = event.time


@detail_payload.register
def detail_aider_ready(ready: AiderReady, found: RunDetail, event: Event) -> None:
    found.ready_at = event.time - round(1000 * ready.ago)
    for (task, attempt), since in found.quiet_since.items():
        if since < found.ready_at:
            found.add_span("waiting", since, found.ready_at, task)
            found.quiet_since[task, attempt] = found.ready_at


def attempt_key(event: Event) -> AttemptKey:
    return event.task, event.attempt


@detail_payload.register
def detail_waiting(waiting: AgentWaiting, found: RunDetail, event: Event) -> None:
    if event.task is not None:
        found.held_up_since[event.task] = event.time


@detail_payload.register
def detail_request(request: RequestEnded, found: RunDetail, event: Event) -> None:
    """Between two requests an agent edits. A request that failed was time lost."""
    start = event.time - round(1000 * request.seconds)
    kind = "retry" if request.failure else "model"
    if event.task is None:
        found.add_span(kind, max(start, found.started), event.time)
        return
    quiet = found.quiet_since.get(attempt_key(event), start)
    found.add_span("edit", quiet, max(start, quiet), event.task)
    found.add_span(kind, max(start, quiet), event.time, event.task)
    found.quiet_since[attempt_key(event)] = event.time
    attempt = found.begin_attempt(event)
    attempt.usage += request.usage
    if request.failure:
        attempt.failures.append(f"{request.failure} ({request.status or 'no answer'}): {request.message}")


@detail_payload.register
def detail_response(response: AssistantResponse, found: RunDetail, event: Event) -> None:
    attempt = found.begin_attempt(event)
    if found.keeps_texts and not attempt.whole:
        attempt.turns.append(Turn((), response.content))


@detail_payload.register
def detail_conversation(conversation: Conversation, found: RunDetail, event: Event) -> None:
    if found.keeps_texts and (turns := unpack_turns(conversation)):
        attempt = found.begin_attempt(event)
        attempt.turns, attempt.whole = turns, True


@detail_payload.register
def detail_attempt_ended(ended: AttemptEnded, found: RunDetail, event: Event) -> None:
    attempt = found.begin_attempt(event)
    found.working_attempts.discard(attempt_key(event))
    if attempt_key(event) in found.quiet_since:
        found.add_span("edit", found.quiet_since.pop(attempt_key(event)), event.time, event.task)
    attempt.ended = found.busy_since = event.time
    attempt.seconds = ended.seconds
    attempt.verdict, attempt.cause, attempt.remedy = ended.verdict, ended.cause, ended.remedy
    attempt.commit, attempt.patch = ended.commit, ended.patch or ""


@detail_payload.register
def detail_gate_started(started: GateStarted, found: RunDetail, event: Event) -> None:
    if event.task is not None and attempt_key(event) in found.quiet_since:
        found.add_span("edit", found.quiet_since.pop(attempt_key(event)), event.time, event.task)
    found.gates_since[attempt_key(event), started.name] = event.time


@detail_payload.register
def detail_gate_ended(gate: GateEnded, found: RunDetail, event: Event) -> None:
    began = event.time - round(1000 * gate.seconds)
    found.add_span("gate", found.gates_since.pop((attempt_key(event), gate.name), began), event.time, event.task)
    found.gates.append(GateRun(event.task, event.attempt, gate))
    found.busy_since = event.time if event.task is None else found.busy_since
    if event.task is None or event.attempt is None:
        return
    attempt = found.get_attempt(event.task, event.attempt)
    attempt.gates.append(gate)
    if attempt.begun and not attempt.ended:
        found.quiet_since[attempt_key(event)] = event.time


@detail_payload.register
def detail_tests_judged(judged: TestsJudged, found: RunDetail, event: Event) -> None:
    for n, gate in enumerate(found.gates):
        if gate.task is None and gate.result.tree == COMBINED_TREE:
            found.gates[n] = gate._replace(result=gate_with_judgement(gate.result, judged))


@detail_payload.register(TaskIntegrated)
@detail_payload.register(WorkCombined)
@detail_payload.register(ResultDelivered)
def detail_combining(merged: TaskIntegrated | WorkCombined | ResultDelivered, found: RunDetail, event: Event) -> None:
    found.add_span("merge", found.busy_since or event.time, event.time)
    found.busy_since = event.time
