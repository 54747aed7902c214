"""Start the Aider server early, because it takes longest, in the run's temporary folder."""

import asyncio
import contextlib
import os
import shutil
import sys
import time
import tomllib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from orchestra.agents import DEFAULT_AGENT
from orchestra.agents.seat import AgentProcesses, find_aider_python, make_agent_processes
from orchestra.process import wait_without_threads
from orchestra.settings import Settings
from orchestra.workspace.scratch import make_scratch


@dataclass(frozen=True)
class Warmup:
    """`loads_aider`: a task may be Aider's, and runs here. `ready_task` is None if no agents are to work; it resolves
    to the time.monotonic at which agents could begin."""

    folder: Path
    python: str
    agent_processes: AgentProcesses
    loads_aider: bool = True
    ready_task: asyncio.Task[float] | None = None


@contextlib.asynccontextmanager
async def start_warmup(settings: Settings, *, works: bool = True) -> AsyncIterator[Warmup]:
    with wait_without_threads():
        loads_aider = works and not settings.cluster and may_use_aider(settings)
        python = find_aider_python(os.environ) if loads_aider else sys.executable
        folder, lock = make_scratch()
        agents = make_agent_processes(python, folder / "server", fork=settings.fork_server)

        async def wait_until_ready() -> float:
            if loads_aider:
                await agents.ready()
            return time.monotonic()

        warming = asyncio.create_task(wait_until_ready()) if works else None
        try:
            # The process starts here. While it loads Aider, the run loads its own modules, surveys the repository and
            # asks for the PRD.
            await asyncio.sleep(0)
            yield Warmup(folder, python, agents, loads_aider, warming)
        finally:
            if warming is not None:
                warming.cancel()
                await asyncio.gather(warming, return_exceptions=True)
            await agents.close()
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def may_use_aider(settings: Settings) -> bool:
    """Whether a task may be Aider's. The plan is not checked yet, so only its kinds are read."""
    kinds = {role.kind for role in settings.roles.values()} | {settings.agent_kind}
    return DEFAULT_AGENT in (read_plan_kinds(settings) or kinds)


def read_plan_kinds(settings: Settings) -> set[str]:
    """Return the kinds that a plan's file names if it names one for every task."""
    named = Path(settings.repo or ".") / ".aider_logs/plans" / f"{settings.plan}.toml"
    for path in (named, Path(settings.plan)) if settings.plan else ():
        with contextlib.suppress(OSError, ValueError, RecursionError, AttributeError, TypeError):
            kinds = {str(task.get("kind", "")) for task in tomllib.loads(path.read_text("utf-8"))["task"]}
            return set() if "" in kinds else kinds
    return set()
