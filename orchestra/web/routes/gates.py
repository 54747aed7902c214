"""The gates of a run, and what they print."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from orchestra.web.envelope import ApiError, data_response
from orchestra.web.gate_runs import find_output, follow_output, hide_keys, parse_range, read_part, read_tail
from orchestra.web.live import LiveRun
from orchestra.web.routes.runs import STREAM_HEADERS
from orchestra.web.rows import Row
from orchestra.web.server import RunServer

MOST_GATES = 1_000
TEXT = "text/plain; charset=utf-8"


def gate_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["runs"])

    @routes.get("/runs/{run}/gates", summary="The gates of a run, the first one first, also those at work")
    async def list_gates(run: str, limit: Annotated[int, Query(ge=1, le=MOST_GATES)] = MOST_GATES) -> Response:
        """The last `limit` of them."""
        live = await server.open(run)
        rows = list(live.gates.rows.values())
        return data_response(rows[-limit:], {"limit": limit, "total": len(rows)})

    @routes.get(
        "/runs/{run}/gates/{gate}/output",
        response_class=PlainTextResponse,
        summary="What a gate has printed, also while it runs",
    )
    async def get_output(
        run: str, gate: int, request: Request, follow: bool = False, after: Annotated[int, Query(ge=0)] = 0
    ) -> Response:
        """The last 64 KB; a part with the header `Range`; with `follow`, server-sent events `output` from the byte
        `after` on, until `end`."""
        live = await server.open(run)
        row = find_gate(live, gate)
        path = find_output(live.index, live.run, row)
        if follow:
            return StreamingResponse(follow_gate(server, live, gate, after), 200, STREAM_HEADERS, "text/event-stream")
        size = path.stat().st_size
        headers = {"Accept-Ranges": "bytes", "X-Output-State": row["state"]}
        if wanted := request.headers.get("range", ""):
            start, end = parse_range(wanted, size)
            part = await asyncio.to_thread(read_part, path, start, end)
            headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{size}"
            return Response(hide_keys(part), 206, headers, TEXT)
        start, tail = await asyncio.to_thread(read_tail, path)
        return Response(hide_keys(tail), 200, headers | {"X-Output-Start": str(start)}, TEXT)

    return routes


async def follow_gate(server: RunServer, live: LiveRun, gate: int, after: int) -> AsyncIterator[bytes]:
    """Follow the output while the run is watched, because its events tell when the gate has ended."""
    async with server.live.watch(live):
        row = find_gate(live, gate)
        async for frame in follow_output(find_output(live.index, live.run, row), row, after):
            yield frame


def find_gate(live: LiveRun, gate: int) -> Row:
    if gate not in live.gates.rows:
        raise ApiError(404, f"Run {live.run.name} has no gate {gate}.")
    return live.gates.rows[gate]
