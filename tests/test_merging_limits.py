"""Large, deep and repetitive files: the work grows with the size and not with its square; the largest are refused."""

import sys
from types import FrameType
from typing import TYPE_CHECKING

import pytest

from orchestra.merging.candidates import propose_merges, why_too_large
from tests.support.hostile_merges import CASES, HostileMerge

if TYPE_CHECKING:
    from _typeshed import TraceFunction

SMALL, FACTOR = 250, 4
MOST_GROWTH = 10  # n log n, and the steps at which a limit is reached; a square would be 16
TOO_LARGE = "one line of megabytes"


def count_lines(case: HostileMerge) -> int:
    """Count the lines of Python that the merge runs: work that no busy machine changes."""
    count = 0

    def trace(_frame: FrameType, event: str, _: object) -> "TraceFunction":
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        propose_merges(case.path, case.base, case.ours, case.theirs)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name in CASES if name != TOO_LARGE])
def test_work_grows_with_size_and_not_with_its_square(name: str) -> None:
    count_lines(CASES[name](name, SMALL))  # grammars and caches are loaded
    small, large = (count_lines(CASES[name](name, size)) for size in (SMALL, SMALL * FACTOR))
    assert large <= MOST_GROWTH * small, (small, large)


def test_merge_refuses_files_that_are_too_large() -> None:
    case = CASES[TOO_LARGE](TOO_LARGE, 20_000)
    assert propose_merges(case.path, case.base, case.ours, case.theirs) == []
    assert "left to its author" in why_too_large(case.base, case.ours, case.theirs)
    long = "a\n" * 60_000
    assert propose_merges("a.txt", long, long + "b\n", "c\n" + long) == []
