"""Whether the server and its stores are well, and its figures."""

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import Response

from orchestra import __version__
from orchestra.errors import OrchestraError
from orchestra.web.access import SOCKET_PATHS
from orchestra.web.envelope import ApiError, data_response
from orchestra.web.server import RunServer, read_object


def health_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["server"])

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

    return routes


def ticket_routes(_: RunServer) -> APIRouter:
    routes = APIRouter(tags=["server"])

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

    @routes.get("/metrics", summary="Figures of all runs and of this server, for Prometheus")
    async def metrics() -> Response:
        return Response(await asyncio.to_thread(server.metrics.render), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return routes
