"""Merge two edits of the same lines word by word. Pure.

White space is merged beside the words: a side may indent what the other one changes, and then the other's new lines
are indented too.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from orchestra.merging.sequences import Hunk, apply_both, find_hunks, match_items
from orchestra.merging.trust import CannotMergeError, pick_changed

MOST_WORDS = 5_000
# A string, a version or a dotted name is one word: halves of two of them make a third that neither side means.
WORD = re.compile(r"""(\s*)("[^"\n]*"|'[^'\n]*'|\w+(?:\.\w+)*|[^\w\s]|$)""")


@dataclass(frozen=True)
class Words:
    """The words of a text, each with the white space before it; the last is empty and has that at the end."""

    words: tuple[str, ...]
    spaces: tuple[str, ...]

    @property
    def shown(self) -> list[str]:
        return [space + word for space, word in zip(self.spaces, self.words, strict=True)]


def split_words(text: str) -> Words:
    spaces, words = zip(*WORD.findall(text), strict=True)
    if len(words) > MOST_WORDS:
        raise CannotMergeError
    return Words(words, spaces)


def join_words(texts: Sequence[str], *, theirs_first: bool) -> str:
    """Return the text with the changed words of both sides. Fails if they change one word differently."""
    base, ours, theirs = map(split_words, texts)
    mine, yours = (find_hunks(base.words, side.words, shown=side.shown) for side in (ours, theirs))
    if share_a_place(mine, yours):
        raise CannotMergeError
    theirs_spaces, ours_spaces = (follow_spaces(base, side) for side in (theirs, ours))
    mine = indent_lines(mine, base.spaces, theirs_spaces)
    yours = indent_lines(yours, base.spaces, ours_spaces)
    spaces = tuple(map(pick_space, base.spaces, ours_spaces, theirs_spaces))
    merged = apply_both(replace(base, spaces=spaces).shown, *((yours, mine) if theirs_first else (mine, yours)))
    if merged is None:
        raise CannotMergeError
    return "".join(merged)


def pick_space(base: str, ours: str, theirs: str) -> str:
    changed = pick_changed(base, ours, theirs)
    return ours if changed is None else changed


def share_a_place(ours: Sequence[Hunk], theirs: Sequence[Hunk]) -> bool:
    """Whether both put different words between the same two words, other than whole lines."""
    there = {hunk.start: hunk for hunk in theirs if hunk.start == hunk.stop}
    pairs = [(hunk, there[hunk.start]) for hunk in ours if hunk.start == hunk.stop and hunk.start in there]
    return any(one != two and not ("\n" in one.items[0] and "\n" in two.items[0]) for one, two in pairs)


def follow_spaces(base: Words, side: Words) -> list[str]:
    """Return the white space that a side has before each word of the base; the base's for a word that it changed."""
    matches = dict(match_items(base.words, side.words))
    return [side.spaces[matches[n]] if n in matches else space for n, space in enumerate(base.spaces)]


def indent_lines(hunks: Sequence[Hunk], was: Sequence[str], now: Sequence[str]) -> list[Hunk]:
    """Indent the new lines of a side as the other side indents the line that is before them."""
    return [replace(hunk, items=tuple(indent_items(hunk, was, now))) for hunk in hunks]


def indent_items(hunk: Hunk, was: Sequence[str], now: Sequence[str]) -> Iterator[str]:
    line = next((n for n in range(min(hunk.start, len(was) - 1), -1, -1) if "\n" in was[n] and "\n" in now[n]), 0)
    old, new = (spaces[line].rpartition("\n")[2] for spaces in (was, now))
    for item in hunk.items:
        head, newline, rest = item.rpartition("\n")
        yield f"{head}\n{new}{rest.removeprefix(old)}" if newline and rest.startswith(old) and rest.strip() else item
