"""What has happened in a run so far."""

from orchestra import events
from orchestra.events import Payload
from orchestra.journal.jsonl import Journal
from orchestra.model import TRANSITIONS, Plan, TaskState
from orchestra.report.state import Report


class RunState:
    """The report of a run, which only events change, and its plan. All events of the run pass here."""

    def __init__(self, journal: Journal, report: Report) -> None:
        self.journal = journal
        self.report = report
        self.plan = Plan((), 0)

    def emit(self, payload: Payload, task: int | None = None, attempt: int | None = None) -> None:
        self.journal.emit(payload, task, attempt)

    def set_plan(self, plan: Plan) -> None:
        """Take a plan that was made or changed. Its event may lack words in it: secrets are taken out of events."""
        self.plan = plan

    def move(self, task: int, state: TaskState, attempt: int | None = None) -> None:
        """Move a task to another state: the one way to do so. A move that the table does not allow is a bug."""
        now = self.report.tasks[task].state
        if state not in TRANSITIONS[now]:
            raise AssertionError(f"task {task} cannot go from {now} to {state}")
        self.emit(events.TaskMoved(state), task, attempt)
