"""What a run may spend: its budget less the spending of earlier sessions, and the prices that apply."""

from collections.abc import Iterable

from orchestra.errors import SettingsError
from orchestra.gateway.budget import Amount, Budget
from orchestra.gateway.lane import Limits
from orchestra.gateway.wire import READ_TIMEOUT
from orchestra.model import Usage
from orchestra.providers import catalogue
from orchestra.report.fold import count_lost_requests
from orchestra.report.state import Report
from orchestra.settings import Settings

LIMIT_REMEDY = "Go on with more: `resume --budget USD` (or --max-tokens, --task-budget, --deadline)."


def make_limits(settings: Settings, model: catalogue.Model, report: Report | None) -> Limits:
    """Make the limits of a run. `report` holds the spending of its earlier sessions."""
    if report:
        count_lost_requests(report)
    budget = Budget(
        settings.budget,
        settings.max_tokens,
        settings.task_budget,
        spent=spent_amount(report.usage, model) if report else Amount(),
        by_task={task.id: spent_amount(task.usage, model) for task in report.tasks.values()} if report else None,
    )
    return Limits(
        budget,
        prices=user_prices(settings, model),
        per_minute=settings.rpm,
        outage=settings.agent_timeout,
        # An agent's own timeout ends it sooner; requests of the run itself, such as the PRD's, get at least this.
        longest=max(settings.agent_timeout, READ_TIMEOUT),
    )


def spent_amount(used: Usage, model: catalogue.Model) -> Amount:
    """Return what was spent. Requests without a known price are charged at today's."""
    paid = used.paid
    if paid is None:
        paid = catalogue.request_cost(model, used.input, used.cached, used.cache_write, used.output) or 0.0
    return Amount(paid, used.tokens + used.assumed_tokens)


def user_prices(settings: Settings, model: catalogue.Model) -> dict[str, catalogue.Model]:
    """Return the models for which the user gave prices."""
    found = {}
    for name, pair in settings.known_prices.items():
        try:
            one = catalogue.resolve_model(name) if name else model
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
    """Refuse a budget in dollars if the price of a model is unknown, before anything is paid."""
    if not (settings.budget or settings.task_budget):
        return
    known = user_prices(settings, model)
    agents = (model, *roles)
    asked = [*agents, *map(catalogue.weak_model, agents), *([critic] if critic else [])]
    if asks_gemini:
        asked.append(catalogue.resolve_model(settings.gemini_name))
    for one in asked:
        if known.get(one.name, one).price_in is None:
            raise SettingsError(
                f"No price is known for {one.name}, so a budget in dollars cannot be held.",
                hint=f"Give it per million tokens: --price {'' if one is model else one.name + '='}IN,OUT",
            )
