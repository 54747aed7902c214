"""The run's limits as it goes on: what happens when its time or money is used up."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator

from orchestra import events
from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.core.money import REMEDY
from orchestra.errors import LimitReached
from orchestra.gateway import ledger
from orchestra.model import Judgement, Task, Verdict
from orchestra.report.sentence import time_words
from orchestra.settings import Settings

SMALLEST_REQUEST = 3_000  # bytes


def deadline(settings: Settings) -> float:
    """A resumed run has the whole time again."""
    return time.monotonic() + settings.deadline if settings.deadline else math.inf


@contextlib.asynccontextmanager
async def in_time(run: Run, what: str) -> AsyncIterator[None]:
    context = run.context
    try:
        async with asyncio.timeout_at(None if context.deadline == math.inf else context.deadline):
            yield
    except TimeoutError:
        if time.monotonic() < context.deadline:
            raise
        reached(run)
        raise LimitReached(f"{time_is_up(run.context)} {what}.", hint=REMEDY) from None


def time_is_up(context: Context) -> str:
    return f"The deadline of {time_words(context.settings.deadline)} was reached"


def reached(run: Run) -> None:
    if not run.state.report.stopped:
        run.emit(events.LimitReached(f"the deadline of {time_words(run.context.settings.deadline)}"))


def nothing_left(run: Run, task: Task) -> Judgement | None:
    """Whether there is no time or no money for a task that is still to begin."""
    if time.monotonic() >= run.context.deadline:
        reached(run)
        return Judgement(Verdict.BUDGET, f"{time_is_up(run.context)} before {task.agent} began.", REMEDY)
    short = run.services.gateway.limits.budget.shortage(ledger.most(run.context.model_of(task), SMALLEST_REQUEST, None))
    if short and run.services.gateway.replay is None:
        return Judgement(Verdict.BUDGET, f"{task.agent} did not begin: {short}.", REMEDY)
    return None
