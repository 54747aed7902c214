"""Decide whether a person asked for an edit of a protected file by its name. A folder, a glob or a model cannot ask."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from orchestra.judge.manifests import TEST_SETUP, NotPlainEdit, changes_own_settings, manifest_changes, manifest_reader
from orchestra.judge.protected import (
    ALLOWED_WHEN_EMPTY,
    TABLE,
    ProtectedKind,
    is_own_file,
    is_test_setup,
    protection_of,
)

# In "do not touch the Makefile" the name occurs, but the edit is not requested.
NEGATED = re.compile(
    r"(?:\b(?:do|must|should|shall|may|need|can|will)(?: not|n['’]t)|\bcannot|\bnot to|\bnever|\bwithout"
    r"|\bexcept(?: for)?|\bbut not|\bavoid|\bleave|\binstead of|\brather than)\b(?:\W+[\w'’-]+){0,5}?\W*$",
    re.IGNORECASE,
)
CLAUSE = re.compile(r"[,;:!?\n]|\.\s")


class EditDecision(NamedTuple):
    """The decision about an edit: why it is refused, or what to report about an accepted one."""

    refused: str = ""
    notable: str = ""


@dataclass(frozen=True)
class Permit:
    """What a person has asked for.

    `paths` were named one by one, `words` are the person's own. `tracked`: files of the base, to see whether a bare
    name means one file only.
    """

    paths: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    tracked: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def name_counts(self) -> Counter[str]:
        return Counter(base_name(path) for path in self.tracked)

    def covers(self, path: str) -> bool:
        """Whether this very file was requested."""
        return path in self.paths or any(
            mentions_file(text, name, exactly=path not in self.tracked)
            for text in self.words
            for name in self.spellings(path)
        )

    def spellings(self, path: str) -> tuple[str, ...]:
        """Return how a text may name the file: by its path, and by its bare name if no other file has it."""
        name = base_name(path)
        return (path, path.rpartition("/")[2]) if path in self.tracked and self.name_counts[name] == 1 else (path,)

    def refusal_for(self, path: str) -> str:
        """Return why a file may not be given to an agent; empty if it may."""
        kind = protection_of(path)
        if is_own_file(path):
            return ProtectedKind.OWN
        started = not self.tracked and kind in ALLOWED_WHEN_EMPTY
        return "" if kind is None or started or self.covers(path) else str(kind)

    def judge_edit(self, path: str, before: bytes, after: bytes) -> EditDecision:
        """Judge the edit of one file, from its content in the base to its content now."""
        if changes_own_settings(path, before, after):
            return EditDecision(refused=f"changes [{TABLE}]")
        if why_not := self.refusal_for(path):
            return EditDecision(refused=why_not)
        if is_test_setup(path):
            return EditDecision(notable=TEST_SETUP)
        if manifest_reader(path) is None:
            return EditDecision()
        try:
            return EditDecision(notable=" and ".join(sorted(manifest_changes(path, before, after))))
        except NotPlainEdit as more:
            asked = self.covers(path) or not self.tracked
            return EditDecision(notable=str(more)) if asked else EditDecision(refused=str(more))


def base_name(path: str) -> str:
    return path.rpartition("/")[2].casefold()


def mentions_file(text: str, name: str, *, exactly: bool) -> bool:
    """Whether the text names this file, not a longer path and not as forbidden. `exactly`: a new `makefile` would be
    read in place of the requested `Makefile`."""
    # "build" and "configure" are also words: such a name counts only if it cannot be one.
    is_word = not (set(name) & set("./")) and not name.casefold().endswith("file")
    sign = re.escape(name)
    wanted = (
        rf"[`'\"]{sign}[`'\"]|\./{sign}(?![\w/-]|\.\w)" if is_word else rf"(?<![\w./@-])(?:\./)?{sign}(?![\w/-]|\.\w)"
    )
    found = re.finditer(wanted, text, 0 if exactly else re.IGNORECASE)
    return any(not NEGATED.search(CLAUSE.split(text[: match.start()])[-1]) for match in found)
