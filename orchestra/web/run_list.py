"""The list of all runs for those who watch it: read once a second while somebody does, and sent when it has changed."""

import asyncio
import json
from collections.abc import Awaitable, Callable

from orchestra.errors import OrchestraError
from orchestra.web.repositories import Repositories
from orchestra.web.rows import Row

LIST_SECONDS = 1.0
MOST_LISTED = 100


class RunList:
    """`body`: the message with the latest runs. `wakers`: called when it has changed."""

    def __init__(self, repositories: Repositories, add_progress: Callable[[list[Row]], Awaitable[list[Row]]]) -> None:
        self.repositories, self.add_progress = repositories, add_progress
        self.body = ""
        self.wakers: set[Callable[[], None]] = set()
        self.poller: asyncio.Task[None] | None = None

    async def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever the list has changed, until it is removed from the wakers."""
        self.wakers.add(wake)
        await self.refresh()
        if self.poller is None or self.poller.done():
            self.poller = asyncio.create_task(self.poll())

    async def poll(self) -> None:
        while self.wakers:
            await asyncio.sleep(LIST_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        runs = await asyncio.to_thread(self.read_runs)
        body = "" if runs is None else self.body_of(await self.add_progress(runs))
        if body and body != self.body:
            self.body = body
            for wake in list(self.wakers):
                wake()

    def read_runs(self) -> list[Row] | None:
        try:
            return self.repositories.records()[:MOST_LISTED]
        except OrchestraError:
            return None

    def body_of(self, runs: list[Row]) -> str:
        for run in runs:  # the time of its lease changes all the time
            run["owner"] = {**run["owner"], "expires": None} if run.get("owner") else None
        problems = list(self.repositories.problems.values())
        return json.dumps({"type": "runs", "runs": runs, "problems": problems}, separators=(",", ":"))
