"""The usage that a provider tells, validated field by field: anything may stand there, by fault or by intent.

A count is a whole number from 0 to a billion. Anything else (a text, a list, NaN, true, -1, 10^40) is unreadable: its
field is unknown, and never a number.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

LARGEST_COUNT = 10**9


@dataclass(frozen=True)
class Tokens:
    """What a reply says it used. `input` includes the cached tokens, `output` the reasoning, in every dialect.

    `unreadable` lists the fields that hold no count, as NAME: VALUE. When such a field is part of the input or of the
    output, that number is unknown.
    """

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    unreadable: tuple[str, ...] = ()
    unknown_input: bool = False
    unknown_output: bool = False


class UsageCounts:
    """The counts of one usage record, and which of them could not be read."""

    def __init__(self, value: Any, name: str) -> None:
        self.values: Mapping[str, Any] = value if isinstance(value, dict) else {}
        self.unreadable: dict[str, str] = {}
        self.whole = value is None or isinstance(value, dict)
        if not self.whole:
            self.unreadable[name] = quote_odd_value(value)

    def count(self, name: str) -> int:
        return self.read_count(name, self.values.get(name))

    def detail_count(self, name: str, inner: str) -> int:
        """A count inside of a field that holds an object."""
        value = self.values.get(name)
        if value is None or isinstance(value, dict):
            return self.read_count(f"{name}.{inner}", (value or {}).get(inner))
        self.unreadable[name] = quote_odd_value(value)
        return 0

    def read_count(self, name: str, value: Any) -> int:
        found = 0 if value is None else as_count(value)
        if found is None:
            self.unreadable[name] = quote_odd_value(value)
        return found or 0

    def has_unreadable(self, *names: str) -> bool:
        return not self.whole or not self.unreadable.keys().isdisjoint(names)

    def to_tokens(
        self, input: int, cached: int, written: int, output: int, *, asked: tuple[str, ...], said: tuple[str, ...]
    ) -> Tokens:
        """`asked` and `said` name the fields that make up the input and the output."""
        cached = min(cached, input)
        return Tokens(
            *(input, cached, min(written, input - cached), output),
            unreadable=tuple(f"{name}: {value}" for name, value in self.unreadable.items()),
            unknown_input=self.has_unreadable(*asked),
            unknown_output=self.has_unreadable(*said),
        )


def as_count(value: Any) -> int | None:
    """The whole number that a value is; None when it is none, or larger than any use of a model."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= LARGEST_COUNT else None


def quote_odd_value(value: Any) -> str:
    """A value in a message: numbers and short texts as they are, of all else only what it is."""
    if isinstance(value, str):
        return repr(value[:40])
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:20]}… ({len(text)} digits)"


# --- replies that a client can read ---------------------------------------------------------------------------------


def is_count_or_none(value: Any) -> bool:
    return value is None or (type(value) is int and as_count(value) is not None)


def is_object_of_counts(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and all(is_count_or_none(each) for each in value.values()))


@dataclass(frozen=True)
class UsageFormat:
    """How a dialect tells the usage: in which field, by which counts, and in which fields counts of parts stand.

    `optional`: a client does without the field. `nullable`: a count may be null. `is_detail`: whether a client can
    read the value of a field with counts of parts.
    """

    name: str
    count_names: tuple[str, ...]
    detail_names: tuple[str, ...]
    optional: bool = False
    nullable: bool = True
    is_detail: Callable[[Any], bool] = is_object_of_counts

    def is_clean(self, used: Any) -> bool:
        """Whether a usage holds nothing that litellm 1.81 fails on."""
        if not isinstance(used, dict):
            return used is None and self.optional
        counts = [used[name] for name in self.count_names if name in used]
        return all(map(self.is_clean_count, counts)) and all(
            self.is_detail(used[name]) for name in self.detail_names if name in used
        )

    def is_clean_count(self, value: Any) -> bool:
        return is_count_or_none(value) and (value is not None or self.nullable)
