"""Which models a run asks, and where they are really reached."""

from collections.abc import Iterable
from datetime import date

from orchestra.conduct.core.money import user_prices
from orchestra.errors import MissingKey, SettingsError
from orchestra.gateway.billing import Upstream
from orchestra.plan.roles import find_role
from orchestra.providers import catalogue
from orchestra.settings import Settings


def chosen_model(settings: Settings) -> catalogue.Model:
    """The agents' model. A retired one is refused, unless the user's own server may still serve it."""
    model = usable_model(settings, settings.model_name)
    return user_prices(settings, model).get(model.name, model)


def critic_model(settings: Settings) -> catalogue.Model | None:
    """The model that reviews, where one does: it need not be of the agents' provider."""
    return usable_model(settings, settings.critic_model or settings.gemini_name) if settings.critic else None


def role_model(settings: Settings, role: str) -> catalogue.Model | None:
    """The model of its own that a role has, at the price that counts for it."""
    name = find_role(role, settings.roles).model
    model = usable_model(settings, name) if name else None
    return model and user_prices(settings, model).get(model.name, model)


def usable_model(settings: Settings, name: str) -> catalogue.Model:
    try:
        model = catalogue.resolve_model(name)
    except catalogue.UnknownProvider as error:
        raise SettingsError(f"{error}.") from None
    notice = catalogue.retirement_notice(model, date.today())
    if notice is not None and notice.severity == "retired" and not user_base_url(settings, model.provider):
        raise SettingsError(f"{notice.sentence}.")
    return model


def requestable_names(*models: catalogue.Model | None) -> frozenset[str]:
    """What an agent's token may ask for: these models. litellm leaves its own words for a model's way out of a name."""
    found = {model.name for model in models if model}
    return frozenset(found | {name.replace(f"/{way}/", "/", 1) for name in found for way in ("responses", "chat")})


def user_base_url(settings: Settings, provider: catalogue.Provider) -> str:
    return settings.base_url(provider.base_vars, settings.strongest_variable(provider.key_vars)[1])


def build_upstreams(
    settings: Settings, model: catalogue.Model | None, roles: Iterable[catalogue.Model] = (), *, replayed: bool
) -> dict[str, Upstream]:
    """Where the agents' providers, the critic's, and Gemini for the PRD are really reached."""
    routes = {}
    needed = {one.provider.name: one for one in (critic_model(settings), *roles, model) if one}
    providers = {"gemini": catalogue.PROVIDERS["gemini"]} | {name: one.provider for name, one in needed.items()}
    for provider in providers.values():
        key, _ = settings.strongest_variable(provider.key_vars)
        if provider.name == "gemini":
            key = settings.api_key or key
        base = user_base_url(settings, provider)
        if provider.name in needed and provider.key_vars and not (key or base or replayed):
            names, who = " or ".join(provider.key_vars), needed[provider.name].name
            raise MissingKey(
                f"{who} needs {names} in the environment or .env, or a base URL in {provider.base_vars[0]}."
            )
        routes[provider.name] = Upstream(
            provider.name, provider.dialect, catalogue.provider_base_url(provider, base), key
        )
    return routes
