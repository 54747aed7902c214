"""Check that a merged text has everything of both sides, once. Pure."""

import ast
import json
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import TypeVar

from orchestra.merging.definitions import OVERLOADS, Definition, split_scopes, walk_definitions
from orchestra.merging.sequences import Region, merge_regions, split_lines
from orchestra.merging.trees import Source, count_errors, parse_text


def read_json(text: str) -> object:
    return json.loads(text, object_pairs_hook=need_different_keys)


def need_different_keys(pairs: list[tuple[str, object]]) -> list[tuple[str, object]]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice")
    return pairs


READERS: dict[str, Callable[[str], object]] = {
    ".py": ast.parse,
    ".pyi": ast.parse,
    ".json": read_json,
    ".toml": tomllib.loads,
}
T = TypeVar("T")
Scopes = Mapping[str, Counter[str]]  # the words of each definition
WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Sides:
    """The three texts of a file, with what the checks need of them, read once."""

    path: str
    base: str
    ours: str
    theirs: str

    @property
    def texts(self) -> tuple[str, str, str]:
        return self.base, self.ours, self.theirs

    @cached_property
    def lines(self) -> tuple[list[str], list[str], list[str]]:
        base, ours, theirs = map(split_lines, self.texts)
        return base, ours, theirs

    @cached_property
    def sources(self) -> list[Source | None]:
        return [parse_text(self.path, text) for text in self.texts]

    @cached_property
    def parse_well(self) -> bool:
        return all(is_readable(self.path, text) for text in (self.ours, self.theirs))

    @cached_property
    def most_errors(self) -> int:
        return max(count_errors(source) if source else 0 for source in self.sources[1:])

    @cached_property
    def definitions(self) -> list[Counter[Definition]]:
        return [count_definitions(source) for source in self.sources]

    @cached_property
    def regions(self) -> list[Region]:
        return list(merge_regions(*self.lines))

    @cached_property
    def words(self) -> list[Counter[str]]:
        """Count the words of each side in the conflicts."""
        conflicts = [region.conflict for region in self.regions if region.conflict]
        return [count_words("".join("".join(sides[n]) for sides in conflicts)) for n in range(3)]

    @cached_property
    def scopes(self) -> list[Scopes]:
        return [count_by_scope(source) for source in self.sources]

    @cached_property
    def settled(self) -> list[str]:
        """What git merges, as texts: the places between the conflicts, in order."""
        runs: list[list[str]] = [[]]
        for region in self.regions:
            if region.conflict:
                runs.append([])
            else:
                runs[-1] += region.merged
        return ["".join(run) for run in runs]


def find_loss(sides: Sides, merged: str) -> str:
    """Return what is wrong with a merged text, in one sentence. "" if all checks pass."""
    source = parse_text(sides.path, merged)
    if sides.parse_well and not is_readable(sides.path, merged):
        return "It does not parse, and both sides do."
    if source and count_errors(source) > sides.most_errors:
        return "It has more syntax errors than its sides."
    if wrong := find_miscount([*sides.definitions, count_definitions(source)], once=not has_overloads(source)):
        return f"A definition or import is lost or doubled: {wrong.name}."
    if rival := find_rivals(*sides.definitions):
        return f"Both sides give one name to different things: {rival}."
    if not keeps_settled(sides.settled, merged):
        return "It changes what git merges without a conflict."
    words = count_words(merged)
    words.subtract(count_words("".join(sides.settled)))
    if word := find_miscount([*sides.words, words]):
        return f"A word is lost or doubled: {word}."
    if scope := find_displaced(sides.scopes, count_by_scope(source)):
        return f"A part of {scope} stands elsewhere, or it has a part of something else."
    return ""


def is_readable(path: str, text: str) -> bool:
    """Whether the standard library can read the text. True for a file that it does not know."""
    reader = READERS.get(PurePosixPath(path).suffix)
    if reader is None:
        return True
    try:
        reader(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False
    return True


def count_definitions(source: Source | None) -> Counter[Definition]:
    """Count definitions and imports. In Python the same import may stand twice."""
    counts = Counter(walk_definitions(source) if source else ())
    if source and source.language == "python":
        counts = Counter({key: min(count, 1) if " " in key.origin else count for key, count in counts.items()})
    return counts


def has_overloads(source: Source | None) -> bool:
    return bool(source and source.language in OVERLOADS)


def find_rivals(base: Counter[Definition], ours: Counter[Definition], theirs: Counter[Definition]) -> str:
    """Return a name that both sides newly give to different things."""
    known = {key.name for key in base}
    mine, yours = (group_new(side, known) for side in (ours, theirs))
    return next((name for name in mine if mine[name] != yours.get(name, mine[name])), "")


def group_new(side: Counter[Definition], known: set[str]) -> dict[str, set[tuple[str, memoryview]]]:
    """Group what a side defines under new names."""
    found: dict[str, set[tuple[str, memoryview]]] = {}
    for key in side:
        if key.name not in known:
            found.setdefault(key.name, set()).add((key.origin, key.text))
    return found


def count_words(text: str) -> Counter[str]:
    """Count words and signs; commas separate, and their number depends on what else is there."""
    counts = Counter(WORD.findall(text))
    del counts[","]
    return counts


def count_by_scope(source: Source | None) -> Scopes:
    """Count the words of each definition without those inside of it."""
    counts = defaultdict[str, Counter[str]](Counter)
    for name, text in split_scopes(source) if source else ():
        counts[name].update(count_words(text.decode("utf-8", "replace")))
    return dict(counts)


def find_displaced(sides: Sequence[Scopes], merged: Scopes) -> str:
    """Return the name of a definition that has not the words which its sides give it.

    Lines that are alike in two functions let a merge by lines put a part of one into the other.
    """
    return next((name for name in merged if name and not has_own_words(name, merged[name], sides)), "")


def has_own_words(name: str, words: Counter[str], sides: Sequence[Scopes]) -> bool:
    base, ours, theirs = sides
    owners = [side for side in (ours, theirs) if name in side]
    if name in base:
        return len(owners) < 2 or find_miscount([side[name] for side in sides] + [words]) is None
    if len(owners) != 1:
        return True
    added, removed = count_edits(base, owners[0], theirs if owners[0] is ours else ours)
    own = owners[0][name]
    return not (words - own - added or own - words - removed)


def count_edits(base: Scopes, side: Scopes, other: Scopes) -> tuple[Counter[str], Counter[str]]:
    """Count what the other side adds to and takes from definitions that a side has no more: they may have new names."""
    added, removed = Counter[str](), Counter[str]()
    for name, words in base.items():
        if name in other and name not in side:
            added += other[name] - words
            removed += words - other[name]
    return added, removed


def find_miscount(counts: Sequence[Counter[T]], *, once: bool = False) -> T | None:
    """Return what stands in the merged text (the last) more or less often than both sides' changes allow.

    `once`: what both sides added may not stand there twice.
    """
    base, ours, theirs, merged = counts
    for key in dict.fromkeys(key for counter in counts for key in counter):
        was, mine, yours = base[key], ours[key], theirs[key]
        both = max(0, mine + yours - was)
        least, most = sorted((both, max(mine, yours))) if min(mine, yours) >= was else (both, both)
        if max(mine, yours) <= was:
            most = min(mine, yours)
        if not least <= merged[key] <= (least if once and min(mine, yours) >= was else most):
            return key
    return None


def keeps_settled(settled: Sequence[str], merged: str) -> bool:
    """Whether the places between the conflicts stand in the merged text, in order, from its start to its end."""
    first, last = settled[0], settled[-1]
    if len(settled) == 1:
        return merged == first
    if not (merged.startswith(first) and merged.endswith(last)):
        return False
    at = len(first)
    for run in settled[1:-1]:
        at = merged.find(run, at)
        if at < 0:
            return False
        at += len(run)
    return at <= len(merged) - len(last)
