"""The agents' process that warms up while the run prepares its work."""

import asyncio
import time


class AgentReadiness:
    """`since`: when agents could begin, on the clock of time.monotonic; 0 before."""

    def __init__(self, ready_task: asyncio.Future[float] | None = None) -> None:
        self.ready_task = ready_task
        self.since = 0.0

    async def wait(self) -> float | None:
        """Wait until agents can begin. Return how many seconds ago that was, to the first caller only."""
        assert self.ready_task is not None, "no agents were to work"
        since = await asyncio.shield(self.ready_task)
        if self.since:
            return None
        self.since = since
        return time.monotonic() - since
