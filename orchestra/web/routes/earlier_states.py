"""A run as it was after one of its events."""

import asyncio
import hashlib
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from orchestra.web.envelope import ApiError, data_response
from orchestra.web.event_pages import read_pages
from orchestra.web.live import LiveRun
from orchestra.web.rows import Row
from orchestra.web.run_fold import fold_until
from orchestra.web.server import RunServer

FOREVER = "private, max-age=31536000, immutable"  # what has happened does not change


def earlier_state_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["runs"])

    @routes.get("/runs/{run}/state", summary="The run and its tasks as they were after the event `at`")
    async def get_state(run: str, request: Request, at: Annotated[int, Query(ge=1)]) -> Response:
        live = await server.open(run)
        at = min(at, live.seq)
        tag = f'"{hashlib.sha256(f"{live.index.root}/{live.run.name}/{at}".encode()).hexdigest()[:20]}"'
        headers = {"ETag": tag, "Cache-Control": FOREVER}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return data_response(await asyncio.to_thread(state_record, live, at), headers=headers)

    return routes


def state_record(live: LiveRun, at: int) -> Row:
    """Fold the events up to the moment. A run that has not ended then counts as running."""
    if not live.seq:
        raise ApiError(404, f"Nothing of run {live.run.name} could be read: {live.store_error or 'it has no events'}.")
    start = live.checkpoints.nearest(live.run.name, at)
    pages = read_pages(live.index, live.run, start.seq, at)
    state = fold_until(start, pages, at, live.checkpoints)
    has_owner = state.report.exit_code is None
    row = state.run_row(has_owner=has_owner) | {
        "problem": "",
        "elsewhere": live.run.elsewhere or None,
        "reading": False,
    }
    return {"time": state.time or None, "run": row, "rows": state.task_rows(), "graph": state.graph()}
