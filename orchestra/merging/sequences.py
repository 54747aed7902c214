"""Compare and merge three sequences (lines, or the words of a line) with bounded work. Pure.

Patience: items that stand once in both sequences are anchors, and what lies between two anchors is compared alone.
A stretch without anchors is compared item by item if it is small; otherwise it counts as replaced. So the work is
some n log n, whatever the input, while difflib's grows with n * n on repeated lines.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

# Stretches without anchors are compared item by item, up to so many comparisons in all: as many as are given for each
# item, and at least the others. Deeper than this a stretch is not split.
CELLS_PER_ITEM = 20
LEAST_CELLS = 10_000
MOST_DEPTH = 12

Match = tuple[int, int]


@dataclass(frozen=True, order=True)
class Hunk:
    """The items start:stop of the base become these."""

    start: int
    stop: int
    items: tuple[str, ...]

    @property
    def is_one_for_one(self) -> bool:
        return self.stop - self.start == len(self.items)


@dataclass(frozen=True)
class Region:
    """Items that are merged, or the three versions of a conflict."""

    merged: tuple[str, ...] = ()
    conflict: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] | None = None


def split_lines(text: str) -> list[str]:
    """Split behind each newline only: a form feed or a Unicode separator ends no line for git."""
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def match_items(one: Sequence[str], two: Sequence[str]) -> list[Match]:
    """Return the pairs of positions of items that stayed, in order."""
    found: list[Match] = []
    cells = max(LEAST_CELLS, CELLS_PER_ITEM * (len(one) + len(two)))
    work = [(0, len(one), 0, len(two), MOST_DEPTH)]
    while work:
        low, high, first, last, depth = work.pop()
        while low < high and first < last and one[low] == two[first]:
            found.append((low, first))
            low, first = low + 1, first + 1
        while low < high and first < last and one[high - 1] == two[last - 1]:
            high, last = high - 1, last - 1
            found.append((high, last))
        if low == high or first == last:
            continue
        if (high - low) * (last - first) <= min(cells, LEAST_CELLS):
            cells -= (high - low) * (last - first)
            pairs = common_subsequence(one[low:high], two[first:last])
            found.extend((low + i, first + j) for i, j in pairs)
        elif depth and (anchors := find_anchors(one, two, low, high, first, last)):
            found.extend(anchors)
            borders = [(low - 1, first - 1), *anchors, (high, last)]
            work.extend((a + 1, c, b + 1, d, depth - 1) for (a, b), (c, d) in pairwise(borders))
    return slide_down(one, two, sorted(found))


def slide_down(one: Sequence[str], two: Sequence[str], matches: list[Match]) -> list[Match]:
    """Move each insertion and deletion as far down as it goes, as git does: then two sides' meet at the same place."""
    before = (-1, -1)
    for n, (i, j) in enumerate(matches):
        start, first = before[0] + 1, before[1] + 1
        if start == i and first < j and two[first] == two[j]:
            matches[n] = (i, first)
        elif first == j and start < i and one[start] == one[i]:
            matches[n] = (start, j)
        before = matches[n]
    return matches


def find_anchors(one: Sequence[str], two: Sequence[str], low: int, high: int, first: int, last: int) -> list[Match]:
    """Return the longest rising run of items that stand once in both stretches."""
    counts = [Counter(one[low:high]), Counter(two[first:last])]
    there = {two[j]: j for j in range(first, last) if counts[1][two[j]] == 1}
    pairs = [(i, there[one[i]]) for i in range(low, high) if counts[0][one[i]] == 1 and one[i] in there]
    ends: list[int] = []
    tops: list[int] = []
    before: list[int] = []
    for n, (_, j) in enumerate(pairs):
        at = bisect_left(ends, j)
        before.append(tops[at - 1] if at else -1)
        ends[at : at + 1], tops[at : at + 1] = [j], [n]
    run: list[Match] = []
    n = tops[-1] if tops else -1
    while n >= 0:
        run.append(pairs[n])
        n = before[n]
    return run[::-1]


def common_subsequence(one: Sequence[str], two: Sequence[str]) -> list[Match]:
    """Return a longest common subsequence of two short stretches."""
    width = len(two) + 1
    best = [[0] * width for _ in range(len(one) + 1)]
    for i in range(len(one) - 1, -1, -1):
        row, below = best[i], best[i + 1]
        for j in range(width - 2, -1, -1):
            if one[i] == two[j]:
                row[j] = below[j + 1] + 1
            else:
                row[j] = below[j] if below[j] >= row[j + 1] else row[j + 1]
    pairs: list[Match] = []
    i = j = 0
    while i < len(one) and j < len(two):
        if one[i] == two[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i + 1][j] >= best[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def find_hunks(
    base: Sequence[str], side: Sequence[str], *, shown: Sequence[str] = (), one_by_one: bool = True
) -> list[Hunk]:
    """Return the differences. Items changed one for one are hunks of their own, unless told otherwise.

    `shown`: the side's items as they are to be written, if they were compared in another form.
    """
    hunks: list[Hunk] = []
    items = shown or side
    borders = [(-1, -1), *match_items(base, side), (len(base), len(side))]
    for (a, b), (stop, last) in pairwise(borders):
        start, first = a + 1, b + 1
        if one_by_one and stop - start == last - first:
            hunks.extend(Hunk(start + n, start + n + 1, (items[first + n],)) for n in range(stop - start))
        elif start < stop or first < last:
            hunks.append(Hunk(start, stop, tuple(items[first:last])))
    return hunks


def merge_regions(base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> Iterator[Region]:
    """Merge as git does: what only one side changed is taken; changes that overlap or touch are a conflict."""
    hunks = [find_hunks(base, side, one_by_one=False) for side in (ours, theirs)]
    at = 0
    for start, stop, mine, yours in group_hunks(*hunks):
        if at < start:
            yield Region(tuple(base[at:start]))
        one, two = (tuple(apply_hunks(base, part, start, stop)) for part in (mine, yours))
        if one == two or not yours:
            yield Region(one)
        elif not mine:
            yield Region(two)
        else:
            yield Region(conflict=(tuple(base[start:stop]), one, two))
        at = stop
    if at < len(base):
        yield Region(tuple(base[at:]))


def group_hunks(left: Sequence[Hunk], right: Sequence[Hunk]) -> Iterator[tuple[int, int, list[Hunk], list[Hunk]]]:
    """Group the hunks of both sides that overlap or touch."""
    group: tuple[list[Hunk], list[Hunk]] = ([], [])
    start = stop = -1
    for hunk, side in sorted([(hunk, 0) for hunk in left] + [(hunk, 1) for hunk in right]):
        if start >= 0 and hunk.start > stop:
            yield start, stop, *group
            group, start = ([], []), -1
        start = hunk.start if start < 0 else start
        stop = max(stop, hunk.stop) if any(group) else hunk.stop
        group[side].append(hunk)
    if any(group):
        yield start, stop, *group


def apply_hunks(base: Sequence[str], hunks: Sequence[Hunk], start: int, stop: int) -> Iterator[str]:
    """Yield the items start:stop of the base with these hunks, which are in order."""
    for hunk in hunks:
        yield from base[start : hunk.start]
        yield from hunk.items
        start = hunk.stop
    yield from base[start:stop]


def apply_both(base: Sequence[str], left: Sequence[Hunk], right: Sequence[Hunk]) -> list[str] | None:
    """Apply the hunks of both sides, the left one's first at one place. None if they change one item differently."""
    known = set(left)
    hunks = sorted([(hunk, 0) for hunk in left] + [(hunk, 1) for hunk in right if hunk not in known], key=place_hunk)
    for (one, side), (two, other) in pairwise(hunks):
        if side != other and one.stop > two.start:
            return None
    return list(apply_hunks(base, [hunk for hunk, _ in hunks], 0, len(base)))


def place_hunk(hunk: tuple[Hunk, int]) -> tuple[int, int, int]:
    return hunk[0].start, hunk[0].stop, hunk[1]
