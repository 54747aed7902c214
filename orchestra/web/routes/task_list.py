"""Tasks over all runs: those that were submitted (`s:NAME`), and those of runs (`RUN:N`)."""

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from orchestra.cli.find import RunIndex
from orchestra.web.envelope import ApiError, data_response, require_match
from orchestra.web.routes.launches import launch
from orchestra.web.routes.runs import MOST_RUNS
from orchestra.web.routes.tasks import abandon_task_of, change_task_of
from orchestra.web.rows import Row
from orchestra.web.server import RunServer, read_object
from orchestra.web.task_list import (
    SUBMITTED_MARK,
    change_submitted,
    read_task_fields,
    remove_submitted,
    run_task_rows,
    submit_task,
    submitted_rows,
)

CANCELLED = ("CANCELLED", "CANCELED", "ABANDONED")
RUN_FIELDS = {"title": "title", "description": "brief", "filesHint": "files", "priority": "priority"}


def task_list_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["task list"])
    lock = threading.Lock()  # a change reads and writes the list's file

    async def change_list(work: Callable[..., Row], *given: Any) -> Row:
        def locked() -> Row:
            with lock:
                return work(*given)

        return await asyncio.to_thread(locked)

    @routes.get("/tasks", summary="The submitted tasks; with scope=runs the tasks of all runs, with scope=all both")
    async def list_tasks(
        limit: Annotated[int, Query(ge=1, le=MOST_RUNS)] = 50,
        offset: Annotated[int, Query(ge=0)] = 0,
        scope: Annotated[str, Query(pattern="^(submitted|runs|all)$")] = "submitted",
        status: str = "",
    ) -> Response:
        rows = await asyncio.to_thread(read_task_rows, server, scope)
        rows = [row for row in rows if status.upper() in ("", row["status"])]
        return data_response(rows[offset : offset + limit], {"limit": limit, "offset": offset, "total": len(rows)})

    @routes.post("/tasks", summary="Submit a task for the next run", status_code=201)
    async def create_task(request: Request) -> Response:
        """Body: `title`, `description`, `priority` (1 to 5), `riskLevel` (LOW, MEDIUM, HIGH), `filesHint` (files and
        folders), `agent` (a role), and `repository` if the server has several. Without `filesHint` a model chooses the
        files: the answer is then a launch (202)."""
        values = await read_object(request)
        index = server.repositories.find_index(str(values.pop("repository", "")))
        fields = read_task_fields(values)
        if fields.get("files"):
            return task_response(await change_list(submit_task, index, fields), 201)
        text = "\n\n".join(filter(None, (fields.get("title"), fields.get("brief"))))
        if not text.strip():
            raise ApiError(400, "Give a `title`.")
        words = [
            f"--{name}={fields[own]}" for name, own in (("agent", "role"), ("priority", "priority")) if own in fields
        ]
        return await launch(server, request, index, ["submit", *words, "-"], text=text)

    @routes.get("/tasks/{id}", summary="One task, `s:NAME` or `RUN:N`")
    async def get_task(id: str) -> Response:
        return task_response(await read_task_row(server, id))

    @routes.patch("/tasks/{id}", summary="Change a task that has not begun, or cancel it")
    async def patch_task(id: str, request: Request) -> Response:
        """Body: what POST has, without `repository`, or `status` `CANCELLED`; the other states follow the work. With
        the header `If-Match`, only what was not changed since."""
        values = await read_object(request)
        if "if-match" in request.headers:
            require_match(request, row_tag(await read_task_row(server, id)))
        status = values.pop("status", None)
        if status is not None and str(status).upper() not in CANCELLED:
            raise ApiError(400, f"`status` can only become {CANCELLED[0]}: the other states follow the work.")
        if status is not None:
            return data_response(await remove_task(id, request))
        mark, _, name = id.rpartition(":")
        if mark == SUBMITTED_MARK:
            index = await asyncio.to_thread(find_submitted, server, id)
            return task_response(await change_list(change_submitted, index, name, read_task_fields(values)))
        fields = read_task_fields(values)
        changes = {RUN_FIELDS[key]: fields[RUN_FIELDS[key]] for key in RUN_FIELDS if RUN_FIELDS[key] in fields}
        changes |= {"files": list(changes["files"])} if "files" in changes else {}
        return data_response(await change_task_of(server, request, mark, task_number(name), changes))

    @routes.delete("/tasks/{id}", summary="Remove a submitted task, or abandon one of a run")
    async def delete_task(id: str, request: Request) -> Response:
        return data_response(await remove_task(id, request))

    async def remove_task(id: str, request: Request) -> Row:
        mark, _, name = id.rpartition(":")
        if mark != SUBMITTED_MARK:
            return await abandon_task_of(server, request, mark, task_number(name), dry_run=False)
        index = await asyncio.to_thread(find_submitted, server, id)
        return await change_list(remove_submitted, index, name)

    return routes


def read_task_rows(server: RunServer, scope: str) -> list[Row]:
    rows = [row for index in server.repositories.indexes for row in submitted_rows(index)] if scope != "runs" else []
    if scope != "submitted":
        for report, _, ref in server.metrics.read_named_reports():
            rows += run_task_rows(report, ref)
    return rows


async def read_task_row(server: RunServer, id: str) -> Row:
    mark, _, name = id.rpartition(":")
    if mark == SUBMITTED_MARK:
        index = await asyncio.to_thread(find_submitted, server, id)
        rows = await asyncio.to_thread(submitted_rows, index)
    else:
        live = await server.open(mark)
        rows = run_task_rows(live.report, live.ref)
        id = f"{live.ref}:{task_number(name)}"
    found = next((row for row in rows if row["id"] == id), None)
    if found is None:
        raise ApiError(404, f"There is no task {id!r}.")
    return found


def find_submitted(server: RunServer, id: str) -> RunIndex:
    """Return the repository whose list has this task."""
    indexes = [index for index in server.repositories.indexes if id in {row["id"] for row in submitted_rows(index)}]
    if not indexes:
        raise ApiError(404, f"There is no task {id!r}.")
    if len(indexes) > 1:
        raise ApiError(409, f"Several repositories have a task {id}.", "AMBIGUOUS_TASK")
    return indexes[0]


def task_number(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) < 10):
        raise ApiError(404, "The id of a task is `s:NAME` or `RUN:NUMBER`.")
    return int(word)


def row_tag(row: Row) -> str:
    return f'"{hashlib.sha256(json.dumps(row, default=str).encode()).hexdigest()[:20]}"'


def task_response(row: Row, status: int = 200) -> Response:
    return data_response(row, None, status, {"ETag": row_tag(row)})
