"""A line of text per event: for plain progress, the board's title and `logs`."""

from functools import singledispatch

from orchestra import events
from orchestra.events import Event, Payload
from orchestra.report.labels import gate_outcome
from orchestra.report.phrases import format_usd, plural

# What a run of tests is for that examines the tests themselves, by its tree.
TREE_PURPOSES = {
    "control": "once more with a test of ours that must fail",
    "base-tests": "once more with the base's tests",
    "base-tests1": "once more with the base's tests and build files",
    "new-tests": "the new tests on the base",
}


def describe_event(event: Event) -> str:
    """The event in words; empty if it is not worth a line."""
    return blank_controls(describe_payload(event.payload, event))


def blank_controls(text: str, limit: int = 300) -> str:
    """The text without control characters, which models and repositories could send to the terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)[:limit]


def actor_name(event: Event) -> str:
    return f"agent{event.task}" if event.task is not None else "run"


@singledispatch
def describe_payload(payload: Payload, event: Event) -> str:
    """The payload in words. Kinds without a registered function are not worth a line."""
    return ""


@describe_payload.register
def describe_run_started(started: events.RunStarted, event: Event) -> str:
    return f"run {event.run} on {started.branch or 'a detached HEAD'} at {started.base[:10]} with {started.model}"


@describe_payload.register
def describe_note(note: events.Note, event: Event) -> str:
    return f"note: {note.text}"


@describe_payload.register
def describe_prd_asked(asked: events.PrdAsked, event: Event) -> str:
    return f"asking {asked.model} for the PRD"


@describe_payload.register
def describe_prd_written(prd: events.PrdWritten, event: Event) -> str:
    return f"PRD: {prd.path} ({plural(len(prd.requirements), 'requirement')})"


@describe_payload.register
def describe_plan_made(plan: events.PlanMade, event: Event) -> str:
    return f"plan: {plural(len(plan.tasks), 'task')} for {plural(plan.agents, 'agent')} at once"


@describe_payload.register
def describe_drafted(drafted: events.PlanDrafted, event: Event) -> str:
    return f"plan: {plural(drafted.tasks, 'task')} in {drafted.file}"


@describe_payload.register
def describe_attempt_started(started: events.AttemptStarted, event: Event) -> str:
    return f"{actor_name(event)}: started"


@describe_payload.register
def describe_waiting(waiting: events.AgentWaiting, event: Event) -> str:
    return f"{actor_name(event)}: waiting for {waiting.on} ({waiting.why})" if waiting.on else ""


@describe_payload.register
def describe_limit_reached(reached: events.LimitReached, event: Event) -> str:
    return f"{reached.limit} was reached: finished work is combined"


@describe_payload.register
def describe_request(request: events.RequestEnded, event: Event) -> str:
    head, used = f"{actor_name(event) if event.task else request.role}:", request.usage
    if request.failure:
        return f"{head} {request.provider} {request.failure} ({request.status or 'no answer'}): {request.message}"
    cost = "" if used.dollars is None else f", {format_usd(used.dollars)}"
    tokens = f"{used.input:,}+{used.output:,} tokens"
    return f"{head} reply of {request.model} in {request.seconds:.1f} s, {tokens}{cost}"


@describe_payload.register
def describe_attempt_ended(ended: events.AttemptEnded, event: Event) -> str:
    return f"{actor_name(event)}: {ended.verdict} after {ended.seconds:.1f} s. {ended.cause}"


@describe_payload.register
def describe_chosen(chosen: events.AttemptChosen, event: Event) -> str:
    return f"{actor_name(event)}: {chosen.why}"


@describe_payload.register
def describe_tasks_proposed(proposed: events.TasksProposed, event: Event) -> str:
    return f"{actor_name(event)}: proposes {plural(len(proposed.tasks), 'further task')}"


@describe_payload.register
def describe_human_needed(needed: events.HumanNeeded, event: Event) -> str:
    return f"{actor_name(event)}: needs your decision. {needed.why}"


@describe_payload.register
def describe_task_held(held: events.TaskExcluded, event: Event) -> str:
    return f"{actor_name(event)}: excluded, {held.reason}"


@describe_payload.register
def describe_gate_started(started: events.GateStarted, event: Event) -> str:
    return f"{started.name}: {TREE_PURPOSES.get(started.tree, started.command)}"


@describe_payload.register
def describe_gate_ended(gate: events.GateEnded, event: Event) -> str:
    return f"{gate.name}: {gate_outcome(gate)} in {gate.seconds:.1f} s"


@describe_payload.register
def describe_delivered(delivered: events.ResultDelivered, event: Event) -> str:
    if delivered.applied:
        return f"{delivered.branch} now has the result"
    return f"the result is on {delivered.side_branch}: {delivered.reason}"


@describe_payload.register
def describe_branched(branched: events.ResultBranched, event: Event) -> str:
    return f"the result is on {branched.branch}"


@describe_payload.register
def describe_patch_written(written: events.PatchWritten, event: Event) -> str:
    return f"the result is written to {written.path}"


@describe_payload.register
def describe_pushed(pushed: events.BranchPushed, event: Event) -> str:
    return f"{pushed.branch} is pushed to {pushed.remote}"


@describe_payload.register
def describe_pr_opened(opened: events.PrOpened, event: Event) -> str:
    return f"{'found' if opened.existed else 'opened'} {opened.url}"


@describe_payload.register
def describe_not_handed_over(failed: events.NotHandedOver, event: Event) -> str:
    return f"not handed over: {failed.why}"
