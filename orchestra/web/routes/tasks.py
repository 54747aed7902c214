"""One task of a run, and the commands to runs and tasks."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from orchestra.cli.commands.diff import text_of_changes
from orchestra.report import run_status
from orchestra.report.detail import build_detail
from orchestra.report.fold import report_from_log
from orchestra.web.envelope import ApiError, data_response
from orchestra.web.repositories import FoundRun
from orchestra.web.server import RunServer, read_object
from orchestra.web.steering import RUN_COMMANDS, TASK_COMMANDS, send_command


def task_routes(server: RunServer) -> APIRouter:
    routes = APIRouter()

    @routes.get("/runs/{run}/tasks/{task}", summary="One task: brief, attempts, diffs and conversations")
    async def get_task(run: str, task: int) -> Response:
        return data_response(await asyncio.to_thread(read_task, await server.find(run), task))

    return routes


def command_routes(server: RunServer) -> APIRouter:
    routes = APIRouter()

    @routes.post("/runs/{run}/{command}", summary="pause, unpause, cancel, budget, add")
    async def steer_run(run: str, command: str, request: Request) -> Response:
        if command not in RUN_COMMANDS:
            raise ApiError(404, f"There is no {command}: {', '.join(RUN_COMMANDS)}.")
        values = await read_object(request)
        return data_response(await send_command(*await server.find(run), command, None, values))

    @routes.post("/runs/{run}/tasks/{task}/{command}", summary="interrupt, cancel, retry, resolve, edit, abandon")
    async def steer_task(run: str, task: int, command: str, request: Request) -> Response:
        if command not in TASK_COMMANDS:
            raise ApiError(404, f"There is no {command}: {', '.join(TASK_COMMANDS)}.")
        values = await read_object(request)
        return data_response(await send_command(*await server.find(run), command, task, values))

    return routes


def read_task(found: FoundRun, task: int) -> dict[str, Any]:
    index, known = found
    log = index.read_log(known)
    report, detail = report_from_log(log), build_detail(log.events)
    if task not in report.tasks:
        raise ApiError(404, f"Run {known.name} has no task {task}.")
    attempts = detail.all_attempts(task)
    changes = {attempt.number: text_of_changes(index, known, attempt) for attempt in attempts}
    record = report.tasks[task]
    return run_status.task_record(report, record, record.brief, attempts, changes)
