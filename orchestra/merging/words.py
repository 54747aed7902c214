"""Merge two edits of the same lines word by word. Pure.

White space is merged beside the words: a side may indent what the other one changes.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from orchestra.merging.sequences import Hunk, apply_both, find_hunks, match_items
from orchestra.merging.trust import CannotMergeError, pick_changed

MOST_WORDS = 5_000
Spaced = tuple[list[str], list[str]]
# A string, a version or a dotted name is one word: halves of two of them make a third that neither side means.
WORD = re.compile(r"""(\s*)("[^"\n]*"|'[^'\n]*'|\w+(?:\.\w+)*|[^\w\s]|$)""")


def join_words(texts: Sequence[str], *, theirs_first: bool) -> str:
    """Return the text with the changed words of both sides. Fails if they change one word differently."""
    (base_spaces, base), *sides = (split_words(text) for text in texts)
    if max(len(base), *(len(words) for _, words in sides)) > MOST_WORDS:
        raise CannotMergeError
    hunks = [
        find_hunks(base, words, shown=list(map("".join, zip(spaces, words, strict=True)))) for spaces, words in sides
    ]
    if share_a_place(*hunks):
        raise CannotMergeError
    shown = list(map("".join, zip(merge_spaces(base, base_spaces, sides), base, strict=True)))
    merged = apply_both(shown, hunks[theirs_first], hunks[not theirs_first])
    if merged is None:
        raise CannotMergeError
    return "".join(merged)


def share_a_place(ours: Sequence[Hunk], theirs: Sequence[Hunk]) -> bool:
    """Whether both put different words between the same two words, other than whole lines."""
    there = {hunk.start: hunk for hunk in theirs if hunk.start == hunk.stop}
    pairs = [(hunk, there[hunk.start]) for hunk in ours if hunk.start == hunk.stop and hunk.start in there]
    return any(one != two and not ("\n" in one.items[0] and "\n" in two.items[0]) for one, two in pairs)


def merge_spaces(base: Sequence[str], spaces: Sequence[str], sides: Sequence[Spaced]) -> Iterator[str]:
    """Yield the white space before each word of the base: of the side that changed it, or ours."""
    matches = [dict(match_items(base, words)) for _, words in sides]
    for n, was in enumerate(spaces):
        mine, yours = (side[match[n]] if n in match else was for match, (side, _) in zip(matches, sides, strict=True))
        changed = pick_changed(was, mine, yours)
        yield mine if changed is None else changed


def glue(spaces: Iterable[str], words: Sequence[str]) -> list[str]:
    return [space + word for space, word in zip(spaces, words, strict=True)]


def split_words(text: str) -> Spaced:
    """Return the white space before each word, and the words; the last word is empty and has the end's white space."""
    found = WORD.findall(text)
    return [space for space, _ in found], [word for _, word in found]
