"""Merge the lines of each conflict that git would report, region by region. Pure."""

from collections.abc import Sequence
from itertools import pairwise

from orchestra.merging.formats import join_entries
from orchestra.merging.sequences import Region, apply_both, find_hunks, match_items
from orchestra.merging.trust import Trust
from orchestra.merging.words import join_words

Lines = Sequence[str]
Joined = tuple[list[str], Trust, str]  # the merged lines, how sure they are, and what was done


def merge_conflicts(path: str, regions: Sequence[Region], *, theirs_first: bool, once: bool) -> Joined:
    """Merge what git leaves; every conflict by the first rule that fits."""
    merged: list[str] = []
    trust, rules = Trust.BY_FORMAT, dict[str, bool]()
    for region in regions:
        if region.conflict is None:
            merged += region.merged
            continue
        text, sure, rule = join_conflict(path, *region.conflict, theirs_first=theirs_first, once=once)
        merged += text
        trust = max(trust, sure)
        rules[rule] = True
    return merged, trust if rules else Trust.BY_STRUCTURE, " and ".join(rules) or "parts"


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
    if merged is None:
        words = join_words(["".join(side) for side in (base, ours, theirs)], theirs_first=theirs_first)
        return [words], Trust.BY_TESTS, "words"
    if all(hunk.is_one_for_one for side in hunks for hunk in side):
        return merged, Trust.BY_STRUCTURE, "neighbouring lines"
    return merged, Trust.BY_TESTS, "both"


def join_once(one: Lines, two: Lines) -> list[str]:
    """Join two insertions; the lines that they share in order stand once."""
    merged: list[str] = []
    for (a, b), (stop, last) in pairwise([(-1, -1), *match_items(one, two), (len(one), len(two))]):
        merged += [*one[a + 1 : stop], *two[b + 1 : last], *one[stop : stop + 1]]
    return merged
