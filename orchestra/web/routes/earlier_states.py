"""A run as it was after one of its events."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from orchestra.events import Event
from orchestra.web.envelope import data_response
from orchestra.web.live import LiveRun
from orchestra.web.repositories import FoundRun
from orchestra.web.routes.runs import graph_record
from orchestra.web.rows import Row
from orchestra.web.server import RunServer


class PastEvents:
    """The events of the run that was looked at last, because a slider asks for many moments of one run."""

    def __init__(self) -> None:
        # One value, because requests in several threads read and replace it.
        self.cached: tuple[tuple[str, str], Sequence[Event]] = (("", ""), ())

    def read(self, found: FoundRun, at: int) -> Sequence[Event]:
        """Return the events, read again if the moment is later than the last known one. Called in a thread."""
        index, run = found
        key = (str(index.root), run.name)
        known, events = self.cached
        if key != known or not events or events[-1].seq < at:
            events = index.read_log(run).events
            self.cached = (key, events)
        return events


def earlier_state_routes(server: RunServer) -> APIRouter:
    routes = APIRouter(tags=["runs"])
    past = PastEvents()

    @routes.get("/runs/{run}/state", summary="The run and its tasks as they were after the event `at`")
    async def get_state(run: str, at: Annotated[int, Query(ge=1)]) -> Response:
        found = await server.find(run)
        return data_response(await asyncio.to_thread(lambda: state_record(found, past.read(found, at), at)))

    return routes


def state_record(found: FoundRun, events: Sequence[Event], at: int) -> Row:
    """Fold the events up to the moment. A run that has not ended then counts as running."""
    live = LiveRun(*found)
    before = [event for event in events if event.seq <= at]
    live.apply(before, has_owner=False)
    live.has_owner = live.report.exit_code is None
    time = before[-1].time if before else None
    return {"time": time, "run": live.run_row(), "rows": live.task_rows(), "graph": graph_record(live)}
