"""How sure a merge is by its form. Pure."""

from dataclasses import dataclass
from enum import IntEnum


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
