"""One round at a task: an attempt, or several side by side of which the best is kept."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from orchestra import events
from orchestra.conduct.attempt.attempt import Attempt
from orchestra.conduct.attempt.saved_work import keep_branch
from orchestra.conduct.checks.gating import Gating
from orchestra.conduct.core.context import Run
from orchestra.conduct.core.names import candidate_branch
from orchestra.conduct.core.slots import Slot
from orchestra.conduct.core.task_result import AttemptStart, TaskResult
from orchestra.judge.candidates import best_candidate, explain_choice
from orchestra.judge.policy import is_instructive
from orchestra.model import Task, TaskState
from orchestra.workspace import merge


async def run_attempt_round(
    run: Run, gating: Gating, task: Task, slot: Slot, start: AttemptStart, finished: Sequence[TaskResult]
) -> TaskResult:
    """`finished` are those of a round that was cut off before its choice was made."""
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
    """All of them; stopped together, and not left before the last one is done."""
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
    """The best one takes the task's branch; what the others did stays on theirs, and the next round hears of it."""
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
        await merge.delete_branches(run.context.repository.git, [candidate_branch(run.context, task.id, chosen.number)])
    others = tuple(one.tried for one in known.values() if is_instructive(one.tried.verdict))
    return replace(result, tried=replace(result.tried, beside=others))
