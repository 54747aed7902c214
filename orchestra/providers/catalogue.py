"""The catalogue of models: who serves a name, at what price, until when, and what Aider must be told about it.

Prices and sizes come from models.json (refreshed by tools/refresh_models.py); the rest was written by hand.
"""

import difflib
import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from orchestra.dialects import DIALECTS

DEFAULT_MODEL = "openai/gpt-6.1-sol"
DEFAULT_CLAUDE_MODEL = "anthropic/claude-opus-5-5"
DEFAULT_GEMINI_MODEL = "gemini-flash-latest"


class UnknownProvider(ValueError):
    """No provider is known for a model's name."""

    def __init__(self, name: str) -> None:
        rows = [row for row in _model_rows() if row not in RETIREMENT_DAYS]
        names = {row.partition("/")[2]: row for row in rows} | {row: row for row in (*rows, *ALIASES)}
        near = difflib.get_close_matches(name, names, 1, 0.7)
        meant = f" (did you mean {names[near[0]]}?)" if near else ""
        super().__init__(
            f"no provider is known for the model {name!r}{meant}: "
            f"write PROVIDER/NAME with one of {', '.join(PROVIDERS)}; "
            "any other OpenAI-compatible server works as openai/NAME with its address in OPENAI_API_BASE"
        )


@dataclass(frozen=True)
class Provider:
    """A provider: its address, dialect, and variables for keys and another address; the first one set counts.

    A base is what the dialect's path is appended to: /chat/completions, /v1/messages, or /v1beta/models/NAME:METHOD.
    """

    name: str
    dialect: str
    default_base: str
    key_vars: tuple[str, ...]
    base_vars: tuple[str, ...]
    agent_prefix: str  # litellm's name of this provider, inside the agent

    @property
    def agent_key_var(self) -> str:
        return f"{self.agent_prefix.upper()}_API_KEY"

    @property
    def agent_base_var(self) -> str:
        return f"{self.agent_prefix.upper()}_API_BASE"


_OPENAI_BASES = ("OPENAI_API_BASE", "OPENAI_BASE_URL")
_CLAUDE_BASES = ("ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL")
_GOOGLE_KEYS = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
_GOOGLE_BASES = ("GEMINI_API_BASE", "GOOGLE_GEMINI_BASE_URL")
_ALL_PROVIDERS = (
    Provider("openai", "openai", "https://api.openai.com/v1", ("OPENAI_API_KEY",), _OPENAI_BASES, "openai"),
    Provider("anthropic", "anthropic", "https://api.anthropic.com", ("ANTHROPIC_API_KEY",), _CLAUDE_BASES, "anthropic"),
    Provider("gemini", "gemini", "https://generativelanguage.googleapis.com", _GOOGLE_KEYS, _GOOGLE_BASES, "gemini"),
    Provider(
        "openrouter",
        "openai",
        "https://openrouter.ai/api/v1",
        ("OPENROUTER_API_KEY",),
        ("OPENROUTER_API_BASE",),
        "openrouter",
    ),
    Provider(
        "deepseek", "openai", "https://api.deepseek.com", ("DEEPSEEK_API_KEY",), ("DEEPSEEK_API_BASE",), "deepseek"
    ),
    Provider("xai", "openai", "https://api.x.ai/v1", ("XAI_API_KEY",), ("XAI_API_BASE",), "xai"),
    # litellm 1.81.10 fails on a Groq reply without service_tier, and speaks to Ollama in Ollama's own format. Both
    # accept OpenAI requests, so the agent gets openai/NAME and their base.
    Provider("groq", "openai", "https://api.groq.com/openai/v1", ("GROQ_API_KEY",), ("GROQ_API_BASE",), "openai"),
    Provider(
        "zai",
        "openai",
        "https://api.z.ai/api/paas/v4",
        ("ZAI_API_KEY", "GLM_API_KEY", "ZHIPUAI_API_KEY"),
        ("ZAI_API_BASE",),
        "openai",
    ),
    Provider("ollama", "openai", "http://127.0.0.1:11434/v1", (), ("OLLAMA_API_BASE", "OLLAMA_BASE_URL"), "openai"),
)
PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in _ALL_PROVIDERS}

PREFIX_ALIASES = {"models": "gemini", "google": "gemini", "ollama_chat": "ollama", "local": "ollama"}
PREFIX_ALIASES |= dict.fromkeys(("glm", "zhipu", "zhipuai"), "zai")
BARE_NAMES = {"claude": "anthropic", "gemini": "gemini", "glm": "zai"}
BARE_NAMES |= dict.fromkeys(("gpt", "chatgpt", "o1", "o3", "o4"), "openai")
ALIASES = {
    "sonnet": "anthropic/claude-sonnet-5-5",
    "opus": "anthropic/claude-opus-5-5",
    "haiku": "anthropic/claude-haiku-5-5",
    "flash": "gemini/gemini-flash-latest",
    "gemini": "gemini/gemini-flash-latest",
    "deepseek": "deepseek/deepseek-flash",
}
RECOMMENDED = (
    "openai/gpt-6.1-sol",
    "openai/gpt-6.1-terra",
    "openai/gpt-6-luna",
    "anthropic/claude-opus-5-5",
    "anthropic/claude-sonnet-5-5",
    "anthropic/claude-haiku-5-5",
    "gemini/gemini-flash-latest",
    "gemini/gemini-pro-latest",
    "gemini/gemini-3.8-flash",
    "gemini/gemini-4-argon",
)
WEAK_MODELS = {
    "openai": "openai/gpt-6-luna",
    "anthropic": "anthropic/claude-haiku-5-5",
    "gemini": "gemini/gemini-flash-latest",
    "deepseek": "deepseek/deepseek-flash",
}

# From the providers' deprecation pages, November 2026; litellm's table lacks them or is vaguer.
RETIREMENTS = {
    "2025-07-21": ("anthropic/claude-3-sonnet-20240229",),
    "2025-09-29": ("gemini/gemini-1.5-pro", "gemini/gemini-1.5-pro-latest", "gemini/gemini-1.5-flash"),
    "2025-10-28": (
        "anthropic/claude-3-5-sonnet-20240620",
        "anthropic/claude-3-5-sonnet-20241022",
        "anthropic/claude-3-5-sonnet-latest",
    ),
    "2026-01-05": ("anthropic/claude-3-opus-20240229", "anthropic/claude-3-opus-latest"),
    "2026-02-19": (
        "anthropic/claude-3-7-sonnet-20250219",
        "anthropic/claude-3-7-sonnet-latest",
        "anthropic/claude-3.7-sonnet-latest",  # never a valid id, but the first release's default
        "anthropic/claude-3-5-haiku-20241022",
        "anthropic/claude-3-5-haiku-latest",
    ),
    "2026-04-20": ("anthropic/claude-3-haiku-20240307",),
    "2026-06-01": ("gemini/gemini-2.0-flash", "gemini/gemini-2.0-flash-lite"),
    "2026-06-15": (
        "anthropic/claude-sonnet-4-0",
        "anthropic/claude-sonnet-4-20250514",
        "anthropic/claude-opus-4-0",
        "anthropic/claude-opus-4-20250514",
    ),
    "2026-08-05": ("anthropic/claude-opus-4-1", "anthropic/claude-opus-4-1-20250805"),
    "2026-10-23": ("openai/gpt-4", "openai/gpt-4-turbo", "openai/gpt-3.5-turbo"),
    "2026-11-30": ("anthropic/claude-sonnet-4-5", "anthropic/claude-sonnet-4-5-20250929"),
    "2026-12-01": ("gemini/gemini-2.5-pro", "gemini/gemini-2.5-flash"),
    "2027-01-14": ("openai/gpt-4o", "openai/gpt-4o-mini", "openai/gpt-4.1", "openai/gpt-4.1-mini"),
}
RETIREMENT_DAYS = {name: date.fromisoformat(day) for day, names in RETIREMENTS.items() for name in names}
# By provider: a word in the retired name, and its successor. The first match counts.
SUCCESSORS = {
    "openai": {"mini": "openai/gpt-6-luna", "nano": "openai/gpt-6-luna", "3.5": "openai/gpt-6-luna", "": DEFAULT_MODEL},
    "anthropic": {"sonnet": ALIASES["sonnet"], "haiku": ALIASES["haiku"], "": DEFAULT_CLAUDE_MODEL},
    "gemini": {"": ALIASES["gemini"]},
    "deepseek": {"": ALIASES["deepseek"]},
    "xai": {"": "xai/grok-4.7"},
    "groq": {"": "groq/openai/gpt-oss-120b"},
}
WARNING_DAYS = 60

# How long a provider caches the beginning of a prompt whose cache marks we set, and after how many tokens it does. From
# the providers' pages, November 2026; models that are not listed start at the default.
CACHE_SECONDS = {"anthropic": 300.0, "openai": 1800.0}
CACHE_FROM_TOKENS = {
    **dict.fromkeys(("anthropic/claude-opus-4-5", "anthropic/claude-opus-4-6", "anthropic/claude-haiku-4-5"), 4096),
    "anthropic/claude-opus-4-7": 2048,
}
DEFAULT_CACHE_FROM = 1024
LEAST_SAVING = 0.01  # dollars that an attempt must save if it is to wait for another one that writes its prompt

# Every Claude model of today writes this much; assume the same for unknown ones.
UNKNOWN_CLAUDE_OUTPUT = 64_000


@dataclass(frozen=True)
class LongPrices:
    """The prices of all tokens of a request whose prompt is longer than `above` tokens."""

    above: int
    price_in: float
    price_out: float
    price_cache_read: float | None
    price_cache_write: float | None


@dataclass(frozen=True)
class Model:
    """A model with its names for each party. Prices are dollars per token; None: unknown."""

    name: str
    provider: Provider
    aider_name: str
    upstream_name: str
    price_in: float | None
    price_out: float | None
    price_cache_read: float | None
    price_cache_write: float | None
    context: int | None
    max_output: int | None
    weak: str
    retires: date | None
    known: bool
    long: LongPrices | None = None


@dataclass(frozen=True)
class CacheRules:
    """How a provider caches the beginning of a prompt. `saved`: dollars per token that is read rather than sent."""

    seconds: float
    from_tokens: int
    saved: float

    def is_worth_waiting(self, tokens: int) -> bool:
        """Whether so many tokens are worth the wait for the one request that writes them."""
        return tokens >= self.from_tokens and tokens * self.saved >= LEAST_SAVING


class RetirementNotice(NamedTuple):
    severity: Literal["retired", "warning"]
    sentence: str


def resolve_model(name: str) -> Model:
    """Resolve a model's name. Raise UnknownProvider. A model that only its provider knows is no error."""
    provider, upstream = _split_model_name(ALIASES.get(name.strip(), name.strip()))
    canonical = f"{provider.name}/{upstream}"
    aider_name = f"{provider.agent_prefix}/{upstream}"
    row = _model_rows().get(canonical, {})
    return Model(
        name=canonical,
        provider=provider,
        aider_name=aider_name,
        upstream_name=upstream,
        price_in=row.get("input"),
        price_out=row.get("output"),
        price_cache_read=row.get("cache_read"),
        price_cache_write=row.get("cache_write"),
        context=row.get("context"),
        max_output=row.get("max_output"),
        # A private server may serve one model only, so an unknown model is its own weak model.
        weak=WEAK_MODELS.get(provider.name, aider_name) if row else aider_name,
        retires=RETIREMENT_DAYS.get(canonical) or (date.fromisoformat(row["retires"]) if row.get("retires") else None),
        known=bool(row),
        long=_long_prices(row["long"]) if row.get("long") else None,
    )


def with_prices(model: Model, price_in: float, price_out: float) -> Model:
    """Return the model at the user's prices, given in dollars per million tokens."""
    plain = replace(model, price_in=price_in / 1e6, price_out=price_out / 1e6, long=None)
    return replace(plain, price_cache_read=None, price_cache_write=None)


def weak_model(model: Model) -> Model:
    """Return the cheap model for side work. It has the same provider, because an agent has one address."""
    return model if model.weak == model.aider_name else resolve_model(model.weak)


def list_models() -> list[Model]:
    """List all models with a known price, the recommended ones first."""
    others = sorted(_model_rows().keys() - set(RECOMMENDED))
    return [resolve_model(name) for name in (*RECOMMENDED, *others)]


def retirement_notice(model: Model, today: date) -> RetirementNotice | None:
    """Describe a retired or soon retired model; the caller decides whether the run stops."""
    if model.retires is None or (model.retires - today).days > WARNING_DAYS:
        return None
    if model.retires <= today:
        return RetirementNotice("retired", f"{model.name} retired on {model.retires}, use {successor_name(model)}")
    move = f"move to {successor_name(model)} before that"
    return RetirementNotice("warning", f"{model.name} retires on {model.retires}, {move}")


def unknown_notice(model: Model, listed: Collection[str] = (), host: str = "") -> str:
    """Describe a model that neither the catalogue nor the list of its server has, with names that are spelled alike.
    Empty if nothing can be said about it."""
    prefix = f"{model.provider.name}/"
    current = [name for name in _model_rows() if name.startswith(prefix) and name not in RETIREMENT_DAYS]
    names = listed or [name.removeprefix(prefix) for name in current]
    near = difflib.get_close_matches(model.upstream_name, sorted(names), 3)
    if model.known or not (near or listed):
        return ""
    nor = f", nor among the {len(listed):,} models that {host} lists" if listed else ""
    meant = f"; near: {', '.join(prefix + name for name in near)}" if near else ""
    return f"{model.name} is not in the catalogue{nor}{meant}."


def successor_name(model: Model) -> str:
    """Return the current model to use in place of an old one."""
    choices = SUCCESSORS.get(model.provider.name, {"": DEFAULT_MODEL})
    return next(name for word, name in choices.items() if word in model.upstream_name)


def provider_base_url(provider: Provider, given: str = "") -> str:
    """Return the provider's base, from any form of it in the user's variable."""
    base = (given or provider.default_base).strip().rstrip("/")
    if provider.name == "ollama" and not base.endswith("/v1"):
        return f"{base}/v1"  # Ollama's own variable names the server's root
    for tail in DIALECTS[provider.dialect].base_tails:
        base = base.removesuffix(tail)
    return base


def request_cost(
    model: Model, input_tokens: int, cached_tokens: int, cache_write_tokens: int, output_tokens: int
) -> float | None:
    """Compute the dollars of one request. The input is the whole prompt: fresh, read from cache, written to cache."""
    price = model.long if model.long and input_tokens > model.long.above else model
    if price.price_in is None or price.price_out is None:
        return None
    read_price = price.price_in if price.price_cache_read is None else price.price_cache_read
    write_price = price.price_in if price.price_cache_write is None else price.price_cache_write
    fresh_tokens = max(0, input_tokens - cached_tokens - cache_write_tokens)
    return (
        fresh_tokens * price.price_in
        + cached_tokens * read_price
        + cache_write_tokens * write_price
        + output_tokens * price.price_out
    )


def cache_rules(model: Model) -> CacheRules | None:
    """Return the rules of a model's cache; None if no cache marks are needed, or their price is unknown."""
    seconds = CACHE_SECONDS.get(model.provider.name)
    if seconds is None or model.price_in is None or model.price_cache_read is None or model.price_cache_write is None:
        return None
    counts = (count for name, count in CACHE_FROM_TOKENS.items() if model.name.startswith(name))
    return CacheRules(seconds, next(counts, DEFAULT_CACHE_FROM), model.price_in - model.price_cache_read)


def reply_token_cap(model: Model, owned_tokens: int) -> int | None:
    """Return how many tokens a reply may have: for the owned files twice, and reasoning. None: no cap of ours."""
    room = 2 * owned_tokens + 16_000
    if model.max_output is not None:
        return min(model.max_output, room)
    # A cap above a model's own limit is refused, so an unknown model gets none; but without one litellm would cut an
    # unknown Claude off at 4096 tokens.
    return min(UNKNOWN_CLAUDE_OUTPUT, room) if model.provider.name == "anthropic" else None


def settings_entry(model: Model, weak: str, owned_tokens: int, temperature: float | None = None) -> dict[str, Any]:
    """Return the model's entry in Aider's model settings file; `weak` is the weak model's name for Aider."""
    entry: dict[str, Any] = {
        "name": model.aider_name,
        "edit_format": "diff",
        "use_repo_map": True,
        # Current OpenAI and Anthropic models answer 400 to any temperature, so only the user sets one.
        "use_temperature": False if temperature is None else temperature,
        "weak_model_name": weak,
    }
    cap = reply_token_cap(model, owned_tokens)
    if cap is not None:
        # litellm passes both on. OpenAI's reasoning models refuse max_tokens; litellm's xAI refuses the other one.
        parameter = "max_completion_tokens" if model.provider.name == "openai" else "max_tokens"
        entry["extra_params"] = {parameter: cap}
    return entry


def metadata_entry(model: Model) -> dict[str, Any]:
    """Return the model's entry in Aider's metadata file. Never empty: otherwise Aider downloads prices."""
    known = {
        "max_input_tokens": model.context,
        "max_output_tokens": model.max_output,
        "input_cost_per_token": model.price_in,
        "output_cost_per_token": model.price_out,
    }
    entry = {key: value for key, value in known.items() if value is not None}
    return {"litellm_provider": model.provider.agent_prefix, "mode": "chat"} | entry


def _split_model_name(name: str) -> tuple[Provider, str]:
    head, slash, upstream = name.partition("/")
    if not slash:
        hits = [provider for start, provider in BARE_NAMES.items() if name.startswith(start)]
        hits += [provider for provider in PROVIDERS if f"{provider}/{name}" in _model_rows()]
        head, upstream = hits[0] if hits else "", name
    provider = PROVIDERS.get(PREFIX_ALIASES.get(head, head))
    if provider and provider.name == "gemini":
        upstream = upstream.removeprefix("models/")
    if provider is None or not upstream:
        raise UnknownProvider(name)
    return provider, upstream


@cache
def _model_rows() -> dict[str, dict[str, Any]]:
    text = Path(__file__).with_name("models.json").read_text(encoding="utf-8")
    rows: dict[str, dict[str, Any]] = json.loads(text)["models"]
    return rows


def _long_prices(row: dict[str, Any]) -> LongPrices:
    return LongPrices(row["above"], row["input"], row["output"], row.get("cache_read"), row.get("cache_write"))
