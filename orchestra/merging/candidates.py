"""Propose how two edits of one file may be merged where git reports a conflict. Pure.

A wrong merge is worse than a conflict. So each candidate says how sure it is by its form, all of them pass the cheap
checks, and the caller proves the rest: it runs the tests of both sides on the merged tree.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from orchestra.merging.checks import Sides, find_loss
from orchestra.merging.regions import merge_conflicts
from orchestra.merging.structure import TreeMerge
from orchestra.merging.trees import as_piece
from orchestra.merging.trust import Candidate, CannotMergeError, Trust, pick_changed

__all__ = ["Candidate", "Trust", "propose_merges", "why_too_large"]

MOST_LINES = 50_000
MOST_CHARACTERS = 2_000_000
BOM = "\ufeff"
REASONS = {
    Trust.BY_FORMAT: "Both sides only add entries, and the file's format gives their order no meaning.",
    Trust.BY_STRUCTURE: "The sides change different parts whose order has no meaning.",
    Trust.BY_TESTS: "The sides change parts that may depend on one another: only tests can tell.",
}


def propose_merges(path: str, base: str, ours: str, theirs: str) -> list[Candidate]:
    """Return every merged text that passes the cheap checks, the most trusted first, each text once.

    Empty: only the author can merge them.
    """
    if why_too_large(base, ours, theirs) or not all(map(is_encodable, (base, ours, theirs))):
        return []
    sides = Sides(path, *(as_plain(text) for text in (base, ours, theirs)))
    found: dict[str, Candidate] = {}
    for candidate in sorted(propose(sides), key=lambda candidate: candidate.trust):
        found.setdefault(candidate.text, candidate)
    return [restore_ends(found[text], base, ours, theirs) for text in found if not find_loss(sides, text)]


def why_too_large(base: str, ours: str, theirs: str) -> str:
    """Return why the texts are not merged here, in one sentence. "" if they are small enough."""
    for text in (base, ours, theirs):
        if len(text) > MOST_CHARACTERS or text.count("\n") > MOST_LINES:
            return f"A file of more than {MOST_LINES:,} lines or {MOST_CHARACTERS:,} characters is left to its author."
    return ""


def is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def propose(sides: Sides) -> Iterator[Candidate]:
    for find in CANDIDATES:
        for theirs_first in (False, True):
            with suppress(CannotMergeError):
                yield from (candidates := list(find(sides, theirs_first)))
                if all(candidate.trust < Trust.BY_TESTS for candidate in candidates):
                    break


def propose_by_tree(sides: Sides, theirs_first: bool) -> Iterator[Candidate]:
    """Merge definitions, members, statements and elements of lists by the file's grammar."""
    base, ours, theirs = sides.sources
    if base and ours and theirs:
        merge = TreeMerge(theirs_first)
        text = merge.merge([as_piece(source) for source in (base, ours, theirs)]).decode("utf-8", "surrogatepass")
        yield make_candidate(text, merge.trust, list(merge.kinds) or ["parts"], theirs_first)


def propose_by_lines(sides: Sides, theirs_first: bool) -> Iterator[Candidate]:
    """Keep the lines of both sides, if neither changed what the other did."""
    for once in (False, True):
        lines, trust, rule = merge_conflicts(sides.path, sides.regions, theirs_first=theirs_first, once=once)
        yield make_candidate("".join(lines), trust, [rule], theirs_first)


# The most trusted first, where two give the same text with the same trust.
CANDIDATES: Sequence[Callable[[Sides, bool], Iterator[Candidate]]] = (propose_by_tree, propose_by_lines)


def make_candidate(text: str, trust: Trust, kinds: Sequence[str], theirs_first: bool) -> Candidate:
    name = ", ".join(dict.fromkeys(kinds)) + (", theirs first" if theirs_first and trust is Trust.BY_TESTS else "")
    return Candidate(text, name, trust, REASONS[trust])


def as_plain(text: str) -> str:
    """Return it without a byte order mark, and with a newline at the end."""
    text = text.removeprefix(BOM)
    return text + find_newline(text) if text and not text.endswith("\n") else text


def find_newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def restore_ends(candidate: Candidate, *texts: str) -> Candidate:
    """Give the merged text the byte order mark and the end of the side that changed them."""
    marked = pick_changed(*(text.startswith(BOM) for text in texts))
    ended = pick_changed(*(text.endswith("\n") or not text.removeprefix(BOM) for text in texts))
    text = candidate.text if ended else candidate.text.removesuffix(find_newline(candidate.text))
    return replace(candidate, text=(BOM if marked else "") + text)
