"""The results of the tasks, and which of them can be combined."""

from collections.abc import Iterable

from orchestra.conduct.combine.combine_and_gate import Combination, CombinedCommits, combine_commits, emit_task_held
from orchestra.conduct.core.context import Run
from orchestra.conduct.core.task_result import TaskResult
from orchestra.conduct.loop.task_lifecycle import AttemptHistory
from orchestra.conduct.previous.sessions import PreviousSessions
from orchestra.judge.blame import needs_closure
from orchestra.model import Task, TaskState, Verdict
from orchestra.plan.task_order import order_tasks


class TaskResults:
    """The last result of each task, and the failed attempts that its next attempt learns from.

    `base` is what new work begins on: a commit, and the tasks that it holds.
    """

    def __init__(self, run: Run, previous: PreviousSessions | None) -> None:
        self.run = run
        self.base = Combination(run.context.repository.base)
        self.by_task: dict[int, TaskResult] = previous.done_results() if previous else {}
        self.histories = {task.id: restore_history(previous, task.id) for task in run.state.plan.tasks}
        self.given_up: set[int] = set()  # tasks that broke the combination and are not retried
        for task, result in self.by_task.items():
            if result.judgement.verdict is Verdict.APPLIED:
                run.move_to(task, TaskState.AWAITING_QA)
                run.complete_accepted_task(task)

    def record(self, result: TaskResult) -> None:
        self.by_task[result.task.id] = result
        self.given_up.discard(result.task.id)

    def forget(self, task: int) -> None:
        """Forget the result of a task that is retried."""
        self.by_task.pop(task, None)
        self.given_up.discard(task)

    def is_done(self, task: int) -> bool:
        """Whether other tasks can build on this one."""
        result = self.by_task.get(task)
        return task in self.base.tasks or (result is not None and result.judgement.verdict is Verdict.APPLIED)

    async def combine_dependencies(self, task: Task) -> CombinedCommits:
        """Combine everything that the task needs on top of the base."""
        needs = self.run.state.plan.needs
        needed, tasks = needs_closure(needs[task.id], needs) - self.base.tasks, self.run.state.plan.by_id
        results = [self.by_task[each.id] for each in order_tasks([tasks[each] for each in needed])]
        # A result that an earlier delivery brought to the user's branch has no commit left.
        return await combine_commits(self.run, self.base.head, [result for result in results if result.commit])

    def list_accepted(self, base: Combination) -> list[TaskResult]:
        """Return the results that can be combined with the base, in their order."""
        needs = self.run.state.plan.needs
        results = [self.by_task[task.id] for task in order_tasks(self.run.state.plan.tasks) if task.id in self.by_task]
        return [
            result
            for result in results
            if result.commit
            and result.judgement.verdict in (Verdict.APPLIED, Verdict.NO_CHANGE)
            and result.task.id not in base.tasks
            and self.given_up.isdisjoint(needs_closure({result.task.id}, needs))
        ]

    def exclude(self, tasks: Iterable[Task]) -> None:
        """Exclude tasks that never began, with what they waited for."""
        for task in tasks:
            missing = [need for need in self.run.state.plan.needs[task.id] if not self.is_done(need)]
            names = " and ".join(self.run.state.report.tasks[need].agent for need in missing)
            emit_task_held(self.run, task.id, f"it needs {names}, which is not complete")


def restore_history(previous: PreviousSessions | None, task: int) -> AttemptHistory:
    if previous is None:
        return AttemptHistory()
    return AttemptHistory(
        previous.lessons_after_crash(task),
        previous.lessons(task) if previous.decision else [],
        previous.finished_candidates(task),
    )
