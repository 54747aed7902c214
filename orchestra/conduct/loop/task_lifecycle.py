"""The life cycle of one task: attempts that learn from each other, until one succeeds or no further one is
worthwhile."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from orchestra import events
from orchestra.conduct.attempt.attempt import Attempt, judge_cancellation
from orchestra.conduct.attempt.saved_work import keep_branch
from orchestra.conduct.checks.gating import Gating
from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.core.slots import Slot
from orchestra.conduct.core.task_result import AttemptStart, TaskResult
from orchestra.judge.candidates import best_candidate, explain_choice
from orchestra.judge.policy import is_instructive
from orchestra.judge.retry import NextAction, NextStep, TriedAttempt, build_feedback, next_step
from orchestra.model import Task, TaskState, Verdict
from orchestra.workspace import merge


@dataclass
class AttemptHistory:
    """The failed attempts at a task.

    `earlier` ones were made before a person decided: they teach, but do not count as tries.
    """

    tried: list[TriedAttempt] = field(default_factory=list)
    earlier: list[TriedAttempt] = field(default_factory=list)
    # What had ended of an interrupted round: it is not paid for again.
    finished: list[TaskResult] = field(default_factory=list)

    @property
    def lesson(self) -> str:
        return build_feedback([*self.earlier, *self.tried])

    def decide_next(self, run: Run, last: TriedAttempt) -> NextStep:
        """Decide what follows this attempt."""
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
    """Run the task and return the last attempt's result. `parent` is the commit under the task's work."""
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
    """Return the result of a task that another terminal cancelled. Emit its end if no attempt was running."""
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


async def run_attempt_round(
    run: Run, gating: Gating, task: Task, slot: Slot, start: AttemptStart, finished: Sequence[TaskResult]
) -> TaskResult:
    """Run a round. `finished`: results of a round that was interrupted before its choice."""
    first, count = run.state.report.tasks[task.id].attempts + 1, run.context.settings.agents_per_task
    if count == 1 and not finished:
        return await run_in_slot(run, gating, task, slot, first, start)
    start = replace(start, round=finished[0].round if finished else first)
    numbers = range(first, first + count - len(finished))
    made = await run_side_by_side(run, gating, task, slot, numbers, start)
    return await choose_result(run, task, [*finished, *made])


async def run_side_by_side(
    run: Run, gating: Gating, task: Task, slot: Slot, numbers: Sequence[int], start: AttemptStart
) -> list[TaskResult]:
    """Run the attempts in parallel. They are stopped together; return only when the last one has ended."""
    work = (run_in_slot(run, gating, task, slot, number, start) for number in numbers)
    made = await asyncio.gather(*work, return_exceptions=True)
    for failure in made:
        if isinstance(failure, BaseException):
            raise failure
    return [result for result in made if isinstance(result, TaskResult)]


async def run_in_slot(run: Run, gating: Gating, task: Task, slot: Slot, number: int, start: AttemptStart) -> TaskResult:
    async with slot():
        mark_active(run, task.id, number)
        return await Attempt(run, gating, task, number, start).carry_out()


def mark_active(run: Run, task: int, number: int) -> None:
    if run.state.report.tasks[task].state == TaskState.READY:
        run.move(task, TaskState.ACTIVE, number)


async def choose_result(run: Run, task: Task, results: Sequence[TaskResult]) -> TaskResult:
    """Choose the best result for the task's branch. The others stay on their branches and teach the next round."""
    known = {one.candidate.number: one for one in results if one.candidate}
    candidates = [one.candidate for one in known.values() if one.candidate]
    chosen = best_candidate(candidates)
    result = known.pop(chosen.number)
    mark_active(run, task.id, chosen.number)
    if chosen.accepted and run.state.report.tasks[task.id].state == TaskState.ACTIVE:
        run.move(task.id, TaskState.AWAITING_QA, chosen.number)
    run.emit(events.AttemptChosen(result.round, explain_choice(candidates)), task.id, chosen.number)
    if result.commit:
        await keep_branch(run, task.id, chosen.number, result.commit)
        await merge.delete_branches(run.context.repository.git, [run.context.branch(f"task{task.id}-{chosen.number}")])
    others = tuple(one.tried for one in known.values() if is_instructive(one.tried.verdict))
    return replace(result, tried=replace(result.tried, beside=others))
