"""How sure a merge is by its form. Pure."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


class Trust(IntEnum):
    """The most trusted first."""

    BY_FORMAT = 0
    BY_STRUCTURE = 1
    BY_TESTS = 2


@dataclass(frozen=True)
class Candidate:
    """A merged text. `name`: short, for a report. `reason`: one sentence."""

    text: str
    name: str
    trust: Trust
    reason: str


class CannotMergeError(Exception):
    """Raised when only the author can merge two edits."""


def pick_changed(base: T, ours: T, theirs: T) -> T | None:
    """Return the version of the only side that changed it. None if both did."""
    if ours in (base, theirs):
        return theirs
    return ours if theirs == base else None
