"""One task of a run, and the commands to runs and tasks."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from orchestra.cli.commands.diff import diff_of_task, text_of_changes
from orchestra.model import TaskState
from orchestra.report import run_status
from orchestra.report.detail import Attempt, build_detail
from orchestra.report.fold import report_from_log
from orchestra.web.envelope import ApiError, data_response, require_match
from orchestra.web.launch import read_decision
from orchestra.web.repositories import FoundRun
from orchestra.web.routes.launches import resolve_task
from orchestra.web.routes.runs import PatchResponse, patch_response
from orchestra.web.rows import Row
from orchestra.web.server import RunServer, read_object
from orchestra.web.steering import RUN_COMMANDS, TASK_COMMANDS, send_command, source_of

PAGE_BYTES = 200_000
# What can be changed, and what the run's owner calls it.
CHANGE_NAMES = {name: name for name in ("title", "brief", "priority", "files", "link", "unlink")}
CHANGE_NAMES |= {"add_dependency": "link", "remove_dependency": "unlink"}


def task_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["tasks"])

    @routes.get("/runs/{run}/tasks/{task}", summary="One task: brief, attempts, diffs and conversations")
    async def get_task(run: str, task: int) -> Response:
        return data_response(await asyncio.to_thread(read_task, await server.find(run), task))

    @routes.get(
        "/runs/{run}/tasks/{task}/diff",
        response_class=PatchResponse,
        summary="What the task changed, as a patch; with `file` of one file",
    )
    async def get_task_diff(run: str, task: int, file: str = "") -> Response:
        return await patch_response(file, diff_of_task, *await server.find(run), task)

    @routes.get("/runs/{run}/tasks/{task}/attempts", summary="The attempts at a task, without their texts")
    async def get_attempts(run: str, task: int) -> Response:
        attempts = await asyncio.to_thread(read_attempts, await server.find(run), task)
        left_out = ("diff", "conversation")
        records = [run_status.attempt_record(attempt, "") | {"ended": attempt.ended} for attempt in attempts]
        return data_response([{name: each[name] for name in each if name not in left_out} for each in records])

    for path, words in (("conversation", "What was said in an attempt, by default the last"), ("memories", "The same")):

        @routes.get(f"/runs/{{run}}/tasks/{{task}}/{path}", summary=words, operation_id=f"get_{path}")
        async def get_conversation(
            run: str, task: int, attempt: int = 0, after: Annotated[int, Query(ge=0)] = 0
        ) -> Response:
            """A page has the turns from `after` on, up to 200 KB of them; `page.next` is the `after` of the next."""
            attempts = await asyncio.to_thread(read_attempts, await server.find(run), task)
            return data_response(*conversation_page(attempts, attempt, after))

    @routes.patch("/runs/{run}/tasks/{task}", summary="Change a task that has not begun")
    async def change_task(run: str, task: int, request: Request) -> Response:
        """Body: `title`, `brief`, `priority`, `files`, `add_dependency` and `remove_dependency` (numbers of tasks).
        With the header `If-Match` (the task's `seq` in quotes), only if the task was not changed since."""
        values = read_changes(await read_object(request))
        if "if-match" in request.headers:
            live = await server.open(run)
            require_match(request, f'"{live.task_seqs.get(task, 0)}"')
        return data_response(await change_task_of(server, request, run, task, values))

    @routes.delete("/runs/{run}/tasks/{task}", summary="Abandon a task; `dry_run` only lists what needs it")
    async def abandon_task(run: str, task: int, request: Request, dry_run: bool = False) -> Response:
        return data_response(await abandon_task_of(server, request, run, task, dry_run=dry_run))

    return routes


async def change_task_of(server: RunServer, request: Request, run: str, task: int, changes: Row) -> Row:
    return await send_command(*await server.find(run), source_of(request), "edit", task, changes)


async def abandon_task_of(server: RunServer, request: Request, run: str, task: int, *, dry_run: bool) -> Row:
    live = await server.open(run)
    if task not in live.report.tasks:
        raise ApiError(404, f"Run {live.run.name} has no task {task}.")
    needed_by = [each.id for each in live.report.tasks.values() if task in each.needs]
    if dry_run:
        return {"run": live.run.name, "task": task, "needed_by": needed_by}
    decided = live.report.tasks[task].state in (TaskState.FAILED, TaskState.WAITING_HUMAN)
    command, values = ("resolve", {"action": "abandon"}) if decided else ("abandon", {})
    sent = send_command(live.index, live.run, source_of(request), command, task, values)
    return await sent | {"needed_by": needed_by}


def read_changes(values: Row) -> Row:
    """Return what `edit` understands of a change. The words of other orchestrators are known too."""
    changes = {}
    for name, value in values.items():
        if name not in CHANGE_NAMES:
            raise ApiError(400, f"`{name}` cannot be changed: {', '.join(CHANGE_NAMES)}.")
        is_link = name.endswith("_dependency")
        changes[CHANGE_NAMES[name]] = [value] if is_link and not isinstance(value, list) else value
    return changes


def command_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["commands"])

    @routes.post("/runs/{run}/{command}", summary="pause, unpause, cancel, budget, add, replan")
    async def steer_run(run: str, command: str, request: Request) -> Response:
        """Body: `dollars` for budget; `brief`, `files`, `title`, `role`, `priority`, `link` for add; else `{}`."""
        if command not in RUN_COMMANDS:
            raise ApiError(404, f"There is no {command}: {', '.join(RUN_COMMANDS)}.")
        values = await read_object(request)
        return data_response(await send_command(*await server.find(run), source_of(request), command, None, values))

    @routes.post("/runs/{run}/tasks/{task}/{command}", summary="interrupt, cancel, retry, resolve, edit, abandon")
    async def steer_task(run: str, task: int, command: str, request: Request, resume: bool = False) -> Response:
        """Body: `action` and `text` for resolve; what PATCH has for edit, with `link` and `unlink`; else `{}`. With
        `resume`, a run that no process works on is resumed for a decision (202). A decision with the `question` of the
        task's row is refused (409) if that was answered meanwhile."""
        if command not in TASK_COMMANDS:
            raise ApiError(404, f"There is no {command}: {', '.join(TASK_COMMANDS)}.")
        values, found = await read_object(request), await server.find(run)
        if command == "resolve":
            return await resolve_task(server, request, found, read_decision(task, values), resume=resume)
        return data_response(await send_command(*found, source_of(request), command, task, values))

    return routes


def read_attempts(found: FoundRun, task: int) -> list[Attempt]:
    index, known = found
    log = index.read_task_log(known, task)
    if not log:
        raise ApiError(404, f"Run {known.name} has no task {task}, or nothing has happened to it.")
    return build_detail(log).all_attempts(task)


def conversation_page(attempts: Sequence[Attempt], number: int, after: int) -> tuple[Row, Row]:
    chosen = [each for each in attempts if number in (0, each.number)]
    if number and not chosen:
        raise ApiError(404, f"There is no attempt {number}.")
    turns = [asdict(turn) for turn in (chosen[-1].turns if chosen else ())]
    page, size = list[Row](), 0
    for turn in turns[after:]:
        size += len(json.dumps(turn))
        if page and size > PAGE_BYTES:
            break
        page.append(turn)
    following = after + len(page)
    data = {"attempt": chosen[-1].number if chosen else None, "whole": bool(chosen) and chosen[-1].whole, "turns": page}
    return data, {"total": len(turns), "next": following if following < len(turns) else None}


def read_task(found: FoundRun, task: int) -> Row:
    index, known = found
    log = index.read_log(known)
    report, detail = report_from_log(log), build_detail(log.events)
    if task not in report.tasks:
        raise ApiError(404, f"Run {known.name} has no task {task}.")
    attempts = detail.all_attempts(task)
    changes = {attempt.number: text_of_changes(index, known, attempt) for attempt in attempts}
    record = report.tasks[task]
    return run_status.task_record(report, record, record.brief, attempts, changes)
