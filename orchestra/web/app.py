"""The application: the API's routes, the files of the page, and errors in the envelope."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from orchestra import __version__
from orchestra.errors import OrchestraError, StoreError, UsageError
from orchestra.web.envelope import CODES, ApiError, error_response
from orchestra.web.repositories import Repositories
from orchestra.web.routes.agents import agent_routes
from orchestra.web.routes.earlier_states import earlier_state_routes
from orchestra.web.routes.gates import gate_routes
from orchestra.web.routes.health import debug_routes, health_routes, metric_routes, probe_routes, ticket_routes
from orchestra.web.routes.launches import launch_routes
from orchestra.web.routes.locks import lock_routes
from orchestra.web.routes.people import people_routes
from orchestra.web.routes.plans import plan_routes
from orchestra.web.routes.runs import list_routes, part_routes
from orchestra.web.routes.settings import settings_routes
from orchestra.web.routes.sockets import socket_routes
from orchestra.web.routes.task_list import task_list_routes
from orchestra.web.routes.tasks import command_routes, task_routes
from orchestra.web.server import RunServer

THREADS = 16
STATIC = Path(__file__).with_name("static")
# Commands last: their paths match what no route before them does.
ROUTES = (
    *(list_routes, part_routes, task_routes, people_routes, agent_routes, lock_routes, settings_routes, health_routes),
    *(
        debug_routes,
        earlier_state_routes,
        gate_routes,
        plan_routes,
        task_list_routes,
        ticket_routes,
        launch_routes,
        command_routes,
    ),
)


# What any route may answer besides its own status: an error in the envelope, or a part.
OTHER_STATUSES = {200: "Done", 201: "Made", 202: "Started; the launch tells more", 206: "A part", 304: "Not changed"}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": words} for status, words in sorted((OTHER_STATUSES | CODES).items())
}


def build_app(repositories: Repositories, *, allow_commands: bool = False) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Reading must not wait for reading: by default there are four threads more than processors.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "reading"))
        yield
        repositories.close()

    app = FastAPI(
        title="Aider Orchestrator",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        openapi_url="/api/v1/openapi.json",
        lifespan=lifespan,
    )
    server = RunServer(repositories, allow_commands=allow_commands)
    app.state.metrics = server.metrics
    for prefix in ("/api/v1", "/api"):
        for make_routes in ROUTES:
            in_schema = prefix == "/api/v1"
            app.include_router(make_routes(server), prefix=prefix, include_in_schema=in_schema, responses=RESPONSES)
    for prefix in ("", "/api", "/api/v1"):
        app.include_router(socket_routes(server), prefix=prefix)
    app.include_router(metric_routes(server))
    app.include_router(probe_routes(server))

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
        case StoreError():
            return ApiError(503, str(error))
        case UsageError():
            return ApiError(400, str(error))
        case OrchestraError():
            return ApiError(503, str(error))
        case _:
            return ApiError(500, "This is a bug; the server's terminal has the details.")
