"""Merge the lines of each conflict that git would report, region by region. Pure."""

import re
from collections.abc import Sequence
from itertools import pairwise

from orchestra.merging.formats import join_entries
from orchestra.merging.sequences import apply_both, find_hunks, match_items, merge_regions
from orchestra.merging.trust import CannotMergeError, Trust

MOST_WORDS = 5_000

Lines = Sequence[str]
Joined = tuple[list[str], Trust, str]  # the merged lines, how sure they are, and what was done


def merge_conflicts(path: str, lines: Sequence[Lines], *, theirs_first: bool, once: bool) -> Joined:
    """Merge the three texts; every conflict by the first rule that fits."""
    merged: list[str] = []
    trust, rules = Trust.BY_FORMAT, {}
    for region in merge_regions(*lines):
        if region.conflict is None:
            merged += region.merged
            continue
        text, sure, rule = join_conflict(path, *region.conflict, theirs_first=theirs_first, once=once)
        merged += text
        trust = max(trust, sure)
        rules[rule] = True
    return merged, trust, " and ".join(rules)


def join_conflict(path: str, base: Lines, ours: Lines, theirs: Lines, *, theirs_first: bool, once: bool) -> Joined:
    if not base and (entries := join_entries(path, ours, theirs)) is not None:
        return entries, Trust.BY_FORMAT, "entries"
    if not base and once:
        return (
            join_once(*((theirs, ours) if theirs_first else (ours, theirs))),
            Trust.BY_TESTS,
            "both, shared lines once",
        )
    hunks = [find_hunks(base, side) for side in (ours, theirs)]
    merged = apply_both(base, hunks[theirs_first], hunks[not theirs_first])
    if merged is not None:
        by_line = not any(hunk.is_insertion for side in hunks for hunk in side)
        return merged, Trust.BY_STRUCTURE if by_line else Trust.BY_TESTS, "neighbouring lines" if by_line else "both"
    return join_words(base, ours, theirs, theirs_first=theirs_first), Trust.BY_TESTS, "words of a line"


def join_once(one: Lines, two: Lines) -> list[str]:
    """Join two insertions; the lines that they share in order stand once."""
    merged: list[str] = []
    for (a, b), (stop, last) in pairwise([(-1, -1), *match_items(one, two), (len(one), len(two))]):
        merged += [*one[a + 1 : stop], *two[b + 1 : last], *one[stop : stop + 1]]
    return merged


def join_words(base: Lines, ours: Lines, theirs: Lines, *, theirs_first: bool) -> list[str]:
    """Merge two edits of the same lines word by word."""
    words = [re.findall(r"\w+|\s+|[^\w\s]", "".join(side)) for side in (base, ours, theirs)]
    if max(map(len, words)) > MOST_WORDS:
        raise CannotMergeError
    hunks = [find_hunks(words[0], side) for side in words[1:]]
    merged = apply_both(words[0], hunks[theirs_first], hunks[not theirs_first])
    if merged is None:
        raise CannotMergeError
    return ["".join(merged)]
