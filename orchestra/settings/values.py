"""Parse the text of a flag, a variable or a settings file into a value of the option's type."""

import dataclasses
import math
import re
import shlex
from collections.abc import Mapping
from typing import Any

from orchestra.errors import SettingsError

PRICES_TABLE = "prices"
TIME_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
TRUE_WORDS, FALSE_WORDS = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def split_words(words: str, origin: str) -> list[str]:
    """The words of a variable, split as a shell does."""
    try:
        return shlex.split(words)
    except ValueError as error:
        raise SettingsError(f"{origin}: {str(error).lower()} in {words!r}.") from None


def parse_option(f: dataclasses.Field[Any], value: Any, origin: str) -> Any:
    kind: type = type(f.default)
    if kind is bool:
        return parse_bool(value, origin)
    if kind is tuple:
        return tuple(parse_text(item, origin) for item in (value if isinstance(value, list | tuple) else [value]))
    if kind is str:
        return parse_text(value, origin)
    if f.metadata["metavar"] == "TIME":
        value = parse_time(value)
    return parse_number(kind, value, origin, zero=f.metadata["zero"])


def parse_time(value: Any) -> Any:
    """The seconds of 30m, 1h30m or 90s; other values are returned unchanged."""
    text = str(value).replace(" ", "").lower()
    if not re.fullmatch(r"(\d+(\.\d+)?[hms])+", text):
        return value
    return sum(float(count) * TIME_UNITS[unit] for count, unit in re.findall(r"([\d.]+)([hms])", text))


def parse_price(text: str, place: str) -> tuple[str, tuple[float, float]]:
    """1.25,10 or openai/my-model=1.25,10."""
    name, _, numbers = text.rpartition("=")
    return name.strip(), parse_price_pair(numbers.split(","), f"{place} {text}")


def parse_prices(place: str, table: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    prices = table.get(PRICES_TABLE, {})
    if not isinstance(prices, Mapping):
        raise SettingsError(f"{PRICES_TABLE} in {place} is not a table.")
    return {
        name: parse_price_pair(pair.split(",") if isinstance(pair, str) else pair, f"{PRICES_TABLE} in {place}: {name}")
        for name, pair in prices.items()
    }


def parse_price_pair(pair: Any, place: str) -> tuple[float, float]:
    try:
        price_in, price_out = (float(number) for number in pair)
    except (TypeError, ValueError):
        price_in = price_out = -1.0
    if not (0 <= price_in < math.inf and 0 <= price_out < math.inf):
        raise SettingsError(f"{place}: give the dollars per million tokens in and out, for example 1.25,10.")
    return price_in, price_out


def parse_bool(value: Any, place: str) -> bool:
    text = str(value).strip().lower()
    if text not in TRUE_WORDS + FALSE_WORDS:
        raise SettingsError(f"{place}: {value!r} is neither true nor false.")
    return text in TRUE_WORDS


def parse_text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{place}: {value!r} is not text.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SettingsError(f"{place}: {value!r} is not UTF-8.") from None
    return value


def parse_number(kind: type, value: Any, place: str, zero: bool = False) -> Any:
    """A finite number above 0, or 0 with `zero`: all numbers are counts, seconds or dollars."""
    if zero and str(value).strip() == "0":
        return kind(0)
    try:
        if not isinstance(value, str | kind | int) or isinstance(value, bool):
            raise ValueError
        number = kind(value)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise SettingsError(f"{place}: {value!r} is not {wanted}.") from None
    if not 0 < number < math.inf:
        least = "at least 1" if kind is int else "more than 0 and finite"
        raise SettingsError(f"{place} must be {least}, not {number}.")
    return number
