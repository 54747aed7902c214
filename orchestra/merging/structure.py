"""Merge two edits of one text piece by piece, along its tree. Pure.

Each piece is merged as git would merge its lines. If that is a conflict, the pieces inside are matched by name (or by
text, then by likeness), and merged in turn; pieces that both sides add at one place follow one another.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from orchestra.merging.alignment import match_pieces
from orchestra.merging.definitions import find_name, is_definition
from orchestra.merging.policy import is_docstring, is_list, is_unordered, name_kind
from orchestra.merging.sequences import apply_both, find_hunks, merge_regions, split_lines
from orchestra.merging.trees import WRAPPERS, Parts, Piece, Placed
from orchestra.merging.trust import CannotMergeError, Trust, pick_changed
from orchestra.merging.words import join_words

MOST_DEPTH = 60
MOST_PIECES = 200_000
# What is put between sorted pieces is sorted too. They are so many on each side of the place, and at least the others.
NEAR = 3
LEAST_SORTED = 2

Entry = tuple[bytes, bytes]  # the gap before a merged piece, and its text
Row = Sequence[Placed]


@dataclass
class TreeMerge:
    """One merge of three trees: how sure it is so far, what was put together, and how many pieces were looked at."""

    theirs_first: bool = False
    trust: Trust = Trust.BY_STRUCTURE
    kinds: Counter[str] = field(default_factory=Counter)
    looked_at: int = 0

    def merge(self, sides: Sequence[Piece], depth: int = 0) -> bytes:
        """Return the merged text of a piece, of which these are the base, ours and theirs."""
        base, ours, theirs = texts = [side.text for side in sides]
        merged = pick_changed(base, ours, theirs)
        if merged is None:
            merged = merge_clean_lines(texts)
        if merged is not None:
            return merged
        before = self.trust, self.kinds.copy()
        try:
            return self.merge_inside(sides, depth)
        except CannotMergeError:
            self.trust, self.kinds = before
            return self.join_text(sides)

    def join_text(self, sides: Sequence[Piece]) -> bytes:
        """Keep the lines of both sides if neither changed the other's; otherwise the words."""
        texts = [side.text for side in sides]
        merged = join_lines(texts, theirs_first=self.theirs_first)
        if merged is not None:
            sure = is_docstring(sides[0].node)
            self.note("docstrings" if sure else "lines", sure=sure)
            return merged
        self.note("words", sure=False)
        return join_words([text.decode() for text in texts], theirs_first=self.theirs_first).encode()

    def note(self, kind: str, *, sure: bool) -> None:
        self.kinds[kind] += 1
        if not sure:
            self.trust = Trust.BY_TESTS

    def merge_inside(self, sides: Sequence[Piece], depth: int) -> bytes:
        kinds = {side.kind for side in sides}
        if not depth and any(side.node.has_error for side in sides):
            self.note("broken code", sure=False)
        if depth > MOST_DEPTH or (depth and any(side.node.has_error for side in sides)):
            raise CannotMergeError
        if len(kinds) == 1 and is_list(sides):
            return self.merge_list([side.split_list() for side in sides], depth, sides[0])
        if len(kinds) > 1 and not kinds & set(WRAPPERS):
            raise CannotMergeError
        parts = [s.split_lines() if len(kinds) == 1 or s.kind in WRAPPERS else s.wrapped() for s in sides]
        if not (parts[1].pieces and parts[2].pieces):
            raise CannotMergeError
        return b"".join(gap + text for gap, text in self.merge_parts(parts, depth, None)) + merge_gap(parts, -1)

    def merge_list(self, parts: Sequence[Parts], depth: int, whole: Piece) -> bytes:
        """Merge elements between commas."""
        if not (parts[1].pieces and parts[2].pieces):
            raise CannotMergeError
        usual = [usual_separator(part) for part in parts]
        separator = pick_changed(usual[0], usual[1], usual[2]) or usual[1]
        merged = [merge_gap(parts, 0)]
        for number, (gap, text) in enumerate(self.merge_parts(parts, depth, whole)):
            if number:
                merged.append(gap if b"," in gap and gap not in usual else separator)
            merged.append(text)
        return b"".join(merged) + merge_gap(parts, -1)

    def merge_parts(self, parts: Sequence[Parts], depth: int, whole: Piece | None) -> list[Entry]:
        """Merge rows of pieces: a piece that all three have is merged, and so is what stands between two of them."""
        self.looked_at += sum(len(part.pieces) for part in parts)
        if self.looked_at > MOST_PIECES:
            raise CannotMergeError
        left, right = (match_pieces(parts[0].pieces, part.pieces) for part in parts[1:])
        kept = [(n, left[n], right[n]) for n in range(len(parts[0].pieces)) if n in left and n in right]
        end = tuple(len(part.pieces) for part in parts)
        entries: list[Entry] = []
        for before, here in pairwise([(-1, -1, -1), *kept, end]):
            rows = [part.slice(a + 1, b) for part, a, b in zip(parts, before, here, strict=True)]
            entries += self.merge_rows(rows, parts[0].pieces[max(0, here[0] - NEAR) : here[0] + NEAR], whole)
            if here != end:
                pieces = [part.pieces[n] for part, n in zip(parts, here, strict=True)]
                entries.append((merge_gap(parts, *here), self.merge(pieces, depth + 1)))
        self.note_shared_lines(parts, kept)
        return entries

    def note_shared_lines(self, parts: Sequence[Parts], kept: Sequence[tuple[int, ...]]) -> None:
        """Ask for tests if the sides changed different pieces of one line."""
        lines: list[set[int]] = [set(), set()]
        for places in kept:
            base, ours, theirs = (part.pieces[n] for part, n in zip(parts, places, strict=True))
            changed = [side.text != base.text for side in (ours, theirs)]
            if sum(changed) == 1:
                lines[changed.index(True)] |= base.border_lines()
        if lines[0] & lines[1]:
            self.note("parts of a line", sure=False)

    def merge_rows(self, rows: Sequence[Row], near: Sequence[Piece], whole: Piece | None) -> list[Entry]:
        """Merge what stands between two pieces that all three have. `near`: the base's pieces around the place."""
        base, ours, theirs = rows
        contents = [tuple(placed.content for placed in row) for row in rows]
        if (picked := pick_changed(contents[0], contents[1], contents[2])) is not None:
            row = ours if picked == contents[1] else theirs
        elif base:
            row = self.join_rewritten(base, ours, theirs)
            need_lines(row, whole)
        else:
            row = follow_order(self.join_insertions(ours, theirs, whole), near, whole)
            need_lines(row, whole)
        return [(placed.gap, placed.text) for placed in row]

    def join_rewritten(self, base: Row, ours: Row, theirs: Row) -> Row:
        """Join what one side rewrote with what the other put before or behind it."""
        was = [placed.content for placed in base]
        self.note("a rewritten place", sure=False)
        for rewritten, other in ((ours, theirs), (theirs, ours)):
            contents = [placed.content for placed in other]
            if contents[: len(was)] == was:
                return [*rewritten, *other[len(was) :]]
            if contents[-len(was) :] == was:
                return [*other[: -len(was)], *rewritten]
        raise CannotMergeError

    def join_insertions(self, ours: Row, theirs: Row, whole: Piece | None) -> Row:
        """Let what both sides added at one place follow one another; what both added alike stands once."""
        one, two = (theirs, ours) if self.theirs_first else (ours, theirs)
        known = {placed.content for placed in one}
        two = [placed for placed in two if placed.content not in known]
        names = [{find_name(placed.piece.source, placed.piece.node) for placed in row} for row in (one, two)]
        if names[0] & names[1] - {""}:
            raise CannotMergeError
        sure = all(is_unordered(placed.piece, whole) for placed in (*one, *two))
        if two:
            self.note(name_kind(two[0].piece, whole), sure=sure)
        first = [replace(placed, gap=placed.inner_gap) for placed in two[:1]]
        return [*one, *first, *two[1:]]


def follow_order(row: Row, near: Sequence[Piece], whole: Piece | None) -> Row:
    """Sort imports and elements that both put among sorted ones."""
    pieces = [placed.piece for placed in row]
    if len({piece.kind for piece in pieces}) > 1 or any(is_definition(piece.node) for piece in pieces):
        return row
    contents = sorted(placed.content for placed in row)
    around = [piece.text.strip() for piece in near if piece.kind == pieces[0].kind]
    at = bisect_left(around, contents[0])
    whole_run = [*around[:at], *contents, *around[at:]]
    if len(around) < LEAST_SORTED or whole_run != sorted(whole_run) or not all(is_unordered(p, whole) for p in pieces):
        return row
    ordered = sorted(row, key=lambda placed: placed.content)
    return [replace(placed, gap=here.gap) for placed, here in zip(ordered, row, strict=True)]


def need_lines(row: Row, whole: Piece | None) -> None:
    """Refuse pieces that would run into one another: outside of lists each must fill its lines."""
    if whole is None and not all(placed.piece.fills_lines for placed in row):
        raise CannotMergeError


def merge_clean_lines(texts: Sequence[bytes]) -> bytes | None:
    """Merge as git does. None for a conflict."""
    merged: list[str] = []
    base, ours, theirs = (split_lines(text.decode()) for text in texts)
    for region in merge_regions(base, ours, theirs):
        if region.conflict:
            return None
        merged += region.merged
    return "".join(merged).encode()


def join_lines(texts: Sequence[bytes], *, theirs_first: bool) -> bytes | None:
    """Keep the lines of both sides. None if they change one line differently."""
    base, *sides = (split_lines(text.decode() + "\n") for text in texts)
    hunks = [find_hunks(base, side) for side in sides]
    merged = apply_both(base, hunks[theirs_first], hunks[not theirs_first])
    return None if merged is None else "".join(merged)[:-1].encode()


def merge_gap(parts: Sequence[Parts], *places: int) -> bytes:
    """Merge what lies before three pieces. Of two changes of white space and commas alone, ours is taken."""
    gaps = [part.gaps[n] for part, n in zip(parts, places * 3 if len(places) == 1 else places, strict=True)]
    picked = pick_changed(gaps[0], gaps[1], gaps[2])
    if picked is None:
        if b"".join(gaps[1].replace(b",", b"").split()) == b"".join(gaps[2].replace(b",", b"").split()):
            return gaps[1]
        picked = merge_clean_lines(gaps)
    if picked is None:
        picked = join_lines(gaps, theirs_first=False)
    if picked is None:
        raise CannotMergeError
    return picked


def usual_separator(part: Parts) -> bytes:
    """Return what most often stands between two elements."""
    gaps = Counter(gap for gap in part.gaps[1:-1] if b"," in gap)
    return gaps.most_common(1)[0][0] if gaps else b", "
