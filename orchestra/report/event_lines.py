"""A line of text per event: for plain progress, the board's title and `logs`."""

from orchestra import events
from orchestra.events import Event, Payload
from orchestra.model import Verified
from orchestra.report.phrases import (
    conflict_phrase,
    decision_phrase,
    format_usd,
    gate_duration,
    gate_outcome,
    join_names,
    outcome_phrase,
    plural,
    run_count,
)
from orchestra.report.state import DecisionMade

# What a run of tests is for that examines the tests themselves, by its tree.
TREE_PURPOSES = {
    "control": "checking that a failing test is noticed",
    "base-tests": "again, with the tests as they were before the run",
    "base-tests1": "again, with the tests and build files as they were before the run",
    "new-tests": "the new tests, on the code as it was before the run",
}


def describe_event(event: Event) -> str:
    """The event in words; empty if it is not worth a line."""
    words = describe_run(event.payload, event) or describe_task(event.payload, event) or describe_result(event.payload)
    return blank_controls(words)


def describe_milestone(event: Event) -> str:
    """What `logs` tells beside that: the progress of a run that goes on would say it twice."""
    match event.payload:
        case events.RunResumed():
            words = "resumed"
        case events.RunEnded() as ended:
            words = f"ended with exit code {ended.exit_code}{ended.error and f': {ended.error}'}"
        case events.AiderReady():
            words = "Aider is loaded"
        case events.TaskRetried() as retry:
            words = f"gets another attempt. {retry.why}"
        case events.TaskResolved() as decision:
            words = decision_phrase(DecisionMade("", decision.action, "")) + (decision.text and f": {decision.text}")
        case events.CommandAnswered() as command:
            words = f"{command.name}: {command.answer}"
        case events.TaskIntegrated() as integrated:
            words = f"combined with the others as {integrated.commit[:10]}"
        case _:
            words = ""
    return blank_controls(words)


def blank_controls(text: str, limit: int = 300) -> str:
    """The text without control characters, which models and repositories could send to the terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)[:limit]


def actor_name(event: Event) -> str:
    return f"agent{event.task}" if event.task is not None else "run"


def describe_run(payload: Payload, event: Event) -> str:
    match payload:
        case events.RunStarted():
            place = f"{payload.branch or 'a detached HEAD'} at {payload.base[:10]}"
            return f"run {event.run} on {place} with {payload.model}"
        case events.Note():
            return f"note: {payload.text}"
        case events.PrdAsked():
            return f"asking {payload.model} for the PRD"
        case events.PrdWritten():
            return f"PRD: {payload.path} ({plural(len(payload.requirements), 'requirement')})"
        case events.PlanMade():
            return f"plan: {plural(len(payload.tasks), 'task')} for {plural(payload.agents, 'agent')} at once"
        case events.PlanDrafted():
            return f"plan: {plural(payload.tasks, 'task')} in {payload.file}"
        case events.LimitReached():
            return f"{payload.limit} was reached: finished work is combined"
        case events.PlanChanged() if payload.tasks:
            return f"changed by a person: {join_names([task.agent for task in payload.tasks])}"
        case events.RunPaused():
            return "paused: no attempt begins until `unpause`" if payload.paused else "no longer paused"
        case events.BudgetChanged():
            return f"the budget is {format_usd(payload.dollars)} now"
        case events.RequestEnded():
            return describe_request(payload, actor_name(event) if event.task else payload.role)
    return ""


def describe_request(request: events.RequestEnded, actor: str) -> str:
    used = request.usage
    if request.failure:
        return f"{actor}: {request.provider} {request.failure} ({request.status or 'no answer'}): {request.message}"
    cost = "" if used.dollars is None else f", {format_usd(used.dollars)}"
    tokens = f"{used.input:,}+{used.output:,} tokens"
    return f"{actor}: reply of {request.model} in {request.seconds:.1f} s, {tokens}{cost}"


def describe_task(payload: Payload, event: Event) -> str:
    actor = actor_name(event)
    match payload:
        case events.AttemptStarted():
            return f"{actor}: started"
        case events.AgentWaiting():
            return f"{actor}: waiting for {payload.on} ({payload.why})" if payload.on else ""
        case events.AttemptEnded():
            outcome = "nothing to do" if payload.nothing_to_do else outcome_phrase(payload.verdict)
            return f"{actor}: {outcome} after {payload.seconds:.1f} s. {payload.cause}"
        case events.AttemptChosen():
            return f"{actor}: {payload.why}"
        case events.TasksProposed():
            return f"{actor}: proposes {plural(len(payload.tasks), 'further task')}"
        case events.HumanNeeded():
            return f"{actor}: needs your decision. {payload.why}"
        case events.ConflictDecided():
            return f"{actor}: {conflict_phrase(payload)}"
        case events.TaskExcluded():
            return f"{actor}: excluded, {payload.reason}"
    return ""


def describe_result(payload: Payload) -> str:
    match payload:
        case events.GateStarted():
            command = "checking that the files parse" if payload.name == Verified.SYNTAX else payload.command
            return f"{payload.name}: {TREE_PURPOSES.get(payload.tree, command)}"
        case events.GateEnded():
            return f"{payload.name}: {gate_outcome(payload)} {gate_duration(payload)}"
        case events.FlakyTests():
            worst = payload.tests[:1]
            return "".join(f"{payload.name}: {test.name} is flaky, in {run_count(test)}" for test in worst)
        case events.ResultDelivered(applied=True):
            return f"{payload.branch} now has the result"
        case events.ResultDelivered():
            return f"the result is on {payload.side_branch}: {payload.reason}"
        case events.ResultBranched():
            return f"the result is on {payload.branch}"
        case events.PatchWritten():
            return f"the result is written to {payload.path}"
        case events.BranchPushed():
            return f"{payload.branch} is pushed to {payload.remote}"
        case events.PrOpened():
            return f"{'found' if payload.existed else 'opened'} {payload.url}"
        case events.NotHandedOver():
            return f"not handed over: {payload.why}"
    return ""
