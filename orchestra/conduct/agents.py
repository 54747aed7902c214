"""All agents: each task's attempt, at most so many at once."""

import asyncio

from orchestra.conduct.attempt import Result, attempt
from orchestra.conduct.run import Run
from orchestra.model import Task, TaskState, Verdict


async def run_agents(run: Run, required: frozenset[str]) -> list[Result]:
    """The results in the order of the tasks."""
    places = asyncio.Semaphore(run.plan.agents)
    for task in run.plan.tasks:
        run.move(task.id, TaskState.READY)
    await run.seats.ready()
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(run_one(run, task, places, required)) for task in run.plan.tasks]
    return [one.result() for one in running]


async def run_one(run: Run, task: Task, places: asyncio.Semaphore, required: frozenset[str]) -> Result:
    async with places:
        run.move(task.id, TaskState.ACTIVE)
        try:
            result = await attempt(run, task, 1, required)
        except asyncio.CancelledError:
            run.move(task.id, TaskState.FAILED)
            raise
        state = TaskState.AWAITING_QA if result.judgement.verdict is Verdict.APPLIED else TaskState.FAILED
        run.move(task.id, state)
        return result
