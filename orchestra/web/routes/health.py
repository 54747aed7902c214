"""Whether the server and its stores are well, and its figures."""

import asyncio
import threading
import time
from pathlib import Path

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import PlainTextResponse, Response

from orchestra import __version__
from orchestra.errors import OrchestraError
from orchestra.journal.store import missing_events
from orchestra.web.access import SOCKET_PATHS
from orchestra.web.envelope import ApiError, data_response
from orchestra.web.live import LiveRun
from orchestra.web.rows import Row
from orchestra.web.server import RunServer, read_object


def health_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["server"])

    @routes.get("/health", summary="Whether the stores answer")
    async def health() -> Response:
        database = await asyncio.to_thread(check_stores, server)
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        status = {"status": database["status"], "timestamp": moment, "version": __version__}
        return data_response(
            status | {"checks": {"database": database}}, status=200 if "latencyMs" in database else 503
        )

    return routes


def probe_routes(server: RunServer) -> APIRouter:
    """For what starts and watches servers: without the token, and without details."""
    routes = APIRouter(tags=["server"])

    @routes.get("/health/live", summary="Whether the server answers; without the token, not under /api")
    async def live() -> Response:
        return data_response({"status": "ok"})

    @routes.get("/health/ready", summary="Whether its stores answer too; without the token, not under /api")
    async def ready() -> Response:
        status = (await asyncio.to_thread(check_stores, server))["status"]
        return data_response({"status": status}, status=200 if status == "ok" else 503)

    return routes


def check_stores(server: RunServer) -> Row:
    began = time.monotonic()
    try:
        for index in server.repositories.indexes:
            index.store.list_repositories()
    except OrchestraError as error:
        return {"status": "error", "message": str(error)}
    return {"status": "ok", "latencyMs": round((time.monotonic() - began) * 1000, 1)}


def debug_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["server"])

    @routes.get("/debug/run/{run}", summary="What the server knows of a run: its owner, events, gaps and viewers")
    async def debug_run(run: str) -> Response:
        return data_response(await asyncio.to_thread(run_debug_record, await server.open(run)))

    @routes.get("/debug/stream", summary="Who watches: the viewers of each run, and what they were not sent yet")
    async def debug_stream() -> Response:
        runs = [stream_debug_record(live) for live in server.live.runs.values()]
        process = {"threads": threading.active_count(), "open_files": count_open_files()}
        return data_response({"runs": runs, "polling": server.live.is_polling} | process)

    return routes


def run_debug_record(live: LiveRun) -> Row:
    """Compare what the store, the files and this server have of a run."""
    index, run = live.index, live.run
    owner = index.find_owner(run)
    stored = [event.seq for event in index.store.read_events(run.key, run.name)]
    logged = [event.seq for event in index.read_log(run).events] if index.has_files(run) else []
    return {
        "run": live.ref,
        "repository": str(index.root),
        "owner": None if owner is None else {"host": owner.host, "pid": owner.pid, "expires": owner.expires},
        "leases": sum(lease.run == run.name for lease in index.store.list_leases(run.key)),
        "last_seq": {"server": live.seq, "store": max(stored, default=0), "files": max(logged, default=0)},
        "gaps": missing_events(run.key, run.name, stored) + missing_events("the files", run.name, logged),
        "unreadable": live.report.unreadable,
        "problem": live.store_error,
        **stream_debug_record(live),
    }


def stream_debug_record(live: LiveRun) -> Row:
    waiting = [len(viewer.changed) for viewer in live.viewers]
    return {"run": live.ref, "viewers": len(waiting), "rows_not_sent": sum(waiting), "most": max(waiting, default=0)}


def count_open_files() -> int | None:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else None


def ticket_routes(_: RunServer) -> APIRouter:
    routes = APIRouter(tags=["server"])

    @routes.get("/session", summary="What the token is for: owner, viewer")
    async def get_session(request: Request) -> Response:
        return data_response({"role": request.state.role, "version": __version__})

    @routes.post("/tickets", summary="A ticket for one GET of a path, or one WebSocket, within 30 seconds")
    async def issue_ticket(request: Request) -> Response:
        values = await read_object(request)
        path = values.get("path")
        if not isinstance(path, str) or not path.startswith(("/api/", *SOCKET_PATHS)):
            raise ApiError(400, "`path` must be a path of the API.")
        return data_response({"ticket": request.state.access.issue_ticket(path)}, status=201)

    return routes


def metric_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["server"])

    @routes.get(
        "/metrics", response_class=PlainTextResponse, summary="Figures of all runs and of this server, for Prometheus"
    )
    async def metrics() -> Response:
        return Response(await asyncio.to_thread(server.metrics.render), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return routes
