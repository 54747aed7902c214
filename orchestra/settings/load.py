"""Put the settings together: flags, environments, settings files, defaults, the strongest place first."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestra.errors import SettingsError
from orchestra.plan.roles import TABLE as ROLES
from orchestra.plan.roles import Role, parse_roles
from orchestra.settings.checks import check_option
from orchestra.settings.option import PREFIX, flag, key_of, variables_of
from orchestra.settings.settings import PLACES, RIVALS, Settings, options
from orchestra.settings.values import PRICES, parse, parse_prices, split

Environment = tuple[str, Mapping[str, str]]


@dataclass(frozen=True)
class SettingsFile:
    """A settings file as it was read: what it is called, and its table."""

    place: str = ""
    table: Mapping[str, Any] = field(default_factory=dict)


def load(flags: Mapping[str, Any], environments: Sequence[Environment], files: Sequence[SettingsFile] = ()) -> Settings:
    """Flags, then the environments in their order (the process's own, then .env files), the files, the defaults."""
    files = [with_gates(file) for file in files]
    for file in files:
        check_keys(file)
    check_variables(environments)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for f in options():
        values[f.name], sources[f.name] = pick(f, flags, environments, files)
    settle_rivals(values, sources, [*PLACES, *(file.place for file in files)])
    check_values(values)
    # However it was given, it is the Google key, with its place, so that no base URL from elsewhere gets it.
    google = (sources["api_key"], {"GOOGLE_API_KEY": values["api_key"]})
    prices: dict[str, tuple[float, float]] = {}
    roles: dict[str, Role] = {}
    for file in reversed(files):
        prices |= parse_prices(file.place, file.table)
        own = parse_roles(file.place, file.table)
        roles |= own
        sources |= dict.fromkeys((f"{ROLES}.{name}" for name in own), file.place)
    return Settings(**values, prices=prices, roles=roles, sources=sources, variables=merged([google, *environments]))


def check_values(values: Mapping[str, Any]) -> None:
    for f in options():
        check_option(f, values[f.name])
    for entry in values["gate"]:
        if values["critic"] and entry.partition("=")[0].strip() == "critic":
            raise SettingsError(f"--gate {entry!r}: with --critic, that name is taken.")


def merged(environments: Sequence[Environment]) -> dict[str, tuple[str, str]]:
    """Each variable's value from the strongest place, with that place. A weaker one is kept under a name that nobody
    asks for, because a key that does not count is still a key that must not be seen."""
    found: dict[str, tuple[str, str]] = {}
    for source, env in environments:
        for name, value in env.items():
            if value.strip():
                found[f"{name} of the {source}" if name in found else name] = (value.strip(), source)
    return found


def pick(
    f: dataclasses.Field[Any],
    flags: Mapping[str, Any],
    environments: Sequence[Environment],
    files: Sequence[SettingsFile],
) -> tuple[Any, str]:
    if flags.get(f.name) is not None:
        return parse(f, flags[f.name], flag(f)), "flag"
    for source, env in environments:
        for name in variables_of(f):
            if env.get(name, "").strip():
                words: Any = env[name].strip()
                return parse(f, split(words, name) if f.default == () else words, name), f"{source} {name}"
    for file in files:
        if key_of(f) in file.table:
            return parse(f, file.table[key_of(f)], f"{key_of(f)} in {file.place}"), file.place
    return f.default, "default"


def settle_rivals(values: dict[str, Any], sources: dict[str, str], places: Sequence[str]) -> None:
    """Of two settings that exclude each other the one from the stronger place counts; both from one are an error."""
    table = {f.name: f for f in options()}

    def rank_of(name: str) -> int:
        return next((n for n, place in enumerate(places) if sources[name].startswith(place)), len(places))

    for pair in RIVALS:
        given = [name for name in pair if values[name] != table[name].default]
        strong, *weak = sorted(given, key=rank_of) or [""]
        if weak and rank_of(strong) == rank_of(weak[0]):
            raise SettingsError(f"{flag(table[pair[0]])} and {flag(table[pair[1]])} exclude each other.")
        for name in weak:
            values[name], sources[name] = table[name].default, "default"


def with_gates(file: SettingsFile) -> SettingsFile:
    """A settings file's [gates] table, each entry as --gate would have it; `name = false` leaves a found one out."""
    gates = file.table.get("gates", {})
    if not isinstance(gates, dict):
        raise SettingsError(f"gates in {file.place} is not a table.")
    for name, command in gates.items():
        if not (isinstance(command, str) or command is False):
            raise SettingsError(f"{name} under gates in {file.place} must be a command, or false.")
    entries = [f"{name}={command or ''}" for name, command in gates.items()]
    rest = {name: value for name, value in file.table.items() if name != "gates"}
    given = rest.get("gate", [])
    given = given if isinstance(given, list) else [given]
    return SettingsFile(file.place, rest | ({"gate": [*given, *entries]} if entries else {}))


def check_keys(file: SettingsFile) -> None:
    known = [*(key_of(f) for f in options()), PRICES, ROLES]
    for name in file.table:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else "`config show` lists the settings."
            raise SettingsError(f"unknown setting {name!r} in {file.place}: {hint}")


def check_variables(environments: Sequence[Environment]) -> None:
    """A slip in one of our variables. What is not even near to one may be somebody else's."""
    known = [PREFIX + f.name.upper() for f in options()]
    for source, env in environments:
        for name in env:
            near = difflib.get_close_matches(name, known, 1, 0.85) if name.startswith(PREFIX) else []
            if near and name not in known:
                raise SettingsError(f"unknown variable {name} in the {source}: did you mean {near[0]}?")
