"""What waits for a person, over all runs: `interrupts` and `exceptions` are the same list under two names."""

import asyncio
import re

from fastapi import APIRouter, Request
from starlette.responses import Response

from orchestra.model import DECISION_ACTIONS, TaskState
from orchestra.report.phrases import decided_sentence
from orchestra.web.envelope import ApiError, data_response
from orchestra.web.launch import read_decision
from orchestra.web.live import LiveRun
from orchestra.web.routes.launches import resolve_task
from orchestra.web.routes.runs import MOST_RUNS
from orchestra.web.rows import Row
from orchestra.web.server import RunServer, read_object

WAITS_FOR_PERSON = 5  # the exit code
EXCEPTION_ID = re.compile(r"(.+):(\d+):(\d+)")


def people_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["decisions"])

    @routes.get("/interrupts", summary="The tasks of all runs that wait for a person, the oldest run first")
    async def list_interrupts() -> Response:
        return data_response(await list_waiting(server))

    @routes.get("/exceptions", summary="The same list")
    async def list_exceptions() -> Response:
        return data_response(await list_waiting(server))

    @routes.get("/exceptions/{exception}", summary="One task that waits; its id is `run:task:seq`")
    async def get_exception(exception: str) -> Response:
        return data_response(await find_waiting(server, exception))

    @routes.patch("/exceptions/{exception}", summary="Decide about a task that waits")
    async def resolve_exception(exception: str, request: Request, resume: bool = False) -> Response:
        """Body: `action` (retry, brief, abandon, spawn or take) and `text` (a hint, the brief, the new task). Other
        words are known too: `spawn_new_task`, `edit_brief`, and `hint` for the text. With `resume`, a run that no
        process works on is resumed for the decision (202)."""
        values = await read_object(request)
        record = await find_waiting(server, exception)
        decision = read_decision(record["task"]["id"], values | {"question": record["task"]["question"]})
        return await resolve_task(server, request, await server.find(record["run"]), decision, resume=resume)

    @routes.get("/runs/{run}/interrupts", summary="The tasks of one run that wait for a person")
    async def list_interrupts_of_run(run: str) -> Response:
        return data_response(waiting_records(await server.open(run)))

    @routes.post("/runs/{run}/resolve", summary="Decide about a task of the run that waits")
    async def resolve_of_run(run: str, request: Request, resume: bool = False) -> Response:
        """Body: `task` (its number; `task_id` is known too), and what `PATCH /exceptions/{exception}` has."""
        values = await read_object(request)
        task = values.pop("task", values.pop("task_id", None))
        if type(task) is not int:
            raise ApiError(400, "`task` must be the number of a task.")
        return await resolve_task(server, request, await server.find(run), read_decision(task, values), resume=resume)

    return routes


def waiting_records(live: LiveRun) -> list[Row]:
    return [
        {
            "id": f"{live.ref}:{row['id']}:{row['question']}",
            "status": "OPEN",
            "run": live.ref,
            "change": live.report.change,
            "question": row["asks"],
            "actions": list(DECISION_ACTIONS),
            "task": row,
        }
        for row in live.task_rows()
        if row["asks"]
    ]


async def list_waiting(server: RunServer) -> list[Row]:
    runs = await asyncio.to_thread(server.repositories.list_runs)
    waiting = []
    for index, run in reversed(runs[:MOST_RUNS]):
        if run.run.ended is None or run.run.ended.exit_code == WAITS_FOR_PERSON:
            waiting += waiting_records(await server.open_found(index, run))
    return waiting


async def find_waiting(server: RunServer, exception: str) -> Row:
    """Return the record of this id. Raise 409 if its question was answered, so that a later one is not decided."""
    if (parts := EXCEPTION_ID.fullmatch(exception)) is None:
        raise ApiError(404, "The id of an exception is `run:task:seq`.")
    live = await server.open(parts[1])
    for record in waiting_records(live):
        if record["id"] == exception:
            return record
    task = live.report.tasks.get(int(parts[2]))
    if task is None:
        raise ApiError(404, f"Run {live.run.name} has no task {parts[2]}.")
    if int(parts[3]) < task.decided_at:
        raise ApiError(409, decided_sentence(task))
    again = "waits with another question" if task.state == TaskState.WAITING_HUMAN else f"is {task.state} now"
    raise ApiError(409, f"Task {task.id} {again}.")
