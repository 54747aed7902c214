"""Slots for attempts: a bounded number at once; the most urgent waiting attempt gets the next one."""

import asyncio
import contextlib
import heapq
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from orchestra.plan.sizing import Machine, machine_capacity
from orchestra.plan.task_order import Rank
from orchestra.settings import Settings

Slot = Callable[[], contextlib.AbstractAsyncContextManager[None]]


class Slots:
    def __init__(self, count: int) -> None:
        self.free = count
        self.paused = False
        self.arrivals = 0
        self.waiting: list[tuple[Rank, int, asyncio.Future[None]]] = []

    @contextlib.asynccontextmanager
    async def take_slot(self, rank: Rank) -> AsyncIterator[None]:
        self.arrivals += 1
        mine = asyncio.get_running_loop().create_future()
        heapq.heappush(self.waiting, (rank, self.arrivals, mine))
        self.wake_next()
        try:
            await mine
            yield
        finally:
            if mine.done() and not mine.cancelled():  # it may be woken and cancelled at the same moment
                self.free += 1
                self.wake_next()

    def pause(self) -> None:
        """Give no slot until `unpause`."""
        self.paused = True

    def unpause(self) -> None:
        self.paused = False
        self.wake_next()

    def wake_next(self) -> None:
        while self.free and self.waiting and not self.paused:
            *_, first = heapq.heappop(self.waiting)
            if not first.done():
                self.free -= 1
                first.set_result(None)


def count_slots(agents: int, settings: Settings) -> int:
    """Count the slots. Parallel attempts at one task take a slot each, as far as the user and the machine allow."""
    wanted = agents * settings.agents_per_task
    most = settings.max_agents or machine_capacity(measure_machine())
    return min(wanted, max(agents, most))


def measure_machine() -> Machine:
    """Measure cores and free memory, as far as this platform reports them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return Machine(cores, int(line.split()[1]) * 1024)
    except OSError:
        pass
    return Machine(cores, 8 << 30)
