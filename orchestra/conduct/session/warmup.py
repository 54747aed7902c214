"""What is begun before all else, because it takes longest: an Aider that warms up, in a folder of the run's own."""

import asyncio
import contextlib
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from orchestra.agents.seat import Seats, find_python, seats
from orchestra.process import without_threads
from orchestra.settings import Settings
from orchestra.workspace.scratch import make_scratch


@dataclass(frozen=True)
class Workshop:
    """`warming` is nothing where no Aider is to work; it ends with the moment from which on one can."""

    folder: Path
    python: str
    seats: Seats
    warming: asyncio.Task[float] | None = None


@contextlib.asynccontextmanager
async def workshop(settings: Settings, *, works: bool = True) -> AsyncIterator[Workshop]:
    with without_threads():
        python = find_python(os.environ) if works else sys.executable
        folder, lock = make_scratch()
        agents = seats(python, folder / "server", fork=settings.fork_server)
        warming = asyncio.create_task(warm(agents)) if works else None
        try:
            # Its process starts here. While it loads Aider, we load what is ours, look at the repository, ask for the
            # PRD.
            await asyncio.sleep(0)
            yield Workshop(folder, python, agents, warming)
        finally:
            if warming is not None:
                warming.cancel()
                await asyncio.gather(warming, return_exceptions=True)
            await agents.close()
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


async def warm(agents: Seats) -> float:
    """Since when Aider can work, on the clock of time.monotonic."""
    await agents.ready()
    return time.monotonic()
