"""How busy this machine is, and waits that allow for it: no test fails because others use the processors.

`wait_until` waits for a state; `within(seconds)` is a deadline for what ends by itself when it works. Both are far more
than is needed, times a factor that is measured, and less than NEVER, so that what only ends by itself is found out.
Neither says that something was fast: figures of speed are in `bench/`.
"""

import functools
import os
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
PATIENCE = 60.0  # seconds on a machine that does nothing else
NEVER = 3600.0  # seconds; what a script does that must not end by itself while a test waits
LONGEST = 3000.0
WORK = 0.05  # seconds of CPU time that are measured


@functools.cache
def measured_slowdown() -> float:
    """How much longer a piece of work takes than its CPU time: 1 alone on a core, 5 beside eight others on two."""
    started, until = time.perf_counter(), time.thread_time() + WORK
    while time.thread_time() < until:
        pass
    return (time.perf_counter() - started) / WORK


def load_factor() -> float:
    """What deadlines are multiplied with: the slowdown when this worker began, or the load as it is now. At least 1."""
    return max(1.0, measured_slowdown(), os.getloadavg()[0] / (os.cpu_count() or 1))


def within(seconds: float = PATIENCE) -> float:
    """A deadline of so many seconds as it is on this machine."""
    return min(LONGEST, seconds * load_factor())


def wait_until(condition: Callable[[], Found | None], what: str = "", seconds: float = PATIENCE) -> Found:
    """Poll until a condition holds, and return what it gave."""
    started = time.monotonic()
    while not (found := condition()):
        assert time.monotonic() - started < within(seconds), f"not within {within(seconds):.0f} s: {what or condition}"
        time.sleep(0.02)
    return found


def holds_soon(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """The same, for an assertion that says more when it fails."""
    started = time.monotonic()
    while not condition() and time.monotonic() - started < within(seconds):
        time.sleep(0.02)
    return bool(condition())
