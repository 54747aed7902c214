"""A task's life: attempts, each knowing what went wrong before, until one is right or none is worth its money."""

import asyncio
from dataclasses import dataclass, field

from orchestra import events
from orchestra.conduct.attempt.attempt import Attempt, cancellation
from orchestra.conduct.checks.gating import Gating
from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.core.results import Result, Start
from orchestra.conduct.core.slots import Slot
from orchestra.conduct.loop.candidates import one_round
from orchestra.judge.retry import Next, Step, Tried, feedback, next_step
from orchestra.model import Task, TaskState, Verdict


@dataclass
class History:
    """The attempts at a task that failed. `earlier` were made before a person decided what to do: they teach, but do
    not count."""

    tried: list[Tried] = field(default_factory=list)
    earlier: list[Tried] = field(default_factory=list)
    # What had ended of a round that was cut off: it is not paid for again.
    finished: list[Result] = field(default_factory=list)

    @property
    def lesson(self) -> str:
        return feedback([*self.earlier, *self.tried])

    def next(self, run: Run, last: Tried) -> Step:
        """What comes after this attempt."""
        if last.verdict is Verdict.APPLIED:
            return Step(Next.DONE, last.cause)
        self.tried.append(last)
        return next_step(self.tried, run.context.settings.retries, human=run.waits_for_human)

    def begin_anew(self) -> None:
        self.earlier += self.tried
        self.tried, self.finished = [], []


async def live(run: Run, gating: Gating, task: Task, slot: Slot, history: History, parent: str) -> Result:
    """The last attempt's result. `parent` is the commit that the task's work stands on."""
    start = Start(parent, parent, lesson=history.lesson)
    while True:
        try:
            result = await one_round(run, gating, task, slot, start, history.finished)
        except asyncio.CancelledError:
            if run.state.report.tasks[task.id].state in (TaskState.ACTIVE, TaskState.AWAITING_QA):
                run.move(task.id, TaskState.FAILED)
            raise
        history.finished, number = [], run.state.report.tasks[task.id].attempts
        step = history.next(run, result.tried)
        if step.next is Next.DONE:
            return result
        run.move(task.id, TaskState.FAILED, number)
        if step.next is Next.ASK:
            wait_for_human(run, task.id, step.why)
        if step.next not in (Next.FRESH, Next.ON_TOP):
            return result
        run.emit(events.Retry(step.why, step.next is Next.ON_TOP), task.id, number)
        run.move(task.id, TaskState.READY)
        start = await start_of(run.context, result, step.next, parent, history.lesson)


async def start_of(context: Context, last: Result, how: Next, parent: str, lesson: str) -> Start:
    if how is not Next.ON_TOP or not last.commit:
        return Start(parent, parent, lesson=lesson)
    git = context.repository.git
    carried = await git.paths("diff-tree", "-r", "--name-only", "--no-renames", "-z", parent, last.commit)
    return Start(last.commit, parent, tuple(carried), lesson)


def cancelled(run: Run, gating: Gating, task: Task) -> Result:
    """The result of a task that another terminal has cancelled; told here when no attempt was at work."""
    result = Result(task, cancellation(run.context, task, only_this=True))
    record = run.state.report.tasks[task.id]
    if record.state == TaskState.READY:
        run.move(task.id, TaskState.ACTIVE)
        run.move(task.id, TaskState.FAILED)
    if record.verdict != Verdict.CANCELLED:
        Attempt(run, gating, task, record.attempts + 1, Start("", "")).end(result)
    return result


def wait_for_human(run: Run, task: int, why: str) -> None:
    run.emit(events.HumanNeeded(why), task, run.state.report.tasks[task].attempts)
    if run.state.report.tasks[task].state != TaskState.WAITING_HUMAN:
        run.move(task, TaskState.WAITING_HUMAN)
