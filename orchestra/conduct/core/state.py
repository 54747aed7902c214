"""What has happened in a run so far."""

from typing import Any

from orchestra.journal.jsonl import Journal
from orchestra.model import MOVES, Plan, TaskState
from orchestra.report.fold import Report


class State:
    """The report and the plan of a run. They change only by its events, and all its events pass here."""

    def __init__(self, journal: Journal, report: Report) -> None:
        self.journal = journal
        self.report = report
        self.plan = Plan((), 0)

    def emit(self, kind: str, task: int | None = None, attempt: int | None = None, **data: Any) -> None:
        self.journal.emit(kind, task, attempt, **data)

    def adopt(self, plan: Plan) -> None:
        """Take a plan that an event has told."""
        self.plan = plan

    def move(self, task: int, state: TaskState, attempt: int | None = None) -> None:
        """Move a task to another state: the one way to do so. A move that the table does not allow is a bug."""
        now = TaskState(self.report.tasks[task].state)
        if state not in MOVES[now]:
            raise AssertionError(f"task {task} cannot go from {now} to {state}")
        self.emit("task_moved", task, attempt, state=state)
