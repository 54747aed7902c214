"""The API: reads of runs and tasks, commands to them, a stream of changed rows, and the files of the page."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response, StreamingResponse

from orchestra import __version__
from orchestra.cli.commands.diff import text_of_changes
from orchestra.errors import OrchestraError, UsageError
from orchestra.events import event_record
from orchestra.report import run_status
from orchestra.report.detail import build_detail
from orchestra.report.event_lines import describe_event
from orchestra.report.fold import report_from_log
from orchestra.report.page.timeline import lay_out_graph
from orchestra.web.envelope import ApiError, data_response, error_response
from orchestra.web.live import LiveRun, LiveRuns, stream_frames
from orchestra.web.repositories import FoundRun, Repositories
from orchestra.web.steering import RUN_COMMANDS, TASK_COMMANDS, send_command

STATIC = Path(__file__).with_name("static")
MOST_RUNS, MOST_EVENTS = 100, 1_000
LARGEST_BODY = 1 << 20
# A report holds texts of models: it is a document without this page's origin.
SANDBOX = "sandbox allow-scripts; default-src 'unsafe-inline' data:"
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class RunServer:
    """What the routes share."""

    def __init__(self, repositories: Repositories) -> None:
        self.repositories = repositories
        self.live = LiveRuns()

    async def find(self, name: str) -> FoundRun:
        return await asyncio.to_thread(self.repositories.find, name)

    async def open(self, name: str) -> LiveRun:
        return await self.live.open(*await self.find(name))


async def read_object(request: Request) -> dict[str, Any]:
    """Read the body, which must be a JSON object."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ApiError(415, "The body must be application/json.")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise ApiError(413, f"The body must be at most {LARGEST_BODY} bytes.")
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise ApiError(400, "The body is not JSON.") from None
    if not isinstance(found, dict):
        raise ApiError(400, "The body must be a JSON object.")
    return found


def run_routes(server: RunServer) -> APIRouter:
    routes = APIRouter()

    @routes.get("/runs", summary="List all runs, the latest first")
    async def list_runs(
        limit: Annotated[int, Query(ge=1, le=MOST_RUNS)] = 20,
        offset: Annotated[int, Query(ge=0)] = 0,
        state: str = "",
        q: str = "",
    ) -> Response:
        records = await asyncio.to_thread(server.repositories.records)
        chosen = [
            record
            for record in records
            if state in ("", record["state"]) and q.lower() in f"{record['run']} {record['change']}".lower()
        ]
        page = {"limit": limit, "offset": offset, "total": len(chosen)}
        return data_response(chosen[offset : offset + limit], page)

    @routes.get("/runs/{run}", summary="One run with its tasks, as `status --json` has it")
    async def get_run(run: str, request: Request) -> Response:
        live = await server.open(run)
        tag = f'"{live.seq}-{live.has_owner:d}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        owner = await asyncio.to_thread(live.index.find_owner, live.run)
        folder = live.index.logs.relative_to(live.index.root)
        logs = {task: str(folder / f"agent{task}_{live.run.name}.jsonl") for task in live.report.tasks}
        record = run_status.status_record(live.report, logs, {"pid": owner.pid} if owner else None)
        needs = {task.id: list(task.needs) for task in live.report.tasks.values()}
        graph = lay_out_graph(needs)
        data = {"run": live.run_row(), "rows": live.task_rows(), "status": record}
        response = data_response(data | {"graph": graph._asdict() if graph else None})
        response.headers["ETag"] = tag
        return response

    @routes.get("/runs/{run}/tasks/{task}", summary="One task: brief, attempts, diffs and conversations")
    async def get_task(run: str, task: int) -> Response:
        index, known = await server.find(run)

        def read_task() -> dict[str, Any]:
            log = index.read_log(known)
            report, detail = report_from_log(log), build_detail(log.events)
            if task not in report.tasks:
                raise ApiError(404, f"Run {known.name} has no task {task}.")
            attempts = detail.all_attempts(task)
            changes = {attempt.number: text_of_changes(index, known, attempt) for attempt in attempts}
            record = report.tasks[task]
            return run_status.task_record(report, record, record.brief, attempts, changes)

        return data_response(await asyncio.to_thread(read_task))

    @routes.get("/runs/{run}/events", summary="The events of a run, in words and as they are stored")
    async def get_events(
        run: str,
        after: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_EVENTS)] = 200,
        task: int | None = None,
    ) -> Response:
        index, known = await server.find(run)
        log = await asyncio.to_thread(index.read_log, known)
        chosen = [event for event in log.events if event.seq > after and task in (None, event.task)]
        records = [event_record(event) | {"words": describe_event(event)} for event in chosen[:limit]]
        return data_response(records, {"limit": limit, "total": len(chosen), "last": log.events[-1].seq})

    @routes.get("/runs/{run}/report", summary="The HTML report, in a document of its own")
    async def get_report(run: str) -> Response:
        index, known = await server.find(run)
        path = index.logs / f"report_{known.name}.html"
        if not path.is_file():
            raise ApiError(404, f"Run {known.name} has no report yet: it is written when the run ends.")
        return FileResponse(
            path, headers={"Content-Security-Policy": "sandbox allow-scripts; default-src 'unsafe-inline' data:"}
        )

    @routes.get("/runs/{run}/stream", summary="Changed rows as server-sent events")
    async def stream(run: str, request: Request, after: Annotated[int, Query(ge=0)] = 0) -> Response:
        live = await server.open(run)
        last = request.headers.get("last-event-id", "")
        start = int(last) if last.isdigit() else after
        return StreamingResponse(stream_frames(server.live, live, start), 200, STREAM_HEADERS, "text/event-stream")

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


def server_routes(server: RunServer) -> APIRouter:
    routes = APIRouter()

    @routes.get("/health", summary="Whether the stores answer")
    async def health() -> Response:
        began = time.monotonic()
        try:
            await asyncio.to_thread(lambda: [index.store.list_repositories() for index in server.repositories.indexes])
            database: dict[str, Any] = {"status": "ok", "latencyMs": round((time.monotonic() - began) * 1000, 1)}
        except OrchestraError as error:
            database = {"status": "error", "message": str(error)}
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        status = {"status": database["status"], "timestamp": moment, "version": __version__}
        return data_response(
            status | {"checks": {"database": database}}, status=200 if "latencyMs" in database else 503
        )

    @routes.get("/interrupts", summary="The tasks of all runs that wait for a person, the oldest run first")
    async def interrupts() -> Response:
        records = await asyncio.to_thread(server.repositories.records)
        waiting = []
        for record in reversed(records[:MOST_RUNS]):
            if record["state"] != run_status.ENDED or record["exit_code"] == 5:
                live = await server.open(record["run"])
                waiting += [
                    {"run": live.run.name, "change": live.report.change, "question": row["asks"], "task": row}
                    for row in live.task_rows()
                    if row["asks"]
                ]
        return data_response(waiting)

    return routes


def build_app(repositories: Repositories) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        repositories.close()

    app = FastAPI(
        title="Aider Orchestrator",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        lifespan=lifespan,
    )
    server = RunServer(repositories)
    for prefix in ("/api/v1", "/api"):
        for routes in (server_routes(server), run_routes(server)):
            app.include_router(routes, prefix=prefix, include_in_schema=prefix == "/api/v1")

    @app.get("/health/live", include_in_schema=False)
    async def live() -> Response:
        return data_response({"status": "ok"})

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        path = STATIC / name
        if path.parent != STATIC or not path.is_file():
            raise ApiError(404, "There is no such file.")
        return FileResponse(path, headers={"Cache-Control": "no-cache"})

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    add_error_handlers(app)
    return app


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error in the envelope."""

    async def answer(request: Request, error: Exception) -> Response:
        return error_response(as_api_error(error), request.state.request_id, request.headers.get("accept", ""))

    for kind in (ApiError, HTTPException, RequestValidationError, OrchestraError, Exception):
        app.add_exception_handler(kind, answer)


def as_api_error(error: Exception) -> ApiError:
    match error:
        case ApiError():
            return error
        case RequestValidationError():
            first = error.errors()[0]
            return ApiError(422, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}.", details=error.errors())
        case HTTPException():
            return ApiError(error.status_code, f"{error.detail}.")
        case UsageError():
            return ApiError(400, str(error))
        case OrchestraError():
            return ApiError(503, str(error))
        case _:
            return ApiError(500, "This is a bug; the server's terminal has the details.")
