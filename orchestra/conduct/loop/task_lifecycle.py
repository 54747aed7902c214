"""The life cycle of one task: rounds of attempts that learn from each other."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from orchestra import events
from orchestra.conduct.attempt.attempt import Attempt, judge_cancellation
from orchestra.conduct.attempt.saved_work import keep_branch
from orchestra.conduct.checks.gating import Gating
from orchestra.conduct.core.context import AttemptStart, Run, TaskResult
from orchestra.conduct.core.slots import Slot
from orchestra.judge.candidates import best_candidate, explain_choice
from orchestra.judge.policy import is_instructive, policy_of
from orchestra.judge.retry import NextAction, NextStep, TriedAttempt, build_feedback, next_step
from orchestra.model import Task, TaskState, Verdict
from orchestra.report.state import TaskReport
from orchestra.workspace import merge


@dataclass
class AttemptHistory:
    """The failed attempts at a task; `earlier` ones, from before a person decided, teach but do not count as tries."""

    tried: list[TriedAttempt] = field(default_factory=list)
    earlier: list[TriedAttempt] = field(default_factory=list)
    # What had ended of an interrupted round: it is not paid for again.
    finished: list[TaskResult] = field(default_factory=list)

    @property
    def has_own_failure(self) -> bool:
        """Whether an earlier attempt failed by its own fault, not by that of a provider, a limit or the machine."""
        return any(not policy_of(each.verdict).answers_stand for each in (*self.earlier, *self.tried))

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


@dataclass
class TaskLifecycle:
    """Rounds of attempts at a task, until one succeeds or no further one is worthwhile.

    A round is one attempt, or several in parallel of which the best is kept.
    """

    run: Run
    gating: Gating
    task: Task
    slot: Slot
    history: AttemptHistory
    parent: str  # the commit under the task's work

    @property
    def record(self) -> TaskReport:
        return self.run.state.report.tasks[self.task.id]

    async def carry_out(self) -> TaskResult:
        """Run the task and return the last attempt's result."""
        run, task, history = self.run, self.task.id, self.history
        start = self.fresh_start()
        while True:
            try:
                result = await self.run_round(start)
            except asyncio.CancelledError:
                if self.record.state in (TaskState.ACTIVE, TaskState.AWAITING_QA):
                    run.move(task, TaskState.FAILED)
                raise
            history.finished, number = [], self.record.attempts
            if result.judgement.nothing_to_do:
                return result
            step = history.decide_next(run, result.tried)
            if step.next is NextAction.DONE:
                return result
            run.move(task, TaskState.FAILED, number)
            if step.next is NextAction.ASK:
                wait_for_human(run, task, step.why)
            if step.next not in (NextAction.FRESH, NextAction.ON_TOP):
                return result
            run.emit(events.TaskRetried(step.why, step.next is NextAction.ON_TOP), task, number)
            run.move(task, TaskState.READY)
            start = self.fresh_start()
            if step.next is NextAction.ON_TOP and result.commit:
                options = ("diff-tree", "-r", "--name-only", "--no-renames", "-z")
                carried = await run.context.git.paths(*options, self.parent, result.commit)
                start = replace(start, base=result.commit, carried=tuple(carried))

    def fresh_start(self) -> AttemptStart:
        history = self.history
        return AttemptStart(self.parent, self.parent, lesson=history.lesson, must_change=history.has_own_failure)

    async def run_round(self, start: AttemptStart) -> TaskResult:
        """Run a round, with what had ended of it before an interruption. Parallel attempts are stopped together."""
        first, count = self.record.attempts + 1, self.run.context.settings.agents_per_task
        finished, numbers = self.history.finished, itertools.count(first)
        if count == 1 and not finished:
            return await self.run_attempt(numbers, start)
        start = replace(start, round=finished[0].round if finished else first)
        attempts = [self.run_attempt(numbers, start) for _ in range(count - len(finished))]
        made = await asyncio.gather(*attempts, return_exceptions=True)
        for failure in made:
            if isinstance(failure, BaseException):
                raise failure
        return await self.choose_result([*finished, *(one for one in made if isinstance(one, TaskResult))])

    async def run_attempt(self, numbers: Iterator[int], start: AttemptStart) -> TaskResult:
        """Make an attempt. If its host is lost, make it again elsewhere, under the next number."""
        async with self.slot():
            while True:
                number = next(numbers)
                self.mark_active(number)
                result = await Attempt(self.run, self.gating, self.task, number, start).carry_out()
                if not result.lost:
                    return result
                start = replace(start, losses=start.losses + 1)

    def mark_active(self, number: int) -> None:
        if self.record.state == TaskState.READY:
            self.run.move(self.task.id, TaskState.ACTIVE, number)

    async def choose_result(self, results: Sequence[TaskResult]) -> TaskResult:
        """Choose the best result for the task's branch. The others stay on their branches and teach the next round."""
        run, task = self.run, self.task.id
        known = {one.candidate.number: one for one in results if one.candidate}
        candidates = [one.candidate for one in known.values() if one.candidate]
        chosen = best_candidate(candidates)
        result = known.pop(chosen.number)
        self.mark_active(chosen.number)
        if chosen.accepted and self.record.state == TaskState.ACTIVE:
            run.move(task, TaskState.AWAITING_QA, chosen.number)
        run.emit(events.AttemptChosen(result.round, explain_choice(candidates)), task, chosen.number)
        if result.commit:
            await keep_branch(run, task, chosen.number, result.commit)
            await merge.delete_branches(run.context.git, [run.context.branch(f"task{task}-{chosen.number}")])
        others = tuple(one.tried for one in known.values() if is_instructive(one.tried.verdict))
        return replace(result, tried=replace(result.tried, beside=others))


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
