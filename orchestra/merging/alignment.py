"""Match the pieces of a base with those of a side: by name, then by text, then by likeness. Pure."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from orchestra.merging.definitions import find_key
from orchestra.merging.sequences import match_items
from orchestra.merging.trees import Piece

# Stretches of at most so many comparisons are matched by likeness, from so much on.
MOST_COMPARED = 2_500
LIKE = 0.5
MOST_WORDS = 2_000


def match_pieces(base: Sequence[Piece], side: Sequence[Piece]) -> dict[int, int]:
    """Return the position in the side of each piece of the base that the side still has, in order."""
    matches = match_items([make_key(piece) for piece in base], [make_key(piece) for piece in side])
    found = dict(matches)
    for (a, b), (stop, last) in pairwise([(-1, -1), *matches, (len(base), len(side))]):
        found.update((a + 1 + i, b + 1 + j) for i, j in match_changed(base[a + 1 : stop], side[b + 1 : last]))
    return found


def make_key(piece: Piece) -> str:
    if not piece.node.is_named:
        return piece.kind
    name = find_key(piece.source, piece.node)
    return f"named {name}" if name else piece.text.strip().decode("utf-8", "replace")


def match_changed(base: Sequence[Piece], side: Sequence[Piece]) -> Iterator[tuple[int, int]]:
    """Match what has neither name nor text in common: one for one if the kinds agree, otherwise what is most alike."""
    if [piece.kind for piece in base] == [piece.kind for piece in side]:
        yield from ((n, n) for n in range(len(base)))
        return
    if len(base) * len(side) > MOST_COMPARED:
        return
    words = [[read_words(piece) for piece in part] for part in (base, side)]
    at = 0
    for i, piece in enumerate(base):
        likeness = [
            (compare_words(words[0][i], words[1][j]), -j) for j in range(at, len(side)) if side[j].kind == piece.kind
        ]
        if likeness and max(likeness)[0] >= LIKE:
            at = -max(likeness)[1]
            yield i, at
            at += 1


def read_words(piece: Piece) -> set[bytes]:
    return set(re.findall(rb"\w+|[^\w\s]", piece.text[: 20 * MOST_WORDS])[:MOST_WORDS])


def compare_words(one: set[bytes], two: set[bytes]) -> float:
    return len(one & two) / max(1, len(one | two))
