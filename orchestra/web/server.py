"""What the routes share: the repositories, the runs that are watched, the figures, and how a body is read."""

import asyncio
import contextlib
import json
from functools import partial
from typing import Any

from fastapi import Request

from orchestra.cli.find import KnownRun, RunIndex
from orchestra.errors import StoreError
from orchestra.report.run_status import RUNNING
from orchestra.web.envelope import ApiError
from orchestra.web.launch import Launcher
from orchestra.web.live import LiveRun, LiveRuns
from orchestra.web.metrics import Metrics
from orchestra.web.repositories import FoundRun, Repositories
from orchestra.web.rows import Row, progress_record
from orchestra.web.run_list import RunList

LARGEST_BODY = 1 << 20
MOST_WITH_PROGRESS = 20  # runs at work; the list shows no more of others


class RunServer:
    """What the routes share."""

    def __init__(self, repositories: Repositories, *, allow_commands: bool = False) -> None:
        self.repositories = repositories
        self.launcher = Launcher(repositories.store, allow_commands)
        self.metrics = Metrics(repositories)
        self.live = LiveRuns(self.metrics.observe_stream)
        self.run_list = RunList(repositories, self.add_progress)
        for kind in ("sse", "websocket"):
            self.metrics.viewers.labels(kind).set_function(partial(self.live.count_viewers, kind))

    async def find(self, name: str) -> FoundRun:
        return await asyncio.to_thread(self.repositories.find, name)

    async def open(self, name: str) -> LiveRun:
        return await self.open_found(*await self.find(name))

    async def add_progress(self, records: list[Row]) -> list[Row]:
        """Add to runs at work how far they are, from their events: the list has only first and last ones."""
        working = [record for record in records if record["state"] == RUNNING]
        found: dict[str, Row] = {}
        for record in working[:MOST_WITH_PROGRESS]:
            with contextlib.suppress(ApiError, StoreError):  # it may have been deleted just now
                found[record["ref"]] = progress_record((await self.open(record["ref"])).report)
        return [record | {"progress": found.get(record["ref"])} for record in records]

    async def open_found(self, index: RunIndex, run: KnownRun) -> LiveRun:
        live = self.live.get(index, run)
        live.ref = self.repositories.ref(live.index, live.run)
        await live.refresh()
        if not live.seq and live.store_error:
            raise ApiError(503, live.store_error)
        return live


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
