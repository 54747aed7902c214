"""The run's limits: what happens when its time or money is used up."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator

from orchestra import events
from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.core.models import LIMIT_REMEDY
from orchestra.errors import LimitReached
from orchestra.gateway import billing
from orchestra.model import Judgement, Task, Verdict
from orchestra.report.phrases import format_time_option

SMALLEST_REQUEST = 3_000  # bytes


def timeout_at_deadline(context: Context) -> asyncio.Timeout:
    return asyncio.timeout_at(None if context.deadline == math.inf else context.deadline)


@contextlib.asynccontextmanager
async def enforce_deadline(run: Run, what: str) -> AsyncIterator[None]:
    context = run.context
    try:
        async with timeout_at_deadline(context):
            yield
    except TimeoutError:
        if time.monotonic() < context.deadline:
            raise
        emit_deadline_reached(run)
        raise LimitReached(f"{deadline_sentence(run.context)} {what}.", hint=LIMIT_REMEDY) from None


def deadline_sentence(context: Context) -> str:
    return f"The deadline of {format_time_option(context.settings.deadline)} was reached"


def emit_deadline_reached(run: Run) -> None:
    if not run.state.report.limit_that_stopped:
        run.emit(events.LimitReached(f"the deadline of {format_time_option(run.context.settings.deadline)}"))


def find_used_up_limit(run: Run, task: Task) -> Judgement | None:
    """Return why a new task cannot begin: no time or no money is left. None if it can."""
    if time.monotonic() >= run.context.deadline:
        emit_deadline_reached(run)
        return Judgement(Verdict.BUDGET, f"{deadline_sentence(run.context)} before {task.agent} began.", LIMIT_REMEDY)
    least = billing.max_request_cost(run.context.model_of(task), SMALLEST_REQUEST, None)
    short = run.services.gateway.limits.budget.shortage(least)
    if short and run.services.gateway.replay is None:
        return Judgement(Verdict.BUDGET, f"{task.agent} did not begin: {short}.", LIMIT_REMEDY)
    return None
