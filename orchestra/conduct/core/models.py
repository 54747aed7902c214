"""The models that a run uses: their addresses and prices, and what a run may spend on them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from orchestra.conduct.core.slots import count_slots
from orchestra.errors import MissingKey, SettingsError
from orchestra.events import PlanRange
from orchestra.gateway.billing import Upstream
from orchestra.gateway.budget import Amount, Budget
from orchestra.gateway.lane import Limits
from orchestra.gateway.wire import READ_TIMEOUT
from orchestra.judge.permit import Permit
from orchestra.model import Plan, Usage
from orchestra.plan.roles import find_role
from orchestra.providers import catalogue
from orchestra.report.fold import count_lost_requests
from orchestra.report.plans.estimate import estimate_plan
from orchestra.report.state import Report
from orchestra.settings import Settings
from orchestra.wording import join_some
from orchestra.workspace.git import Git
from orchestra.workspace.repository import Entry, Repository

LIMIT_REMEDY = "Go on with more: `resume --budget USD` (or --max-tokens, --task-budget, --deadline)."


@dataclass(frozen=True)
class Project:
    """What a plan is made for: the user's settings, the repository, and the files of its base."""

    settings: Settings
    repository: Repository
    entries: Mapping[str, Entry]

    @cached_property
    def model(self) -> catalogue.Model:
        return chosen_model(self.settings)

    @property
    def git(self) -> Git:
        return self.repository.git

    def permit(self, paths: Iterable[str] = ()) -> Permit:
        """Return which protected files the settings, unless committed, ask to change. `paths` were named one by one."""
        words = (self.settings.change,) if self.settings.is_set_by_user("change") else ()
        return Permit(frozenset(paths), words, self.entries)

    def dirty_note(self, paths: Iterable[str]) -> str:
        """Say that files to be changed have uncommitted changes, which the result must not overwrite. Empty if none
        has, or if the result does not go onto the user's branch."""
        settings, wanted = self.settings, set(paths)
        dirty = [path for path in self.repository.dirty if path in wanted]
        stays_aside = not settings.apply or settings.branch or settings.pr or not self.repository.branch
        if not dirty or stays_aside:
            return ""
        have, them = ("has", "it") if len(dirty) == 1 else ("have", "them")
        onto = f"the result cannot go onto {self.repository.branch} until you commit or stash {them}"
        return f"{join_some(dirty)} {have} uncommitted changes: {onto}."


def chosen_model(settings: Settings) -> catalogue.Model:
    """Return the agents' model with the price that applies."""
    return priced_model(settings, settings.model_name)


def priced_model(settings: Settings, name: str) -> catalogue.Model:
    model = usable_model(settings, name)
    return user_prices(settings, model).get(model.name, model)


def critic_model(settings: Settings) -> catalogue.Model | None:
    """Return the critic's model, if there is one. Its provider may differ from the agents'."""
    return usable_model(settings, settings.critic_model or settings.gemini_name) if settings.critic else None


def role_model(settings: Settings, role: str) -> catalogue.Model | None:
    """Return a role's own model with the price that applies."""
    name = find_role(role, settings.roles).model
    return priced_model(settings, name) if name else None


def usable_model(settings: Settings, name: str) -> catalogue.Model:
    """Return the model of this name. Refuse a retired one, unless the user's own server may still serve it."""
    model = resolve_given_model(name)
    notice = catalogue.retirement_notice(model, date.today())
    if notice is not None and notice.severity == "retired" and not user_base_url(settings, model.provider):
        raise SettingsError(f"{notice.sentence}.")
    return model


def resolve_given_model(name: str) -> catalogue.Model:
    try:
        return catalogue.resolve_model(name)
    except catalogue.UnknownProvider as error:
        raise SettingsError(f"{error}.") from None


def requestable_names(*models: catalogue.Model | None) -> frozenset[str]:
    """Return the model names that an agent's token may request. litellm strips its own prefixes from names."""
    found = {model.name for model in models if model}
    return frozenset(found | {name.replace(f"/{way}/", "/", 1) for name in found for way in ("responses", "chat")})


def user_base_url(settings: Settings, provider: catalogue.Provider) -> str:
    return settings.base_url(provider.base_vars, settings.strongest_variable(provider.key_vars)[1])


def build_upstreams(
    settings: Settings, model: catalogue.Model | None, roles: Iterable[catalogue.Model] = (), *, replayed: bool
) -> dict[str, Upstream]:
    """Build the upstream addresses of the agents' providers, the critic's provider, and Gemini for the PRD."""
    routes = {}
    needed = {one.provider.name: one for one in (critic_model(settings), *roles, model) if one}
    providers = {"gemini": catalogue.PROVIDERS["gemini"]} | {name: one.provider for name, one in needed.items()}
    for provider in providers.values():
        key, _ = settings.strongest_variable(provider.key_vars)
        key = settings.api_key or key if provider.name == "gemini" else key
        base = user_base_url(settings, provider)
        if provider.name in needed and provider.key_vars and not (key or base or replayed):
            names, who = " or ".join(provider.key_vars), needed[provider.name].name
            or_url = f"or a base URL in {provider.base_vars[0]}"
            raise MissingKey(f"{who} needs {names} in the environment or .env, {or_url}.")
        base_url = catalogue.provider_base_url(provider, base)
        routes[provider.name] = Upstream(provider.name, provider.dialect, base_url, key)
    return routes


def make_limits(settings: Settings, model: catalogue.Model, report: Report | None) -> Limits:
    """Make the limits of a run. `report` holds the spending of its earlier sessions."""
    spent, by_task = Amount(), None
    if report:
        count_lost_requests(report)
        spent = spent_amount(report.usage, model)
        by_task = {task.id: spent_amount(task.usage, model) for task in report.tasks.values()}
    return Limits(
        Budget(settings.budget, settings.max_tokens, settings.task_budget, spent=spent, by_task=by_task),
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
        one = resolve_given_model(name) if name else model
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


def role_models(settings: Settings, roles: Iterable[str]) -> list[catalogue.Model]:
    """Return the models that these roles have of their own."""
    return [model for role in dict.fromkeys(roles) if (model := role_model(settings, role))]


def check_roles(settings: Settings, roles: Iterable[str], *, replayed: bool) -> None:
    """Check that the roles exist and that their models can be used: known name, key, price."""
    model, others = chosen_model(settings), role_models(settings, roles)
    if others:
        build_upstreams(settings, model, others, replayed=replayed)
    if others and not replayed:
        check_prices(settings, model, roles=others, asks_gemini=False)


def estimate_with_roles(project: Project, plan: Plan) -> PlanRange:
    """Estimate the plan with each role's own model."""
    settings, model = project.settings, project.model
    roles = {task.role: role_model(settings, task.role) or model for task in plan.tasks}
    sizes = {path: entry.size for path, entry in project.entries.items()}
    slots = count_slots(plan.agents, settings)
    return estimate_plan(plan, model, sizes, roles, each=settings.agents_per_task, slots=slots)
