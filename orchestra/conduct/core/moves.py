"""Move tasks along the table of states."""

from orchestra import events
from orchestra.conduct.core.context import Run
from orchestra.model import TaskState

STEPS = {
    TaskState.PLANNED: TaskState.READY,
    TaskState.READY: TaskState.ACTIVE,
    TaskState.ACTIVE: TaskState.FAILED,
    TaskState.AWAITING_QA: TaskState.FAILED,
    TaskState.FAILED: TaskState.READY,
    TaskState.WAITING_HUMAN: TaskState.READY,
}


def move_task_to(run: Run, task: int, wanted: TaskState) -> None:
    """Move a task step by step to the wanted state. A complete task is not moved."""
    steps = STEPS | ({TaskState.ACTIVE: TaskState.AWAITING_QA} if wanted is TaskState.AWAITING_QA else {})
    steps |= {TaskState.FAILED: wanted} if wanted is TaskState.WAITING_HUMAN else {}
    while (now := run.state.report.tasks[task].state) not in (wanted, TaskState.COMPLETE):
        run.move(task, steps[now])


def complete_accepted_task(run: Run, task: int) -> None:
    """Complete an accepted task whose result is an answer, and emit the further tasks that its agent proposes."""
    record = run.state.report.tasks[task]
    if record.answered:
        move_task_to(run, task, TaskState.AWAITING_QA)
    if record.answered and record.state != TaskState.COMPLETE:
        run.move(task, TaskState.COMPLETE)
    if record.proposed and record.proposed != run.state.report.proposals.get(task):
        run.emit(events.TasksProposed(record.proposed), task, record.attempts)
