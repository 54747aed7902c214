"""Validate the usage that a provider reports, field by field: any value may be there, by fault or by intent.

A count is a whole number from 0 to a billion. Anything else (a text, a list, NaN, true, -1, 10^40) is unreadable: its
field is unknown, and never a number.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

LARGEST_COUNT = 10**9


@dataclass(frozen=True)
class Tokens:
    """The usage of a reply. `input` includes cached tokens, `output` includes reasoning, in every dialect.

    `unreadable` lists the fields that hold no count, as NAME: VALUE. If such a field is part of input or output, that
    number is unknown.
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
        """Return a count inside a field that holds an object."""
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
        self,
        input: int,
        cached: int,
        written: int,
        output: int,
        *,
        input_fields: tuple[str, ...],
        output_fields: tuple[str, ...],
    ) -> Tokens:
        """Return the usage. `input_fields` and `output_fields` are the names of the fields that make up both sums."""
        cached = min(cached, input)
        return Tokens(
            *(input, cached, min(written, input - cached), output),
            unreadable=tuple(f"{name}: {value}" for name, value in self.unreadable.items()),
            unknown_input=self.has_unreadable(*input_fields),
            unknown_output=self.has_unreadable(*output_fields),
        )


def as_count(value: Any) -> int | None:
    """Return a value as a count; None if it is none, or larger than any use of a model."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= LARGEST_COUNT else None


def quote_odd_value(value: Any) -> str:
    """Quote a value in a message: numbers and short texts as they are, others by their type."""
    if isinstance(value, str):
        return repr(value[:40])
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:20]}… ({len(text)} digits)"


def is_count_or_none(value: Any) -> bool:
    return value is None or (type(value) is int and as_count(value) is not None)


def is_object_of_counts(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and all(map(is_count_or_none, value.values())))


@dataclass(frozen=True)
class UsageFormat:
    """How a dialect reports usage: in which field, by which counts, and which fields hold counts of parts.

    `optional`: clients do without the field. `nullable`: a count may be null. `is_detail`: whether clients can read the
    value of a field with counts of parts.
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
        counts, details = (
            [used[name] for name in names if name in used] for names in (self.count_names, self.detail_names)
        )
        has_clean_counts = all(map(is_count_or_none, counts)) and (self.nullable or None not in counts)
        return has_clean_counts and all(map(self.is_detail, details))
