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

from orchestra.agents.seat import AgentProcesses, find_aider_python, make_agent_processes
from orchestra.process import wait_without_threads
from orchestra.settings import Settings
from orchestra.workspace.scratch import make_scratch


@dataclass(frozen=True)
class Warmup:
    """`warming` is nothing where no Aider is to work; it ends with the moment from which on one can."""

    folder: Path
    python: str
    agent_processes: AgentProcesses
    ready_task: asyncio.Task[float] | None = None


@contextlib.asynccontextmanager
async def start_warmup(settings: Settings, *, works: bool = True) -> AsyncIterator[Warmup]:
    with wait_without_threads():
        python = find_aider_python(os.environ) if works else sys.executable
        folder, lock = make_scratch()
        agents = make_agent_processes(python, folder / "server", fork=settings.fork_server)
        warming = asyncio.create_task(wait_until_ready(agents)) if works else None
        try:
            # Its process starts here. While it loads Aider, we load what is ours, look at the repository, ask for the
            # PRD.
            await asyncio.sleep(0)
            yield Warmup(folder, python, agents, warming)
        finally:
            if warming is not None:
                warming.cancel()
                await asyncio.gather(warming, return_exceptions=True)
            await agents.close()
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


async def wait_until_ready(agents: AgentProcesses) -> float:
    """Since when Aider can work, on the clock of time.monotonic."""
    await agents.ready()
    return time.monotonic()
