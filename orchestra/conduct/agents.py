"""All agents: each task's attempt, at most so many at once."""

import asyncio
from collections.abc import Mapping

from orchestra.conduct.attempt import Result, attempt
from orchestra.conduct.run import Run
from orchestra.model import Task, TaskState, Verdict


async def run_agents(run: Run, done: Mapping[int, Result]) -> list[Result]:
    """The results in the order of the tasks. What is done already is not done again."""
    places = asyncio.Semaphore(run.plan.agents)
    for task in run.plan.tasks:
        bring(run, task.id, TaskState.AWAITING_QA if task.id in done else TaskState.READY)
    waiting = [task for task in run.plan.tasks if task.id not in done]
    if waiting:
        await run.seats.ready()
    async with asyncio.TaskGroup() as group:
        running = {task.id: group.create_task(run_one(run, task, places)) for task in waiting}
    return [done[task.id] if task.id in done else running[task.id].result() for task in run.plan.tasks]


def bring(run: Run, task: int, wanted: TaskState) -> None:
    """Move a task, from wherever it was left, to where it is wanted, step by step along the table."""
    steps = {
        TaskState.PLANNED: TaskState.READY,
        TaskState.READY: TaskState.ACTIVE,
        TaskState.ACTIVE: TaskState.AWAITING_QA if wanted is TaskState.AWAITING_QA else TaskState.FAILED,
        TaskState.AWAITING_QA: TaskState.FAILED,
        TaskState.FAILED: TaskState.READY,
    }
    while (now := TaskState(run.report.tasks[task].state)) not in (wanted, TaskState.COMPLETE):
        run.move(task, steps[now])


async def run_one(run: Run, task: Task, places: asyncio.Semaphore) -> Result:
    number = run.report.tasks[task.id].attempts + 1
    async with places:
        run.move(task.id, TaskState.ACTIVE, number)
        try:
            result = await attempt(run, task, number)
        except asyncio.CancelledError:
            run.move(task.id, TaskState.FAILED, number)
            raise
        state = TaskState.AWAITING_QA if result.judgement.verdict is Verdict.APPLIED else TaskState.FAILED
        run.move(task.id, state, number)
        return result
