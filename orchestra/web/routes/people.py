"""What waits for a person, over all runs: `interrupts` and `exceptions` are the same list under two names."""

import asyncio
import re

from fastapi import APIRouter, Request
from starlette.responses import Response

from orchestra.model import TaskState
from orchestra.report import run_status
from orchestra.web.envelope import ApiError, data_response
from orchestra.web.live import LiveRun
from orchestra.web.routes.runs import MOST_RUNS
from orchestra.web.rows import Row
from orchestra.web.server import RunServer, read_object
from orchestra.web.steering import send_command

WAITS_FOR_PERSON = 5  # the exit code
EXCEPTION_ID = re.compile(r"(.+):(\d+):(\d+)")
ACTIONS = ("retry", "brief", "abandon", "spawn", "take")
OTHER_WORDS = {"spawn_new_task": "spawn", "edit_brief": "brief"}


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
    async def resolve_exception(exception: str, request: Request) -> Response:
        """Body: `action` (retry, brief, abandon, spawn or take) and `text` (a hint, the brief, the new task)."""
        values = await read_object(request)
        record = await find_waiting(server, exception)
        return data_response(await resolve_task(server, record["run"], record["task"]["id"], values))

    @routes.get("/runs/{run}/interrupts", summary="The tasks of one run that wait for a person")
    async def list_interrupts_of_run(run: str) -> Response:
        return data_response(waiting_records(await server.open(run)))

    @routes.post("/runs/{run}/resolve", summary="Decide about a task of the run that waits")
    async def resolve_of_run(run: str, request: Request) -> Response:
        """Body: `task` (its number), `action` and `text`."""
        values = await read_object(request)
        task = values.pop("task", values.pop("task_id", None))
        if type(task) is not int:
            raise ApiError(400, "`task` must be the number of a task.")
        return data_response(await resolve_task(server, run, task, values))

    return routes


async def resolve_task(server: RunServer, run: str, task: int, values: Row) -> Row:
    action, text = values.get("action"), values.get("text", values.get("hint", ""))
    action = OTHER_WORDS.get(str(action), action)
    if action not in ACTIONS or not isinstance(text, str):
        raise ApiError(400, f"`action` must be {', '.join(ACTIONS)}, and `text` a text.")
    return await send_command(*await server.find(run), "resolve", task, {"action": action, "text": text})


def waiting_records(live: LiveRun) -> list[Row]:
    return [
        {
            "id": f"{live.run.name}:{row['id']}:{live.ask_seqs.get(row['id'], 0)}",
            "status": "OPEN",
            "run": live.run.name,
            "change": live.report.change,
            "question": row["asks"],
            "actions": ACTIONS,
            "task": row,
        }
        for row in live.task_rows()
        if row["asks"]
    ]


async def list_waiting(server: RunServer) -> list[Row]:
    records = await asyncio.to_thread(server.repositories.records)
    waiting = []
    for record in reversed(records[:MOST_RUNS]):
        if record["state"] != run_status.ENDED or record["exit_code"] == WAITS_FOR_PERSON:
            waiting += waiting_records(await server.open(record["run"]))
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
    again = "waits with another question" if task.state == TaskState.WAITING_HUMAN else f"is {task.state} now"
    raise ApiError(409, f"Task {task.id} {again}.")
