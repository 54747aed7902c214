"""Start the Aider server early, because it takes longest."""

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
    """`ready_task` is None if no agents are to work; it resolves to the time.monotonic at which agents could begin."""

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

        async def wait_until_ready() -> float:
            await agents.ready()
            return time.monotonic()

        warming = asyncio.create_task(wait_until_ready()) if works else None
        try:
            # The process starts here. While it loads Aider, the run loads its own modules, surveys the repository and
            # asks for the PRD.
            await asyncio.sleep(0)
            yield Warmup(folder, python, agents, warming)
        finally:
            if warming is not None:
                warming.cancel()
                await asyncio.gather(warming, return_exceptions=True)
            await agents.close()
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
