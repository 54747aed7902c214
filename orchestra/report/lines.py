"""One line for a person per event: for plain progress, the board's title and `logs`."""

from functools import singledispatch

from orchestra.events import (
    AttemptEnded,
    AttemptStarted,
    Branched,
    Chosen,
    Delivered,
    Drafted,
    Event,
    GateEnded,
    GateStarted,
    HumanNeeded,
    LimitReached,
    Note,
    NotHandedOver,
    PatchWritten,
    Payload,
    PlanMade,
    PrdAsked,
    PrdWritten,
    PrOpened,
    Pushed,
    Request,
    RunStarted,
    TaskHeld,
    TasksProposed,
    Waiting,
)
from orchestra.report.sentence import plural
from orchestra.report.words import gate_outcome

# By its tree, what a run of tests is for that only says what the tests are worth.
PURPOSES = {
    "control": "once more with a test of ours that must fail",
    "base-tests": "once more with the base's tests",
    "base-tests1": "once more with the base's tests and build files",
    "new-tests": "the new tests on the base",
}


def line(event: Event) -> str:
    """One event for a person, or nothing where it is not worth a line."""
    return clean(words(event.payload, event))


def clean(text: str, limit: int = 300) -> str:
    """Text of models and repositories may hold control characters; none of them reaches the terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)[:limit]


def who(event: Event) -> str:
    return f"agent{event.task}" if event.task is not None else "run"


@singledispatch
def words(payload: Payload, event: Event) -> str:
    """What is said of an event. Kinds without a function of their own are not worth a line."""
    return ""


@words.register
def started_words(started: RunStarted, event: Event) -> str:
    return f"run {event.run} on {started.branch or 'a detached HEAD'} at {started.base[:10]} with {started.model}"


@words.register
def note_words(note: Note, event: Event) -> str:
    return f"note: {note.text}"


@words.register
def prd_asked_words(asked: PrdAsked, event: Event) -> str:
    return f"asking {asked.model} for the PRD"


@words.register
def prd_words(prd: PrdWritten, event: Event) -> str:
    return f"PRD: {prd.path} ({plural(len(prd.requirements), 'requirement')})"


@words.register
def plan_words(plan: PlanMade, event: Event) -> str:
    return f"plan: {plural(len(plan.tasks), 'task')} for {plural(plan.agents, 'agent')} at once"


@words.register
def draft_words(drafted: Drafted, event: Event) -> str:
    return f"plan: {plural(drafted.tasks, 'task')} in {drafted.file}"


@words.register
def attempt_words(started: AttemptStarted, event: Event) -> str:
    return f"{who(event)}: started"


@words.register
def waiting_words(waiting: Waiting, event: Event) -> str:
    return f"{who(event)}: waiting for {waiting.on} ({waiting.why})" if waiting.on else ""


@words.register
def limit_words(reached: LimitReached, event: Event) -> str:
    return f"{reached.limit} was reached: what is finished is integrated"


@words.register
def request_words(request: Request, event: Event) -> str:
    head, used = f"{who(event) if event.task else request.role}:", request.usage
    if request.failure:
        return f"{head} {request.provider} {request.failure} ({request.status or 'no answer'}): {request.message}"
    cost = "" if used.dollars is None else f", ${used.dollars:.4f}"
    tokens = f"{used.input:,}+{used.output:,} tokens"
    return f"{head} reply of {request.model} in {request.seconds:.1f} s, {tokens}{cost}"


@words.register
def verdict_words(ended: AttemptEnded, event: Event) -> str:
    return f"{who(event)}: {ended.verdict} after {ended.seconds:.1f} s. {ended.cause}"


@words.register
def chosen_words(chosen: Chosen, event: Event) -> str:
    return f"{who(event)}: {chosen.why}"


@words.register
def proposal_words(proposed: TasksProposed, event: Event) -> str:
    return f"{who(event)}: proposes {plural(len(proposed.tasks), 'further task')}"


@words.register
def person_words(needed: HumanNeeded, event: Event) -> str:
    return f"{who(event)}: waits for a person. {needed.why}"


@words.register
def held_words(held: TaskHeld, event: Event) -> str:
    return f"{who(event)}: held back, {held.reason}"


@words.register
def gate_start_words(started: GateStarted, event: Event) -> str:
    return f"{started.name}: {PURPOSES.get(started.tree, started.command)}"


@words.register
def gate_end_words(gate: GateEnded, event: Event) -> str:
    return f"{gate.name}: {gate_outcome(gate)} in {gate.seconds:.1f} s"


@words.register
def delivery_words(delivered: Delivered, event: Event) -> str:
    if delivered.applied:
        return f"{delivered.branch} now has the result"
    return f"the result is on {delivered.side_branch}: {delivered.reason}"


@words.register
def branch_words(branched: Branched, event: Event) -> str:
    return f"the result is on {branched.branch}"


@words.register
def patch_words(written: PatchWritten, event: Event) -> str:
    return f"the result is written to {written.path}"


@words.register
def push_words(pushed: Pushed, event: Event) -> str:
    return f"{pushed.branch} is pushed to {pushed.remote}"


@words.register
def pr_words(opened: PrOpened, event: Event) -> str:
    return f"{'found' if opened.existed else 'opened'} {opened.url}"


@words.register
def failure_words(failed: NotHandedOver, event: Event) -> str:
    return f"not handed over: {failed.why}"
