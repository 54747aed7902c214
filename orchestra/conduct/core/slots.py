"""Slots for attempts: a bounded number at once; of the attempts that wait, the most urgent gets the next."""

import asyncio
import contextlib
import heapq
from collections.abc import AsyncIterator, Callable

from orchestra.conduct.core.machine import measure_machine
from orchestra.plan.sizing import Machine, machine_capacity
from orchestra.plan.task_order import Rank
from orchestra.settings import Settings

Slot = Callable[[], contextlib.AbstractAsyncContextManager[None]]


class Slots:
    def __init__(self, count: int) -> None:
        self.free = count
        self.arrivals = 0
        self.waiting: list[tuple[Rank, int, asyncio.Future[None]]] = []

    @contextlib.asynccontextmanager
    async def take_slot(self, rank: Rank) -> AsyncIterator[None]:
        await self.wait_for_slot(rank)
        try:
            yield
        finally:
            self.free_slot()

    async def wait_for_slot(self, rank: Rank) -> None:
        self.arrivals += 1
        mine = asyncio.get_running_loop().create_future()
        heapq.heappush(self.waiting, (rank, self.arrivals, mine))
        self.wake_next()
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # called and stopped in the same moment
                self.free_slot()
            raise

    def free_slot(self) -> None:
        self.free += 1
        self.wake_next()

    def wake_next(self) -> None:
        while self.free and self.waiting:
            *_, first = heapq.heappop(self.waiting)
            if not first.done():
                self.free -= 1
                first.set_result(None)


def count_slots(agents: int, settings: Settings) -> int:
    """Attempts side by side at one task take a slot each, as far as the user and the machine allow."""
    wanted = agents * settings.agents_per_task
    most = settings.max_agents or machine_capacity(Machine(*measure_machine()))
    return min(wanted, max(agents, most))
