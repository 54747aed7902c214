"""A run in detail, for `show`, the HTML page and the board: attempts, conversations, gates, time spans, and phases."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from orchestra import events
from orchestra.answers.conversation import Turn, unpack_turns
from orchestra.events import Event, Payload
from orchestra.model import TaskState, Usage
from orchestra.report.phrases import outcome_phrase
from orchestra.report.state import Report, TaskReport, gate_with_judgement

AttemptKey = tuple[int | None, int | None]  # a task and its attempt, because attempts may run side by side


class Span(NamedTuple):
    """A span of time: waiting, person, retry, model, edit, gate or merge. `task` is None for the run's own work."""

    kind: str
    start: int
    end: int
    task: int | None = None


class SessionBreak(NamedTuple):
    """The time between two sessions of a run."""

    at: int
    length: int


class GateRun(NamedTuple):
    """A gate that ended, of an attempt or of the combined work."""

    task: int | None
    attempt: int | None
    result: events.GateEnded


@dataclass
class Attempt:
    """One attempt at a task. `begun`: an event tells what it did; other attempts are only named by events."""

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
    gates: list[events.GateEnded] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    whole: bool = False  # the turns have prompts, not only replies


@dataclass
class RunDetail:
    """The details of a run. `keeps_texts`: False for the board, which needs no conversations."""

    keeps_texts: bool = True
    started: int = 0
    ended: int = 0  # the time of the last event
    ready_at: int = 0  # when Aider became ready
    planned_briefs: dict[int, str] = field(default_factory=dict)  # before a person changed any
    attempts_by_task: dict[int, dict[int, Attempt]] = field(default_factory=dict)
    gates: list[GateRun] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    breaks: list[SessionBreak] = field(default_factory=list)
    # Start times: of a task's waiting (with its kind), of an attempt's time
    # between requests, of running gates, of the run's own work.
    waiting: dict[int, tuple[str, int]] = field(default_factory=dict)
    working_attempts: set[AttemptKey] = field(default_factory=set)
    quiet_since: dict[AttemptKey, int] = field(default_factory=dict)
    gates_since: dict[tuple[AttemptKey, str], int] = field(default_factory=dict)
    busy_since: int = 0
    # When the question that stands at the terminal was asked, and about which task.
    asked_at: int = 0
    asked_about: int | None = None

    def attempts(self, task: int) -> list[Attempt]:
        """The attempts at a task that did something, in the order of their start."""
        return [attempt for attempt in self.attempts_by_task.get(task, {}).values() if attempt.begun]

    def all_attempts(self, task: int) -> list[Attempt]:
        """All attempts at a task that an event names, by number."""
        return [attempt for _, attempt in sorted(self.attempts_by_task.get(task, {}).items())]

    def working_time(self, task: int) -> tuple[int, int] | None:
        """When the last attempts at a task began and ended; 0 while one is at work. None before the first."""
        attempts = [attempt for attempt in self.attempts(task) if attempt.started]
        if not attempts:
            return None
        begun = max(attempt.started for attempt in attempts)
        ended = max(begun, *(attempt.ended for attempt in attempts))
        at_work = any(working == task for working, _ in self.working_attempts)
        # Until Aider is loaded, an attempt only prepares its worktree.
        return min(max(begun, self.ready_at), self.ended if at_work else ended), 0 if at_work else ended

    def working_ms(self, time: int) -> int:
        """Milliseconds since the start, without breaks between sessions."""
        return time - self.started - sum(pause.length for pause in self.breaks if pause.at < time)

    def add_span(self, kind: str, start: int, end: int, task: int | None = None) -> None:
        if end > start:
            self.spans.append(Span(kind, start, end, task))

    def end_editing(self, event: Event) -> None:
        """End the editing of the event's attempt, if it was editing."""
        if attempt_key(event) in self.quiet_since:
            self.add_span("edit", self.quiet_since.pop(attempt_key(event)), event.time, event.task)

    def open_spans(self, now: int) -> list[Span]:
        """The spans that have not ended, up to now."""
        return [
            *(Span(kind, since, now, task) for task, (kind, since) in self.waiting.items()),
            *(Span("edit", since, now, editing) for (editing, _), since in self.quiet_since.items()),
            *(Span("gate", since, now, gated) for ((gated, _), _), since in self.gates_since.items()),
        ]

    def close_spans(self, now: int) -> None:
        """End the open spans when the run ended or died."""
        self.spans += [span for span in self.open_spans(now) if span.end > span.start]
        self.waiting, self.quiet_since, self.gates_since = {}, {}, {}

    def begin_attempt(self, event: Event) -> Attempt:
        """The event's attempt, marked as begun."""
        attempt = self.get_attempt(event.task or 0, event.attempt or 1)
        if not attempt.begun:
            # Moved to the end: the order is that of their starts, not of their first mention.
            attempts = self.attempts_by_task[event.task or 0]
            attempts[attempt.number] = attempts.pop(attempt.number)
            attempt.begun = True
        return attempt

    def get_attempt(self, task: int, number: int) -> Attempt:
        return self.attempts_by_task.setdefault(task, {}).setdefault(number, Attempt(number))


def build_detail(events: Iterable[Event]) -> RunDetail:
    detail = RunDetail()
    for event in events:
        detail_event(detail, event)
    detail.close_spans(detail.ended)
    return detail


def detail_event(detail: RunDetail, event: Event) -> None:
    detail.started = detail.started or event.time
    if isinstance(event.payload, events.RunResumed) and detail.ended:
        detail.close_spans(detail.ended)
        detail.working_attempts.clear()
        detail.asked_at = 0
        detail.breaks.append(SessionBreak(detail.ended, max(0, event.time - detail.ended)))
    detail.ended = max(detail.ended, event.time)
    if event.task is not None and event.attempt is not None:
        detail.get_attempt(event.task, event.attempt)
    detail_work(event.payload, detail, event)


def detail_work(payload: Payload, detail: RunDetail, event: Event) -> None:
    """Add what agents did. Between two requests an agent edits."""
    match payload:
        case events.PlanMade():
            detail.planned_briefs |= {task.id: task.brief for task in payload.tasks}
        case events.TaskMoved():
            detail_task_moved(payload, detail, event)
        case events.AttemptStarted():
            attempt = detail.begin_attempt(event)
            attempt.started, attempt.model = event.time, payload.model
            detail.working_attempts.add(attempt_key(event))
            detail.quiet_since[attempt_key(event)] = event.time
        case events.AiderReady():
            detail.ready_at = event.time - round(1000 * payload.ago)
            for (task, number), since in detail.quiet_since.items():
                if since < detail.ready_at:
                    detail.add_span("waiting", since, detail.ready_at, task)
                    detail.quiet_since[task, number] = detail.ready_at
        case events.AgentWaiting():
            detail_question(payload, detail, event)
        case events.RequestEnded():
            detail_request(payload, detail, event)
        case events.AssistantResponse():
            attempt = detail.begin_attempt(event)
            if detail.keeps_texts and not attempt.whole:
                attempt.turns.append(Turn((), payload.content))
        case events.Conversation() if detail.keeps_texts and (turns := unpack_turns(payload)):
            attempt = detail.begin_attempt(event)
            attempt.turns, attempt.whole = turns, True
        case events.AttemptEnded():
            detail_attempt_ended(payload, detail, event)
        case _:
            detail_checks(payload, detail, event)


def detail_task_moved(moved: events.TaskMoved, detail: RunDetail, event: Event) -> None:
    task = event.task or 0
    if task in detail.waiting:
        kind, since = detail.waiting.pop(task)
        detail.add_span(kind, since, event.time, task)
    if moved.state == TaskState.WAITING_HUMAN:
        detail.waiting[task] = ("person", event.time)
    if moved.state == TaskState.READY:
        detail.waiting[task] = ("retry" if detail.attempts(task) else "waiting", event.time)


def attempt_key(event: Event) -> AttemptKey:
    return event.task, event.attempt


def detail_question(wait: events.AgentWaiting, detail: RunDetail, event: Event) -> None:
    """Add how long the run waited for an answer at the terminal: it did nothing else."""
    if wait.on == events.PERSON:
        detail.asked_at, detail.asked_about = event.time, event.task
    elif detail.asked_at and detail.asked_about == event.task:
        detail.add_span("person", detail.asked_at, event.time)
        detail.asked_at, detail.busy_since = 0, event.time


def detail_request(request: events.RequestEnded, detail: RunDetail, event: Event) -> None:
    """Add the request and the editing before it. The time of a failed request is lost."""
    start = event.time - round(1000 * request.seconds)
    kind = "retry" if request.failure else "model"
    if event.task is None:
        detail.add_span(kind, max(start, detail.started), event.time)
        return
    quiet = detail.quiet_since.get(attempt_key(event), start)
    detail.add_span("edit", quiet, max(start, quiet), event.task)
    detail.add_span(kind, max(start, quiet), event.time, event.task)
    detail.quiet_since[attempt_key(event)] = event.time
    attempt = detail.begin_attempt(event)
    attempt.usage += request.usage
    if request.failure:
        attempt.failures.append(f"{request.failure} ({request.status or 'no answer'}): {request.message}")


def detail_attempt_ended(ended: events.AttemptEnded, detail: RunDetail, event: Event) -> None:
    attempt = detail.begin_attempt(event)
    detail.working_attempts.discard(attempt_key(event))
    detail.end_editing(event)
    attempt.ended = detail.busy_since = event.time
    attempt.seconds = ended.seconds
    attempt.verdict, attempt.cause, attempt.remedy = ended.verdict, ended.cause, ended.remedy
    attempt.commit, attempt.patch = ended.commit, ended.patch or ""


def detail_checks(payload: Payload, detail: RunDetail, event: Event) -> None:
    """Add what gates did, and when work was combined."""
    match payload:
        case events.GateStarted():
            if event.task is not None:
                detail.end_editing(event)
            detail.gates_since[attempt_key(event), payload.name] = event.time
        case events.GateEnded():
            detail_gate_ended(payload, detail, event)
        case events.TestsJudged():
            for n, gate in enumerate(detail.gates):
                if gate.task is None and gate.result.tree == events.COMBINED_TREE:
                    detail.gates[n] = gate._replace(result=gate_with_judgement(gate.result, payload))
        case events.TaskIntegrated() | events.WorkCombined() | events.ResultDelivered():
            detail.add_span("merge", detail.busy_since or event.time, event.time)
            detail.busy_since = event.time


def detail_gate_ended(gate: events.GateEnded, detail: RunDetail, event: Event) -> None:
    began = event.time - (0 if gate.remembered else round(1000 * gate.seconds))
    detail.add_span("gate", detail.gates_since.pop((attempt_key(event), gate.name), began), event.time, event.task)
    detail.gates.append(GateRun(event.task, event.attempt, gate))
    detail.busy_since = event.time if event.task is None else detail.busy_since
    if event.task is None or event.attempt is None:
        return
    attempt = detail.get_attempt(event.task, event.attempt)
    attempt.gates.append(gate)
    if attempt.begun and not attempt.ended:
        detail.quiet_since[attempt_key(event)] = event.time


class Phase(StrEnum):
    """The phase of a task in words, for displays of a run that goes on."""

    QUEUED = "queued"
    STARTING = "starting"
    ASKING = "asking"
    EDITING = "editing"
    CHECKING = "checking"
    WAITING_PROVIDER = "waiting for the provider"
    WAITING_BUDGET = "waiting for the budget"
    WAITING_PERSON = "waiting for you"
    ACCEPTED = "accepted"
    MERGING = "merging"
    DONE = "done"
    FAILED = "failed"
    ABANDONED = "abandoned"


STATE_PHASES = {
    TaskState.PLANNED: Phase.QUEUED,
    TaskState.READY: Phase.QUEUED,
    TaskState.AWAITING_QA: Phase.ACCEPTED,
    TaskState.COMPLETE: Phase.DONE,
    TaskState.FAILED: Phase.FAILED,
    TaskState.WAITING_HUMAN: Phase.WAITING_PERSON,
    TaskState.ABANDONED: Phase.ABANDONED,
}


def task_phase(report: Report, detail: RunDetail, task: TaskReport) -> Phase:
    """Return what a task is at. Of several attempts side by side, checks count more than requests."""
    if any(gated == task.id for (gated, _), _ in detail.gates_since):
        return Phase.CHECKING
    if task.state == TaskState.AWAITING_QA and not report.running_attempts:
        return Phase.MERGING
    if task.state != TaskState.ACTIVE:
        return STATE_PHASES[task.state]
    if task.waits:
        return Phase.WAITING_BUDGET if task.waits.startswith("the budget") else Phase.WAITING_PROVIDER
    if any(asker == task.id for pending in report.pending_reservations.values() for asker, _ in pending):
        return Phase.ASKING
    if task.by_hand:
        return Phase.EDITING
    # Without a limit no event says that a request begins: an agent asks at once when it has started.
    attempts = detail.attempts(task.id)
    if not detail.ready_at or not attempts:
        return Phase.STARTING
    return Phase.EDITING if attempts[-1].usage.requests else Phase.ASKING


def phase_words(report: Report, detail: RunDetail, task: TaskReport) -> str:
    """Return the phase, or of a failed task its verdict."""
    phase = task_phase(report, detail, task)
    if phase is Phase.DONE and task.nothing_to_do:
        return "nothing to do"
    return outcome_phrase(task.verdict) if phase is Phase.FAILED and task.verdict else phase.value
