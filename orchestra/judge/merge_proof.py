"""Decide how a proposed merge of two edits is proven. Pure: the caller runs what is asked.

A merge that only parses is right in three of four cases; the tests of both sides tell which.
"""

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum

from orchestra.merging.trust import Trust


class Side(StrEnum):
    """The side whose edit of the conflicting files is left out of a tree; NEITHER: both edits are there."""

    NEITHER = ""
    OURS = "ours"
    THEIRS = "theirs"


@dataclass(frozen=True)
class MergeCheck:
    """The tests of a tree: `failure` says what fails, in a sentence; empty if nothing does. `ran`: a test did."""

    failure: str = ""
    ran: bool = True


NO_TEST = "no test ran on it"
UNNOTICED = "no test fails without the edit of {}"


def prove_merge(trust: Trust, names: tuple[str, str]) -> Generator[Side, MergeCheck, str]:
    """Ask for the checks of trees, and return why the merge is not proven, in a clause; empty if it is.

    `names`: whose edits they are, ours and theirs. A list of entries by its format needs no test. All others need tests
    that pass; what only tests can tell also needs tests that fail without either side.
    """
    both = yield Side.NEITHER
    if both.failure:
        return both.failure
    if trust is Trust.BY_FORMAT:
        return ""
    if not both.ran:
        return NO_TEST
    if trust is Trust.BY_TESTS:
        for side, name in zip((Side.OURS, Side.THEIRS), names, strict=True):
            alone = yield side
            if not alone.failure:
                return UNNOTICED.format(name)
    return ""
