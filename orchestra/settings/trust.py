"""The settings that a committed file may set without consent. Anyone who can commit may have written it.

It may divide the work, name checks (they run like the repository's tests), read tracked files, spend less than the
default, and raise a price. Everything else needs the user's consent: `aider-orchestrator trust`, or --trust-repo.
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
from orchestra.settings.option import Field, Power, key_of, key_of_name
from orchestra.settings.settings import CommittedFile, Settings, option_fields, with_conflicting
from orchestra.settings.values import PRICES_TABLE, parse_option, parse_price, parse_prices

# Whether a path in the file is a regular file that git tracks.
IsTracked = Callable[[str], bool]
MODEL_OPTIONS = ("model", "claude", "claude_model")
ALLOWED_POWERS = (Power.HARMLESS, Power.TESTS)
PLANS_FOLDER = ".aider_logs/plans"  # of plans that are given by name
NOT_TRACKED = "it is not a file that git tracks here"


def screen_file(file: SettingsFile, base: Settings, is_tracked: IsTracked) -> tuple[SettingsFile, CommittedFile]:
    """The part of a committed file that is used. `base`: the settings without that file."""
    file = with_gate_entries(file)
    table = {name: value for name, value in file.table.items() if name not in overridden_keys(base)}
    refused: dict[str, str] = {}
    for f in option_fields():
        if key_of(f) in table and (why := find_objection(f, table[key_of(f)], file.origin, is_tracked)):
            refused[key_of(f)] = why
            del table[key_of(f)]
    refused |= screen_gate_cache(table)
    models = [*screen_models(table, base), *screen_roles(table, base, is_tracked, refused)]
    why = "it chooses another provider, or a model that costs more or has no known price"
    refused |= dict.fromkeys(models, why)
    refused |= screen_prices(table, file.origin, base)
    used = {name: value for name, value in table.items() if name not in (PRICES_TABLE, ROLES) or value}
    needed = tuple(name for name in models if is_model_asked(name, table, base))
    return SettingsFile(file.origin, table), CommittedFile(file.origin, used, refused, needed)


def screen_gate_cache(table: dict[str, Any]) -> dict[str, str]:
    """Remove from the table what vouches for a check: only `off` makes the verdict no weaker. Return the objection."""
    given = table.get("gate-cache", [])
    entries = given if isinstance(given, list) else [given]
    kept = [entry for entry in entries if str(entry).rpartition("=")[2].strip() != "on"]
    if len(kept) == len(entries):
        return {}
    table |= {"gate-cache": kept}
    if not kept:
        del table["gate-cache"]
    return {"gate-cache": "only you can vouch that a check depends on nothing but its tree"}


def overridden_keys(base: Settings) -> set[str]:
    """The keys of the settings that the user gave, and of those that conflict with them."""
    names = with_conflicting(f.name for f in option_fields() if base.source_of(f.name) != "default")
    return set(map(key_of_name, names))


def find_objection(f: Field, value: Any, place: str, is_tracked: IsTracked) -> str:
    """Why an option may not be set; empty if it may. Models and prices are checked apart."""
    power = f.metadata["power"]
    if power == Power.READS:
        return "" if all(map(is_tracked, paths_in(f, value))) else NOT_TRACKED
    if f.name == "price" or power in (*ALLOWED_POWERS, Power.CHOOSES_MODEL):
        return ""
    if power == Power.SPENDS:
        spent = parse_option(f, value, f"{key_of(f)} in {place}")
        # A default of 0 is no limit, so any number is allowed.
        no_more = spent is False if isinstance(f.default, bool) else f.default == 0 or spent <= f.default
        return "" if no_more else "it spends more than the default"
    return "only you can allow this" if power == Power.CONSENTS else f"it {power}"


def paths_in(f: Field, value: Any) -> list[str]:
    """The files that a setting names. A change names one if it begins with @ or is -, for stdin."""
    words = [str(word) for word in (value if isinstance(value, list | tuple) else [value])]
    if f.name == "change":
        return [word.removeprefix("@") for word in words if word.startswith("@") or word == "-"]
    return words


def files_named_in(table: Mapping[str, Any]) -> list[str]:
    """All files that a settings file names, by option or role. Consent to the settings file covers them."""
    reading = [f for f in option_fields() if f.metadata["power"] == Power.READS or f.name == "replay"]
    paths = [path for f in reading if key_of(f) in table for path in paths_in(f, table[key_of(f)])]
    paths += [f"{PLANS_FOLDER}/{table['plan']}.toml"] if isinstance(table.get("plan"), str) else []
    roles = table.get(ROLES)
    records = roles.values() if isinstance(roles, Mapping) else ()
    return paths + [str(role["prompt-file"]) for role in records if isinstance(role, Mapping) and "prompt-file" in role]


def trust_digest(file: SettingsFile, contents: Iterable[tuple[str, str]]) -> str:
    """A digest of the file's content, and of the files that it names (path, digest of the content)."""
    text = json.dumps([file.origin, file.table, sorted(contents)], sort_keys=True, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def screen_models(table: dict[str, Any], base: Settings) -> Iterator[str]:
    """Remove from the table, and return, the keys that choose a dearer or unknown model."""
    options = {name: table[key_of_name(name)] for name in MODEL_OPTIONS if key_of_name(name) in table}
    chosen = dataclasses.replace(base, **parse_options(options))
    if not is_no_dearer(chosen.model_name, base.model_name, base):
        yield from remove_keys(table, options)
    if "gemini-model" in table:
        chosen = dataclasses.replace(base, **parse_options({"gemini_model": table["gemini-model"]}))
        if not is_no_dearer(chosen.gemini_name, base.gemini_name, base):
            yield from remove_keys(table, ["gemini_model"])
    if "critic-model" in table and not is_no_dearer(str(table["critic-model"]), base.gemini_name, base):
        yield from remove_keys(table, ["critic_model"])


def screen_roles(table: dict[str, Any], base: Settings, is_tracked: IsTracked, refused: dict[str, str]) -> list[str]:
    """Remove refused models and prompt files from roles. A role of the file without its prompt is removed."""
    roles, models = table.get(ROLES), []
    if not isinstance(roles, Mapping):
        return []
    allowed: dict[str, Any] = {}
    for name, role in roles.items():
        if not isinstance(role, Mapping) or name in base.roles:
            allowed |= {} if name in base.roles else {name: role}
            continue
        rest = dict(role)
        if "prompt-file" in rest and not is_tracked(str(rest["prompt-file"])):
            refused[f"{ROLES}.{name}.prompt-file"] = NOT_TRACKED
            del rest["prompt-file"]
        if "model" in rest and not is_no_dearer(str(rest["model"]), base.model_name, base):
            models.append(f"{ROLES}.{name}.model")
            del rest["model"]
        if rest.get("kind", "aider") != "aider":
            refused[f"{ROLES}.{name}.kind"] = "it chooses another program as the agent"
            del rest["kind"]
        if rest and (name in packaged_roles() or "prompt-file" not in role or "prompt-file" in rest):
            allowed[name] = rest
    table[ROLES] = allowed
    return models


def is_model_asked(name: str, table: Mapping[str, Any], base: Settings) -> bool:
    """Whether the run would use the model of this setting."""
    prd = base.prd or table.get("prd")
    plans = (base.use_prd and table.get("use-prd") is not False and not prd) or base.decompose
    if name == "gemini-model":
        return bool(plans or (base.critic and not base.critic_model))
    return base.critic if name == "critic-model" else name != "claude-model" or base.claude


def is_no_dearer(name: str, usual: str, base: Settings) -> bool:
    """Whether it is the usual model, or a known model of the same provider at no higher price."""
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
    """The model with the user's price for it, if there is one."""
    for name, pair in base.known_prices.items():
        if (known := resolve_or_none(name or base.model_name)) and known.name == model.name:
            model = catalogue.with_prices(model, *pair)
    return model


def dearest_rates(model: catalogue.Model) -> tuple[float, float] | None:
    """The highest prices of a token in and out: fresh, written to a cache, in a long prompt."""
    if model.price_in is None or model.price_out is None:
        return None
    long = model.long
    into = [model.price_in, model.price_cache_write, *((long.price_in, long.price_cache_write) if long else ())]
    return max(rate for rate in into if rate is not None), max(model.price_out, long.price_out if long else 0.0)


def screen_prices(table: dict[str, Any], place: str, base: Settings) -> dict[str, str]:
    """Remove from the table what makes a model look cheaper than it is, or prices one without a known price."""
    refused: dict[str, str] = {}
    users = {known.name for name in base.known_prices if (known := resolve_or_none(name or base.model_name))}

    def is_allowed_price(shown: str, name: str, pair: tuple[float, float]) -> bool:
        model = resolve_or_none(name or base.model_name)
        most = dearest_rates(model) if model else None  # a price applies to all tokens alike
        if most is None or pair[0] / 1e6 < most[0] or pair[1] / 1e6 < most[1]:
            refused[shown] = "it does not raise a known price"
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


def parse_options(options: Mapping[str, Any]) -> dict[str, Any]:
    return {f.name: parse_option(f, options[f.name], key_of(f)) for f in option_fields() if f.name in options}


def remove_keys(table: dict[str, Any], names: Iterable[str]) -> Sequence[str]:
    keys = [key_of_name(name) for name in names]
    for key in keys:
        table.pop(key, None)
    return keys
