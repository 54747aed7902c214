"""What a settings file that git tracks may set by itself. Whoever can commit may have written it.

It may divide the work, name checks (they run as the repository's own tests do), read tracked files, spend less than the
default, and raise a price. All else needs the user's consent: `aider-orchestrator trust`, or --trust-repo.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from orchestra.plan.roles import TABLE as ROLES
from orchestra.plan.roles import packaged_roles
from orchestra.providers import catalogue
from orchestra.settings.load import SettingsFile, with_gate_entries
from orchestra.settings.option import Power, key_of
from orchestra.settings.settings import CONFLICTING_OPTIONS, CommittedFile, Settings, option_fields
from orchestra.settings.values import PRICES_TABLE, parse_option, parse_price, parse_prices

# Whether a path, as it stands in the file, is that of a regular file that git tracks.
IsTracked = Callable[[str], bool]
Field = dataclasses.Field[Any]
MODEL_OPTIONS = ("model", "claude", "claude_model")
ALLOWED_POWERS = (Power.HARMLESS, Power.TESTS)
PLANS_FOLDER = ".aider_logs/plans"  # where a plan lies that is called by its name
NOT_TRACKED = "it is no file that git tracks here"
NEVER_ALLOWED = "only you can say so"
ANOTHER_MODEL = "it chooses another provider, or a model that costs more or has no known price"
LOWER_PRICE = "it does not raise a known price"
SPENDS_MORE = "it spends more than the default"


def screen_file(file: SettingsFile, base: Settings, is_tracked: IsTracked) -> tuple[SettingsFile, CommittedFile]:
    """The part of a committed file that may be obeyed. `base` is what the user has said without it."""
    file = with_gate_entries(file)
    table = {name: value for name, value in file.table.items() if name not in overridden_keys(base)}
    refused: dict[str, str] = {}
    for f in option_fields():
        if key_of(f) in table and (why := find_objection(f, table[key_of(f)], file.origin, is_tracked)):
            refused[key_of(f)] = why
            del table[key_of(f)]
    models = [*screen_models(table, base), *screen_roles(table, base, is_tracked, refused)]
    refused |= dict.fromkeys(models, ANOTHER_MODEL)
    refused |= screen_prices(table, file.origin, base)
    used = {name: value for name, value in table.items() if name not in (PRICES_TABLE, ROLES) or value}
    needed = tuple(name for name in models if is_model_asked(name, table, base))
    return SettingsFile(file.origin, table), CommittedFile(file.origin, used, refused, needed)


def overridden_keys(base: Settings) -> set[str]:
    """The keys of the settings that the user has given, and of those that these exclude."""
    given = {f.name for f in option_fields() if base.source_of(f.name) != "default"}
    given |= {rival for pair in CONFLICTING_OPTIONS if given & set(pair) for rival in pair}
    return {key_of(f) for f in option_fields() if f.name in given}


def find_objection(f: Field, value: Any, place: str, is_tracked: IsTracked) -> str:
    """Why an option may not be set, or nothing. Models and prices are looked at by themselves."""
    power = f.metadata["power"]
    if power == Power.READS:
        return "" if all(map(is_tracked, paths_in(f, value))) else NOT_TRACKED
    if f.name == "price" or power in (*ALLOWED_POWERS, Power.CHOOSES_MODEL):
        return ""
    if power == Power.SPENDS:
        return "" if spends_no_more(f, parse_option(f, value, f"{key_of(f)} in {place}")) else SPENDS_MORE
    return NEVER_ALLOWED if power == Power.CONSENTS else f"it {power}"


def spends_no_more(f: Field, value: Any) -> bool:
    """Than the default. 0 as a default is no limit, so that any number is one."""
    return value is False if isinstance(f.default, bool) else f.default == 0 or value <= f.default


def paths_in(f: Field, value: Any) -> list[str]:
    """The files that a setting names. A change is a text, unless it begins with @, or is to be read from stdin."""
    words = [str(word) for word in (value if isinstance(value, list | tuple) else [value])]
    if f.name == "change":
        return [word.removeprefix("@") for word in words if word.startswith("@") or word == "-"]
    return words


def files_named_in(table: Mapping[str, Any]) -> list[str]:
    """All files that a settings file names, by option or by role: consent to the one is consent to the others."""
    reading = [f for f in option_fields() if f.metadata["power"] == Power.READS or f.name == "replay"]
    found = [path for f in reading if key_of(f) in table for path in paths_in(f, table[key_of(f)])]
    found += [f"{PLANS_FOLDER}/{table['plan']}.toml"] if isinstance(table.get("plan"), str) else []
    roles = table.get(ROLES)
    records = roles.values() if isinstance(roles, Mapping) else ()
    return found + [str(role["prompt-file"]) for role in records if isinstance(role, Mapping) and "prompt-file" in role]


def trust_digest(file: SettingsFile, contents: Iterable[tuple[str, str]]) -> str:
    """Of what is in the file, and of the files that it names (path, digest of the content)."""
    text = json.dumps([file.origin, file.table, sorted(contents)], sort_keys=True, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# --- models ---------------------------------------------------------------------------------------------------------


def screen_models(table: dict[str, Any], base: Settings) -> Iterator[str]:
    """Take out of the table, and return, what chooses a model that the run would not ask by itself."""
    given = {name: table[key_of_name(name)] for name in MODEL_OPTIONS if key_of_name(name) in table}
    chosen = dataclasses.replace(base, **parse_options(given))
    if not is_no_dearer(chosen.model_name, base.model_name, base):
        yield from remove_keys(table, given)
    if "gemini-model" in table:
        chosen = dataclasses.replace(base, **parse_options({"gemini_model": table["gemini-model"]}))
        if not is_no_dearer(chosen.gemini_name, base.gemini_name, base):
            yield from remove_keys(table, ["gemini_model"])
    if "critic-model" in table:
        name = str(table["critic-model"])
        if not is_no_dearer(name, base.gemini_name, base):
            yield from remove_keys(table, ["critic_model"])


def screen_roles(table: dict[str, Any], base: Settings, is_tracked: IsTracked, refused: dict[str, str]) -> list[str]:
    """Take a refused model or prompt-file out of its role. A role of their own that has lost its prompt goes whole."""
    roles, models = table.get(ROLES), []
    if not isinstance(roles, Mapping):
        return []
    kept: dict[str, Any] = {}
    for name, role in roles.items():
        if not isinstance(role, Mapping) or name in base.roles:
            kept |= {} if name in base.roles else {name: role}
            continue
        rest = dict(role)
        if "prompt-file" in rest and not is_tracked(str(rest["prompt-file"])):
            refused[f"{ROLES}.{name}.prompt-file"] = NOT_TRACKED
            del rest["prompt-file"]
        if "model" in rest and not is_no_dearer(str(rest["model"]), base.model_name, base):
            models.append(f"{ROLES}.{name}.model")
            del rest["model"]
        if rest and (name in packaged_roles() or "prompt-file" not in role or "prompt-file" in rest):
            kept[name] = rest
    table[ROLES] = kept
    return models


def is_model_asked(name: str, table: Mapping[str, Any], base: Settings) -> bool:
    """Whether the run would have asked the model that this setting names."""
    prd = base.prd or table.get("prd")
    plans = (base.use_prd and table.get("use-prd") is not False and not prd) or base.decompose
    if name == "gemini-model":
        return bool(plans or (base.critic and not base.critic_model))
    return base.critic if name == "critic-model" else name != "claude-model" or base.claude


def is_no_dearer(name: str, usual: str, base: Settings) -> bool:
    """Whether it is the usual model, or one of the catalogue from the same provider at no higher price."""
    new, old = resolve_or_none(name), resolve_or_none(usual)
    if new is None or old is None:
        return name == usual
    new, old = with_user_price(new, base), with_user_price(old, base)
    most = dearest_rates(new)
    if new.name == old.name:
        return True
    if not (most and new.known and new.provider == old.provider) or old.price_in is None or old.price_out is None:
        return False
    return most[0] <= old.price_in and most[1] <= old.price_out


def resolve_or_none(name: str) -> catalogue.Model | None:
    try:
        return catalogue.resolve_model(name)
    except catalogue.UnknownProvider:
        return None


def with_user_price(model: catalogue.Model, base: Settings) -> catalogue.Model:
    """The model at the user's price for it, if they have named one."""
    for name, pair in base.known_prices.items():
        if (known := resolve_or_none(name or base.model_name)) and known.name == model.name:
            model = catalogue.with_prices(model, *pair)
    return model


def dearest_rates(model: catalogue.Model) -> tuple[float, float] | None:
    """The most that a token of its prompt and of its reply can cost: fresh, written to a cache, in a long prompt."""
    if model.price_in is None or model.price_out is None:
        return None
    long = model.long
    into = [model.price_in, model.price_cache_write, *((long.price_in, long.price_cache_write) if long else ())]
    return max(rate for rate in into if rate is not None), max(model.price_out, long.price_out if long else 0.0)


# --- prices ---------------------------------------------------------------------------------------------------------


def screen_prices(table: dict[str, Any], place: str, base: Settings) -> dict[str, str]:
    """Take out of the table what would make a model look cheaper than it is, or give a price to one that has none."""
    refused: dict[str, str] = {}
    users = {known.name for name in base.known_prices if (known := resolve_or_none(name or base.model_name))}

    def is_allowed_price(shown: str, name: str, pair: tuple[float, float]) -> bool:
        model = resolve_or_none(name or base.model_name)
        if model is None or not raises_price(model, pair):
            refused[shown] = LOWER_PRICE
        return shown not in refused and model is not None and model.name not in users

    if PRICES_TABLE in table:
        pairs = parse_prices(place, table)
        table[PRICES_TABLE] = {
            name: pair for name, pair in pairs.items() if is_allowed_price(f'{PRICES_TABLE}."{name}"', name, pair)
        }
    if "price" in table:
        entries = table["price"] if isinstance(table["price"], list) else [table["price"]]
        table["price"] = [
            text for text in entries if is_allowed_price(f"price {text}", *parse_price(str(text), "price"))
        ]
    return refused


def raises_price(model: catalogue.Model, pair: tuple[float, float]) -> bool:
    """A price of one's own is for all tokens alike, so it must not be below the dearest ones."""
    most = dearest_rates(model)
    return most is not None and pair[0] / 1e6 >= most[0] and pair[1] / 1e6 >= most[1]


# --- small things ---------------------------------------------------------------------------------------------------


def parse_options(given: Mapping[str, Any]) -> dict[str, Any]:
    return {f.name: parse_option(f, given[f.name], key_of(f)) for f in option_fields() if f.name in given}


def key_of_name(name: str) -> str:
    return name.replace("_", "-")


def remove_keys(table: dict[str, Any], names: Iterable[str]) -> Sequence[str]:
    keys = [key_of_name(name) for name in names]
    for key in keys:
        table.pop(key, None)
    return keys
