"""The phase of a task in words, for displays of a run that goes on."""

from enum import StrEnum

from orchestra.model import TaskState
from orchestra.report.detail import RunDetail
from orchestra.report.state import Report, TaskReport


class Phase(StrEnum):
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
    return task.verdict.replace("_", " ") if phase is Phase.FAILED and task.verdict else phase.value


def has_ended(task: TaskReport) -> bool:
    """Return whether nothing is left to do for a task but to combine it with the others."""
    return task.state in (TaskState.AWAITING_QA, TaskState.COMPLETE, TaskState.FAILED, TaskState.ABANDONED)
