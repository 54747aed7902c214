"""An event loop whose clock stands still while anything can run and jumps to the next timer when nothing can.

Rules that wait for seconds or minutes are tested in no time and exactly, however busy the machine is. The clock is
`loop.time`; what is tested must take it from there. For tasks and timers alone: sockets and threads pass no time.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        due = min((timer.when() for timer in timers if not timer.cancelled()), default=self.now)
        if not self._ready:  # type: ignore[attr-defined]
            self.now = max(self.now, due)
        super()._run_once()  # type: ignore[misc]


def run_in_virtual_time(main: Callable[[Callable[[], float]], Coroutine[Any, Any, Result]]) -> Result:
    """Run what is made of the clock to its end."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main(runner.get_loop().time))
