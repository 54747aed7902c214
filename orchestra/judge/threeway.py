"""Merging two edits of one text where git gives up too early. Pure, and timid: a wrong merge is worse than a question.

Git sees a conflict where two edits only touch. Two cases are safe enough to go on: edits of neighbouring lines, line
for line; and two insertions at one place whose order means nothing (imports, definitions, entries of a list), where
that can be checked. In both every line of either side is kept.
"""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from orchestra.judge.union import is_safe_union, propose_unions, still_parses

MOST_LINES = 20_000


@dataclass(frozen=True, order=True)
class Hunk:
    """The lines start:stop of the base become these."""

    start: int
    stop: int
    lines: tuple[str, ...]

    @property
    def is_insertion(self) -> bool:
        return self.start == self.stop


def merge_text(path: str, base: str, ours: str, theirs: str) -> str | None:
    """The merged text, or None where a person (or an agent that knows both intentions) must say."""
    lines = [text.splitlines(keepends=True) for text in (base, ours, theirs)]
    if max(map(len, lines)) > MOST_LINES or not all(map(ends_with_newline, (base, ours, theirs))):
        return None
    left, right = (list(find_hunks(lines[0], side)) for side in lines[1:])
    pairs = pair_insertions(left, right)
    if not are_compatible(left, right, pairs):
        return None
    for joined in propose_unions(path, [(one.lines, two.lines) for one, two in pairs]):
        merged = "".join(apply_hunks(lines[0], left, right, dict(zip([one for one, _ in pairs], joined, strict=True))))
        safe = is_safe_union(path, base, ours, theirs, merged) if pairs else still_parses(path, ours, theirs, merged)
        if safe:
            return merged
    return None


def ends_with_newline(text: str) -> bool:
    """A last line without its newline would swallow what is put behind it."""
    return not text or text.endswith("\n")


def find_hunks(base: Sequence[str], side: Sequence[str]) -> Iterator[Hunk]:
    """What differs. Lines that were changed one for one are hunks of their own."""
    matcher = difflib.SequenceMatcher(None, base, side, autojunk=len(base) > 2_000)
    for tag, start, stop, first, last in matcher.get_opcodes():
        if tag == "replace" and stop - start == last - first:
            yield from (Hunk(start + n, start + n + 1, (side[first + n],)) for n in range(stop - start))
        elif tag != "equal":
            yield Hunk(start, stop, tuple(side[first:last]))


def pair_insertions(left: Iterable[Hunk], right: Iterable[Hunk]) -> list[tuple[Hunk, Hunk]]:
    """Two different insertions at one place."""
    there = {hunk.start: hunk for hunk in right if hunk.is_insertion}
    return [
        (hunk, there[hunk.start])
        for hunk in left
        if hunk.is_insertion and hunk.start in there and hunk.lines != there[hunk.start].lines
    ]


def are_compatible(left: Sequence[Hunk], right: Sequence[Hunk], pairs: Sequence[tuple[Hunk, Hunk]]) -> bool:
    """Whether no line was changed by both in different ways, and what only touches was changed line for line."""
    mine = [(hunk, 0) for hunk in left if hunk not in right]
    yours = [(hunk, 1) for hunk in right if hunk not in left]
    for (one, side), (two, other) in pairwise(sorted([*mine, *yours])):
        if side == other or (one, two) in pairs or (two, one) in pairs:
            continue
        if one.stop > two.start or (one.start == two.start and one.is_insertion and two.is_insertion):
            return False
        if one.stop == two.start and not (has_clear_borders(one) and has_clear_borders(two)):
            return False
    return True


def has_clear_borders(hunk: Hunk) -> bool:
    """One line for one, or an insertion: its borders are no whim of the comparison."""
    return hunk.is_insertion or (hunk.stop - hunk.start == len(hunk.lines))


def apply_hunks(
    base: Sequence[str], left: Sequence[Hunk], right: Sequence[Hunk], joined: dict[Hunk, Sequence[str]]
) -> Iterator[str]:
    """The base with both sides' hunks; where both insert at one place, what `joined` has for it."""
    both = {hunk.start for hunk in joined}
    rest = [hunk for hunk in {*left, *right} if not (hunk.is_insertion and hunk.start in both)]
    at = 0
    for hunk, lines in sorted([(hunk, hunk.lines) for hunk in rest] + [(h, tuple(new)) for h, new in joined.items()]):
        yield from base[at : hunk.start]
        yield from lines
        at = hunk.stop
    yield from base[at:]
