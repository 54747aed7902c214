"""Merge the settings from flags, environments, settings files and defaults, in this order of precedence."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestra.errors import SettingsError
from orchestra.plan.roles import TABLE as ROLES
from orchestra.plan.roles import Role, parse_roles
from orchestra.settings.option import VARIABLE_PREFIX, Field, check_option, flag_of, key_of, variables_of
from orchestra.settings.other_tools import resolve_store
from orchestra.settings.settings import CONFLICTING_OPTIONS, SOURCE_ORDER, Settings, option_fields, source_rank
from orchestra.settings.values import PRICES_TABLE, parse_option, parse_prices, split_words

Environment = tuple[str, Mapping[str, str]]


@dataclass(frozen=True)
class SettingsFile:
    """The content of a settings file, and the file's name in messages."""

    origin: str = ""
    table: Mapping[str, Any] = field(default_factory=dict)


def load_settings(
    flags: Mapping[str, Any], environments: Sequence[Environment], files: Sequence[SettingsFile] = ()
) -> Settings:
    """Merge flags, the environments in order (that of the process, then .env files), the files, and the defaults."""
    files = [with_gate_entries(file) for file in files]
    for file in files:
        check_keys(file)
    check_variables(environments)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for f in option_fields():
        values[f.name], sources[f.name] = pick_value(f, flags, environments, files)
    resolve_conflicts(values, sources, (*SOURCE_ORDER, *(file.origin for file in files)))
    for f in option_fields():
        check_option(f, values[f.name])
    for entry in values["gate"]:
        if values["critic"] and entry.partition("=")[0].strip() == "critic":
            raise SettingsError(f"--gate {entry!r}: with --critic, that name is taken.")
    # The Google key keeps its source, whatever that is, so that no base URL of another source gets it.
    google = (sources["api_key"], {"GOOGLE_API_KEY": values["api_key"]})
    variables = merge_variables([google, *environments])
    values["store"] = resolve_store(values["store"], variables)
    prices: dict[str, tuple[float, float]] = {}
    roles: dict[str, Role] = {}
    for file in reversed(files):
        prices |= parse_prices(file.origin, file.table)
        file_roles = parse_roles(file.origin, file.table)
        roles |= file_roles
        sources |= dict.fromkeys((f"{ROLES}.{name}" for name in file_roles), file.origin)
    return Settings(**values, prices=prices, roles=roles, sources=sources, variables=variables)


def merge_variables(environments: Sequence[Environment]) -> dict[str, tuple[str, str]]:
    """Each variable's value from the strongest source, with that source. A weaker value is kept under an unused name,
    because an unused key must be redacted too."""
    variables: dict[str, tuple[str, str]] = {}
    for source, env in environments:
        for name, value in env.items():
            if value.strip():
                variables[f"{name} of the {source}" if name in variables else name] = (value.strip(), source)
    return variables


def pick_value(
    f: Field, flags: Mapping[str, Any], environments: Sequence[Environment], files: Sequence[SettingsFile]
) -> tuple[Any, str]:
    if flags.get(f.name) is not None:
        return parse_option(f, flags[f.name], flag_of(f)), "flag"
    for source, env in environments:
        for name in variables_of(f):
            if env.get(name, "").strip():
                text = env[name].strip()
                return parse_option(f, split_words(text, name) if f.default == () else text, name), f"{source} {name}"
    for file in files:
        if key_of(f) in file.table:
            return parse_option(f, file.table[key_of(f)], f"{key_of(f)} in {file.origin}"), file.origin
    return f.default, "default"


def resolve_conflicts(values: dict[str, Any], sources: dict[str, str], source_order: Sequence[str]) -> None:
    """Of two conflicting settings, the one from the stronger source counts; both from one source are an error."""
    table = {f.name: f for f in option_fields()}
    for pair in CONFLICTING_OPTIONS:
        ranks = {name: source_rank(sources[name], source_order) for name in pair if values[name] != table[name].default}
        strong, *weak = sorted(ranks, key=lambda name: ranks[name]) or [""]
        if weak and ranks[strong] == ranks[weak[0]]:
            raise SettingsError(f"{flag_of(table[pair[0]])} and {flag_of(table[pair[1]])} exclude each other.")
        for name in weak:
            values[name], sources[name] = table[name].default, "default"


def with_gate_entries(file: SettingsFile) -> SettingsFile:
    """The file with its [gates] table as `gate` entries. `name = false` excludes a detected gate. A gate's own table,
    [gates.NAME], has `command` and `cache`, of which the latter becomes an entry of `gate-cache`."""
    gates = file.table.get("gates", {})
    if not isinstance(gates, dict):
        raise SettingsError(f"gates in {file.origin} is not a table.")
    commands, caches = list[str](), list[str]()
    for name, gate in gates.items():
        table = gate if isinstance(gate, dict) else {"command": gate}
        check_gate_table(name, table, file.origin)
        commands += [f"{name}={table['command'] or ''}"] if "command" in table else []
        caches += [f"{name}={'on' if table['cache'] else 'off'}"] if "cache" in table else []
    rest = {name: value for name, value in file.table.items() if name != "gates"}
    for key, entries in (("gate", commands), ("gate-cache", caches)):
        if entries:
            others = rest.get(key, [])
            rest[key] = [*(others if isinstance(others, list) else [others]), *entries]
    return SettingsFile(file.origin, rest)


def check_gate_table(name: str, table: Mapping[str, Any], origin: str) -> None:
    command, cache = table.get("command", ""), table.get("cache", False)
    if not (isinstance(command, str) or command is False):
        raise SettingsError(f"{name} under gates in {origin} must be a command, or false.")
    if not isinstance(cache, bool) or not table.keys() <= {"command", "cache"}:
        raise SettingsError(f"[gates.{name}] in {origin} may have a command, and cache = true or false.")


def check_keys(file: SettingsFile) -> None:
    known = [*(key_of(f) for f in option_fields()), PRICES_TABLE, ROLES]
    for name in file.table:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else "`config show` lists the settings."
            raise SettingsError(f"unknown setting {name!r} in {file.origin}: {hint}")


def check_variables(environments: Sequence[Environment]) -> None:
    """Refuse a misspelt variable of ours. One that resembles none may be another program's."""
    known = [VARIABLE_PREFIX + f.name.upper() for f in option_fields()]
    for source, env in environments:
        for name in env:
            near = difflib.get_close_matches(name, known, 1, 0.85) if name.startswith(VARIABLE_PREFIX) else []
            if near and name not in known:
                raise SettingsError(f"unknown variable {name} in the {source}: did you mean {near[0]}?")
