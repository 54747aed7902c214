"""A task's life: attempts, each knowing what went wrong before, until one is right or none is worth its money."""

import asyncio
from dataclasses import dataclass, field

from orchestra import events
from orchestra.conduct.attempt.attempt import Attempt, judge_cancellation
from orchestra.conduct.checks.gating import Gating
from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.core.slots import Slot
from orchestra.conduct.core.task_result import AttemptStart, TaskResult
from orchestra.conduct.loop.candidates import run_attempt_round
from orchestra.judge.retry import NextAction, NextStep, TriedAttempt, build_feedback, next_step
from orchestra.model import Task, TaskState, Verdict


@dataclass
class AttemptHistory:
    """The attempts at a task that failed. `earlier` were made before a person decided what to do: they teach, but do
    not count."""

    tried: list[TriedAttempt] = field(default_factory=list)
    earlier: list[TriedAttempt] = field(default_factory=list)
    # What had ended of a round that was cut off: it is not paid for again.
    finished: list[TaskResult] = field(default_factory=list)

    @property
    def lesson(self) -> str:
        return build_feedback([*self.earlier, *self.tried])

    def decide_next(self, run: Run, last: TriedAttempt) -> NextStep:
        """What comes after this attempt."""
        if last.verdict is Verdict.APPLIED:
            return NextStep(NextAction.DONE, last.cause)
        self.tried.append(last)
        return next_step(self.tried, run.context.settings.retries, human=run.waits_for_human)

    def start_over(self) -> None:
        self.earlier += self.tried
        self.tried, self.finished = [], []


async def run_task_lifecycle(
    run: Run, gating: Gating, task: Task, slot: Slot, history: AttemptHistory, parent: str
) -> TaskResult:
    """The last attempt's result. `parent` is the commit that the task's work stands on."""
    start = AttemptStart(parent, parent, lesson=history.lesson)
    while True:
        try:
            result = await run_attempt_round(run, gating, task, slot, start, history.finished)
        except asyncio.CancelledError:
            if run.state.report.tasks[task.id].state in (TaskState.ACTIVE, TaskState.AWAITING_QA):
                run.move(task.id, TaskState.FAILED)
            raise
        history.finished, number = [], run.state.report.tasks[task.id].attempts
        step = history.decide_next(run, result.tried)
        if step.next is NextAction.DONE:
            return result
        run.move(task.id, TaskState.FAILED, number)
        if step.next is NextAction.ASK:
            wait_for_human(run, task.id, step.why)
        if step.next not in (NextAction.FRESH, NextAction.ON_TOP):
            return result
        run.emit(events.TaskRetried(step.why, step.next is NextAction.ON_TOP), task.id, number)
        run.move(task.id, TaskState.READY)
        start = await next_attempt_start(run.context, result, step.next, parent, history.lesson)


async def next_attempt_start(
    context: Context, last: TaskResult, how: NextAction, parent: str, lesson: str
) -> AttemptStart:
    if how is not NextAction.ON_TOP or not last.commit:
        return AttemptStart(parent, parent, lesson=lesson)
    git = context.repository.git
    carried = await git.paths("diff-tree", "-r", "--name-only", "--no-renames", "-z", parent, last.commit)
    return AttemptStart(last.commit, parent, tuple(carried), lesson)


def cancelled_result(run: Run, gating: Gating, task: Task) -> TaskResult:
    """The result of a task that another terminal has cancelled; told here when no attempt was at work."""
    result = TaskResult(task, judge_cancellation(run.context, task, only_this=True))
    record = run.state.report.tasks[task.id]
    if record.state == TaskState.READY:
        run.move(task.id, TaskState.ACTIVE)
        run.move(task.id, TaskState.FAILED)
    if record.verdict != Verdict.CANCELLED:
        Attempt(run, gating, task, record.attempts + 1, AttemptStart("", "")).end(result)
    return result


def wait_for_human(run: Run, task: int, why: str) -> None:
    run.emit(events.HumanNeeded(why), task, run.state.report.tasks[task].attempts)
    if run.state.report.tasks[task].state != TaskState.WAITING_HUMAN:
        run.move(task, TaskState.WAITING_HUMAN)
