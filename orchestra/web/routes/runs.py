"""Runs: the list, one run, its events, its changes and its stream."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, Response, StreamingResponse

from orchestra.cli.commands.diff import diff_of_run
from orchestra.errors import UsageError
from orchestra.events import event_record
from orchestra.report import run_status
from orchestra.report.event_lines import describe_event
from orchestra.report.page.graph_layout import lay_out_graph
from orchestra.web.envelope import ApiError, data_response
from orchestra.web.live import LiveRun, stream_frames
from orchestra.web.server import RunServer

MOST_RUNS, MOST_EVENTS = 100, 1_000
# A report holds texts of models: it is a document without this page's origin.
SANDBOX = "sandbox allow-scripts; default-src 'unsafe-inline' data:"
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def list_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["runs"])

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
        data = {"run": live.run_row(), "rows": live.task_rows(), "status": record, "graph": graph_record(live)}
        response = data_response(data)
        response.headers["ETag"] = tag
        return response

    return routes


def part_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["runs"])

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

    @routes.get("/runs/{run}/graph", summary="The tasks and what they need, with a layout")
    async def get_graph(run: str) -> Response:
        live = await server.open(run)
        nodes = [{"id": task.id, "title": task.title, "state": task.state} for task in live.report.tasks.values()]
        edges = [{"from": need, "to": task.id} for task in live.report.tasks.values() for need in task.needs]
        return data_response({"nodes": nodes, "edges": edges, "layout": graph_record(live)})

    @routes.get("/runs/{run}/diff", summary="What the run changed, as a patch")
    async def get_diff(run: str) -> Response:
        return await patch_response(diff_of_run, *await server.find(run))

    @routes.get("/runs/{run}/report", summary="The HTML report, in a document of its own")
    async def get_report(run: str) -> Response:
        index, known = await server.find(run)
        path = index.logs / f"report_{known.name}.html"
        if not path.is_file():
            raise ApiError(404, f"Run {known.name} has no report yet: it is written when the run ends.")
        return FileResponse(path, headers={"Content-Security-Policy": SANDBOX})

    @routes.get("/runs/{run}/stream", summary="Changed rows as server-sent events")
    async def stream(run: str, request: Request, after: Annotated[int, Query(ge=0)] = 0) -> Response:
        live = await server.open(run)
        last = request.headers.get("last-event-id", "")
        start = int(last) if last.isdigit() else after
        return StreamingResponse(stream_frames(server.live, live, start), 200, STREAM_HEADERS, "text/event-stream")

    return routes


async def patch_response(read_patch: Callable[..., bytes], *given: Any) -> Response:
    try:
        return Response(await asyncio.to_thread(read_patch, *given), media_type="text/x-diff")
    except UsageError as error:
        raise ApiError(404, str(error)) from None


def graph_record(live: LiveRun) -> dict[str, Any] | None:
    tasks = live.report.tasks
    graph = lay_out_graph({task.id: [need for need in task.needs if need in tasks] for task in tasks.values()})
    return graph._asdict() if graph else None
