"""Slots for attempts: a bounded number at once; of the attempts that wait, the most urgent gets the next."""

import asyncio
import contextlib
import heapq
from collections.abc import AsyncIterator, Callable

from orchestra.conduct.core.machine import count_machine
from orchestra.plan.order import Rank
from orchestra.plan.sizing import Machine, most_agents
from orchestra.settings import Settings

Slot = Callable[[], contextlib.AbstractAsyncContextManager[None]]


class Slots:
    def __init__(self, count: int) -> None:
        self.free = count
        self.came = 0
        self.waiting: list[tuple[Rank, int, asyncio.Future[None]]] = []

    @contextlib.asynccontextmanager
    async def at(self, rank: Rank) -> AsyncIterator[None]:
        await self.enter(rank)
        try:
            yield
        finally:
            self.leave()

    async def enter(self, rank: Rank) -> None:
        self.came += 1
        mine = asyncio.get_running_loop().create_future()
        heapq.heappush(self.waiting, (rank, self.came, mine))
        self.call_next()
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # called and stopped in the same moment
                self.leave()
            raise

    def leave(self) -> None:
        self.free += 1
        self.call_next()

    def call_next(self) -> None:
        while self.free and self.waiting:
            *_, first = heapq.heappop(self.waiting)
            if not first.done():
                self.free -= 1
                first.set_result(None)


def count_slots(agents: int, settings: Settings) -> int:
    """Attempts side by side at one task take a slot each, as far as the user and the machine allow."""
    wanted = agents * settings.agents_per_task
    most = settings.max_agents or most_agents(Machine(*count_machine()))
    return min(wanted, max(agents, most))
