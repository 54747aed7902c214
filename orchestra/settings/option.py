"""The facts about an option in the table of settings, its name as flag, variable and key, and checks of its value."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Any

from orchestra.errors import SettingsError
from orchestra.settings.values import parse_price

ADDRESS_START = re.compile(r"https?://[^/\s]+")

VARIABLE_PREFIX = "ORCHESTRA_"
Field = dataclasses.Field[Any]


class Power(StrEnum):
    """What an option can do. A committed settings file may set only options of some powers: see trust.py."""

    HARMLESS = "changes how the work is divided or shown"
    TESTS = "runs a command, as the repository's tests do"
    READS = "reads a file"
    SPENDS = "decides how much is spent"
    CHOOSES_MODEL = "chooses a model"
    WRITES = "writes outside the worktrees"
    RUNS = "changes how Aider or the client is called"
    SENDS = "sends to an address or an account"
    HANDS_OVER = "hands the result over"
    STEERS = "makes another run of it"
    CONSENTS = "allows all of this"


def define_option(
    default: Any,
    help: str,
    power: Power,
    *,
    group: str,
    recorded: bool,
    env: tuple[str, ...] = (),
    metavar: str = "",
    off: bool = False,
    zero: bool = False,
    choices: tuple[str, ...] = (),
    most: int = 0,
    check: Callable[[Any], None] | None = None,
    conflicts: tuple[str, ...] = (),
) -> Any:
    """Return a field with the facts about an option.

    `recorded`: whether `--replay` takes the value from the recording.
    `off`: the flag switches the option off. `zero`: the number may be 0.
    `choices`, `most` and `check`: the allowed values, besides the default.
    `conflicts`: the options that cannot be given together with it.
    """
    facts = {"help": help, "group": group, "env": env, "metavar": metavar, "off": off, "zero": zero, "power": power}
    facts |= {"recorded": recorded, "choices": choices, "most": most, "check": check, "conflicts": conflicts}
    return field(default=default, metadata=facts)


def flag_of(f: Field) -> str:
    """--no-prd for use_prd, --no-apply for apply, --max-agents for max_agents."""
    if f.metadata["off"]:
        return "--no-" + f.name.removeprefix("use_").replace("_", "-")
    return "--" + f.name.replace("_", "-")


def variables_of(f: Field) -> tuple[str, ...]:
    return (VARIABLE_PREFIX + f.name.upper(), *f.metadata["env"])


def key_of(f: Field) -> str:
    """The option's name in a settings file."""
    return key_of_name(f.name)


def key_of_name(name: str) -> str:
    return name.replace("_", "-")


def check_option(f: Field, value: Any) -> None:
    """Raise SettingsError for a value that the option does not allow. The default is always allowed."""
    choices, most, check = f.metadata["choices"], f.metadata["most"], f.metadata["check"]
    if value == f.default:
        return
    if choices and value not in choices:
        wanted = " or ".join(filter(None, (", ".join(choices[:-1]), choices[-1])))
        raise SettingsError(f"{option_label(f)} must be {wanted}, not {value!r}.")
    if most and value > most:
        raise SettingsError(f"{option_label(f)} must be at most {most}, not {value}.")
    if check:
        check(value)


def option_label(f: Field) -> str:
    """The option's name in messages: its well-known variable, if it has one besides ours, else its flag."""
    return str(next(iter(f.metadata["env"]), flag_of(f)))


def check_gate(entries: Sequence[str]) -> None:
    for entry in entries:
        if "=" not in entry or not entry.partition("=")[0].strip():
            raise SettingsError(f"--gate {entry!r}: write it as NAME=CMD.")


def check_gate_cache(entries: Sequence[str]) -> None:
    for entry in entries:
        name, sign, value = (part.strip() for part in entry.rpartition("="))
        if value not in ("on", "off") or bool(name) != bool(sign):
            raise SettingsError(f"--gate-cache {entry!r}: write on or off for all, NAME=on or NAME=off for one.")


def check_price(entries: Sequence[str]) -> None:
    for text in entries:
        parse_price(text, "--price")


def check_address(value: str) -> None:
    if not ADDRESS_START.match(value):
        raise SettingsError("--notify must be an address that begins with http:// or https://.")


def check_stdout(value: str) -> None:
    if value != "-":
        raise SettingsError(f"--events must be -, which is stdout, not {value!r}.")
