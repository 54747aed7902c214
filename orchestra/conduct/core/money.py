"""The run's limits of money and time: what they are, and what happens where one is reached."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

from orchestra import events
from orchestra.errors import LimitReached, SettingsError
from orchestra.gateway import ledger
from orchestra.gateway.budget import Amount, Budget
from orchestra.gateway.limits import Limits
from orchestra.gateway.wire import READ_TIMEOUT
from orchestra.model import Judgement, Task, Usage, Verdict
from orchestra.providers import catalogue
from orchestra.report.fold import count_lost
from orchestra.report.sentence import time_words
from orchestra.settings import Settings

if TYPE_CHECKING:
    from orchestra.conduct.core.context import Run

    from orchestra.conduct.previous.previous import Past

SMALLEST_REQUEST = 3_000  # bytes
REMEDY = "Go on with more: `resume --budget USD` (or --max-tokens, --task-budget, --deadline)."


def limits_of(settings: Settings, model: catalogue.Model, past: "Past | None") -> Limits:
    """What earlier orchestrators of this run have spent is spent."""
    report = past.report if past else None
    if report:
        count_lost(report)
    budget = Budget(
        settings.budget,
        settings.max_tokens,
        settings.task_budget,
        spent=amount(report.usage, model) if report else Amount(),
        by_task={task.id: amount(task.usage, model) for task in report.tasks.values()} if report else None,
    )
    return Limits(
        budget,
        prices=prices(settings, model),
        per_minute=settings.rpm,
        outage=settings.agent_timeout,
        # An agent's own clock ends it sooner; what the run itself asks, like the PRD, has time all the same.
        longest=max(settings.agent_timeout, READ_TIMEOUT),
    )


def amount(used: Usage, model: catalogue.Model) -> Amount:
    """Where there was no price then, the one of today counts."""
    paid = used.paid
    if paid is None:
        paid = catalogue.cost(model, used.input, used.cached, used.cache_write, used.output) or 0.0
    return Amount(paid, used.tokens + used.assumed_tokens)


def prices(settings: Settings, model: catalogue.Model) -> dict[str, catalogue.Model]:
    """The models that the user has named prices for."""
    found = {}
    for name, pair in settings.known_prices.items():
        try:
            one = catalogue.resolve(name) if name else model
        except catalogue.UnknownProvider as error:
            raise SettingsError(f"{error}.") from None
        found[one.name] = catalogue.with_prices(one, *pair)
    return found


def check_prices(
    settings: Settings,
    model: catalogue.Model,
    critic: catalogue.Model | None = None,
    roles: Iterable[catalogue.Model] = (),
    *,
    asks_gemini: bool,
) -> None:
    """Before anything is paid: a budget in dollars can be held only where the price is known."""
    if not (settings.budget or settings.task_budget):
        return
    known = prices(settings, model)
    agents = (model, *roles)
    asked = [*agents, *map(catalogue.weak_model, agents), *([critic] if critic else [])]
    if asks_gemini:
        asked.append(catalogue.resolve(settings.gemini_name))
    for one in asked:
        if known.get(one.name, one).price_in is None:
            raise SettingsError(
                f"No price is known for {one.name}, so a budget in dollars cannot be held.",
                hint=f"Give it per million tokens: --price {'' if one is model else one.name + '='}IN,OUT",
            )


# --- time -----------------------------------------------------------------------------------------------------------


def deadline(settings: Settings) -> float:
    """A resumed run has the whole time again."""
    return time.monotonic() + settings.deadline if settings.deadline else math.inf


@contextlib.asynccontextmanager
async def in_time(run: "Run", what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(None if run.context.deadline == math.inf else run.context.deadline):
            yield
    except TimeoutError:
        if time.monotonic() < run.context.deadline:
            raise
        reached(run)
        raise LimitReached(f"{time_is_up(run)} {what}.", hint=REMEDY) from None


def time_is_up(run: "Run") -> str:
    return f"The deadline of {time_words(run.context.settings.deadline)} was reached"


def reached(run: "Run") -> None:
    if not run.state.report.stopped:
        run.emit(events.LimitReached(f"the deadline of {time_words(run.context.settings.deadline)}"))


def nothing_left(run: "Run", task: Task) -> Judgement | None:
    """Whether there is no time or no money for a task that is still to begin."""
    if time.monotonic() >= run.context.deadline:
        reached(run)
        return Judgement(Verdict.BUDGET, f"{time_is_up(run)} before {task.agent} began.", REMEDY)
    short = run.services.gateway.limits.budget.shortage(ledger.most(run.context.model_of(task), SMALLEST_REQUEST, None))
    if short and run.services.gateway.replay is None:
        return Judgement(Verdict.BUDGET, f"{task.agent} did not begin: {short}.", REMEDY)
    return None
