"""Put the settings together: flags, environments, settings files, defaults, the strongest place first."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestra.errors import SettingsError
from orchestra.plan.roles import TABLE as ROLES
from orchestra.plan.roles import Role, parse_roles
from orchestra.settings.option import VARIABLE_PREFIX, flag_of, key_of, variables_of
from orchestra.settings.option_checks import check_option
from orchestra.settings.settings import CONFLICTING_OPTIONS, SOURCE_ORDER, Settings, option_fields
from orchestra.settings.values import PRICES_TABLE, parse_option, parse_prices, split_words

Environment = tuple[str, Mapping[str, str]]


@dataclass(frozen=True)
class SettingsFile:
    """A settings file as it was read: what it is called, and its table."""

    origin: str = ""
    table: Mapping[str, Any] = field(default_factory=dict)


def load_settings(
    flags: Mapping[str, Any], environments: Sequence[Environment], files: Sequence[SettingsFile] = ()
) -> Settings:
    """Flags, then the environments in their order (the process's own, then .env files), the files, the defaults."""
    files = [with_gate_entries(file) for file in files]
    for file in files:
        check_keys(file)
    check_variables(environments)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for f in option_fields():
        values[f.name], sources[f.name] = pick_value(f, flags, environments, files)
    resolve_conflicts(values, sources, [*SOURCE_ORDER, *(file.origin for file in files)])
    check_values(values)
    # However it was given, it is the Google key, with its place, so that no base URL from elsewhere gets it.
    google = (sources["api_key"], {"GOOGLE_API_KEY": values["api_key"]})
    prices: dict[str, tuple[float, float]] = {}
    roles: dict[str, Role] = {}
    for file in reversed(files):
        prices |= parse_prices(file.origin, file.table)
        own = parse_roles(file.origin, file.table)
        roles |= own
        sources |= dict.fromkeys((f"{ROLES}.{name}" for name in own), file.origin)
    return Settings(
        **values, prices=prices, roles=roles, sources=sources, variables=merge_variables([google, *environments])
    )


def check_values(values: Mapping[str, Any]) -> None:
    for f in option_fields():
        check_option(f, values[f.name])
    for entry in values["gate"]:
        if values["critic"] and entry.partition("=")[0].strip() == "critic":
            raise SettingsError(f"--gate {entry!r}: with --critic, that name is taken.")


def merge_variables(environments: Sequence[Environment]) -> dict[str, tuple[str, str]]:
    """Each variable's value from the strongest place, with that place. A weaker one is kept under a name that nobody
    asks for, because a key that does not count is still a key that must not be seen."""
    found: dict[str, tuple[str, str]] = {}
    for source, env in environments:
        for name, value in env.items():
            if value.strip():
                found[f"{name} of the {source}" if name in found else name] = (value.strip(), source)
    return found


def pick_value(
    f: dataclasses.Field[Any],
    flags: Mapping[str, Any],
    environments: Sequence[Environment],
    files: Sequence[SettingsFile],
) -> tuple[Any, str]:
    if flags.get(f.name) is not None:
        return parse_option(f, flags[f.name], flag_of(f)), "flag"
    for source, env in environments:
        for name in variables_of(f):
            if env.get(name, "").strip():
                words: Any = env[name].strip()
                return parse_option(f, split_words(words, name) if f.default == () else words, name), f"{source} {name}"
    for file in files:
        if key_of(f) in file.table:
            return parse_option(f, file.table[key_of(f)], f"{key_of(f)} in {file.origin}"), file.origin
    return f.default, "default"


def resolve_conflicts(values: dict[str, Any], sources: dict[str, str], source_order: Sequence[str]) -> None:
    """Of two settings that exclude each other the one from the stronger place counts; both from one are an error."""
    table = {f.name: f for f in option_fields()}

    def rank_of(name: str) -> int:
        return next((n for n, place in enumerate(source_order) if sources[name].startswith(place)), len(source_order))

    for pair in CONFLICTING_OPTIONS:
        given = [name for name in pair if values[name] != table[name].default]
        strong, *weak = sorted(given, key=rank_of) or [""]
        if weak and rank_of(strong) == rank_of(weak[0]):
            raise SettingsError(f"{flag_of(table[pair[0]])} and {flag_of(table[pair[1]])} exclude each other.")
        for name in weak:
            values[name], sources[name] = table[name].default, "default"


def with_gate_entries(file: SettingsFile) -> SettingsFile:
    """A settings file's [gates] table, each entry as --gate would have it; `name = false` leaves a found one out."""
    gates = file.table.get("gates", {})
    if not isinstance(gates, dict):
        raise SettingsError(f"gates in {file.origin} is not a table.")
    for name, command in gates.items():
        if not (isinstance(command, str) or command is False):
            raise SettingsError(f"{name} under gates in {file.origin} must be a command, or false.")
    entries = [f"{name}={command or ''}" for name, command in gates.items()]
    rest = {name: value for name, value in file.table.items() if name != "gates"}
    given = rest.get("gate", [])
    given = given if isinstance(given, list) else [given]
    return SettingsFile(file.origin, rest | ({"gate": [*given, *entries]} if entries else {}))


def check_keys(file: SettingsFile) -> None:
    known = [*(key_of(f) for f in option_fields()), PRICES_TABLE, ROLES]
    for name in file.table:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else "`config show` lists the settings."
            raise SettingsError(f"unknown setting {name!r} in {file.origin}: {hint}")


def check_variables(environments: Sequence[Environment]) -> None:
    """A slip in one of our variables. What is not even near to one may be somebody else's."""
    known = [VARIABLE_PREFIX + f.name.upper() for f in option_fields()]
    for source, env in environments:
        for name in env:
            near = difflib.get_close_matches(name, known, 1, 0.85) if name.startswith(VARIABLE_PREFIX) else []
            if near and name not in known:
                raise SettingsError(f"unknown variable {name} in the {source}: did you mean {near[0]}?")
