"""Checks of values, which the table of options refers to."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from orchestra.errors import SettingsError
from orchestra.settings.option import flag_of
from orchestra.settings.values import parse_price

ADDRESS_START = re.compile(r"https?://[^/\s]+")


def check_option(f: dataclasses.Field[Any], value: Any) -> None:
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


def option_label(f: dataclasses.Field[Any]) -> str:
    """The option's name in messages: its well-known variable, if it has one besides ours, else its flag."""
    return str(next(iter(f.metadata["env"]), flag_of(f)))


def check_gate(entries: Sequence[str]) -> None:
    for entry in entries:
        if "=" not in entry or not entry.partition("=")[0].strip():
            raise SettingsError(f"--gate {entry!r}: write it as NAME=CMD.")


def check_price(entries: Sequence[str]) -> None:
    for text in entries:
        parse_price(text, "--price")


def check_address(value: str) -> None:
    if not ADDRESS_START.match(value):
        raise SettingsError("--notify must be an address that begins with http:// or https://.")


def check_stdout(value: str) -> None:
    if value != "-":
        raise SettingsError(f"--events must be -, which is stdout, not {value!r}.")
