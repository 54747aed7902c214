"""Whether a person has asked for an edit of a protected file by its name. No folder, glob or model asks for one."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from orchestra.judge.manifests import TEST_SETUP, NotPlain, changes_of, changes_our_table, reader_of
from orchestra.judge.protected import FOR_A_START, TABLE, Kind, belongs_to_us, is_test_setup, kind_of

# "do not touch the Makefile": the name stands in the text, and yet nobody asks for it.
NEGATED = re.compile(
    r"(?:\b(?:do|must|should|shall|may|need|can|will)(?: not|n['’]t)|\bcannot|\bnot to|\bnever|\bwithout"
    r"|\bexcept(?: for)?|\bbut not|\bavoid|\bleave|\binstead of|\brather than)\b(?:\W+[\w'’-]+){0,5}?\W*$",
    re.IGNORECASE,
)
CLAUSE = re.compile(r"[,;:!?\n]|\.\s")


class Edit(NamedTuple):
    """What is thought of an edit: why it is not taken, or what a report should name of one that is."""

    held: str = ""
    named: str = ""


@dataclass(frozen=True)
class Permit:
    """What a person has asked for. `paths` were named one by one, `words` are the person's own; `tracked` are the files
    of the base, so that a bare name can be seen to mean one file only."""

    paths: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    tracked: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def names(self) -> Counter[str]:
        return Counter(base_name(path) for path in self.tracked)

    def covers(self, path: str) -> bool:
        """Whether this very file was asked for."""
        return path in self.paths or any(
            mentions(text, name, exactly=path not in self.tracked) for text in self.words for name in self.spelled(path)
        )

    def spelled(self, path: str) -> tuple[str, ...]:
        """How a text may name the file: by its path, and by its name where no other file has that."""
        name = base_name(path)
        return (path, path.rpartition("/")[2]) if path in self.tracked and self.names[name] == 1 else (path,)

    def why_not(self, path: str) -> str:
        """Why a file may not be given to an agent as it stands; nothing where it may."""
        kind = kind_of(path)
        if belongs_to_us(path):
            return Kind.OWN
        started = not self.tracked and kind in FOR_A_START
        return "" if kind is None or started or self.covers(path) else str(kind)

    def judge(self, path: str, before: bytes, after: bytes) -> Edit:
        """The edit of one file, from what it was in the base to what it is now."""
        if changes_our_table(path, before, after):
            return Edit(held=f"changes [{TABLE}]")
        if why_not := self.why_not(path):
            return Edit(held=why_not)
        if is_test_setup(path):
            return Edit(named=TEST_SETUP)
        if reader_of(path) is None:
            return Edit()
        try:
            return Edit(named=" and ".join(sorted(changes_of(path, before, after))))
        except NotPlain as more:
            asked = self.covers(path) or not self.tracked
            return Edit(named=str(more)) if asked else Edit(held=str(more))


def base_name(path: str) -> str:
    return path.rpartition("/")[2].casefold()


def mentions(text: str, name: str, *, exactly: bool) -> bool:
    """Whether the text speaks of this file, and not of a longer path, or of what must not be done. `exactly`: a new
    `makefile` would be read in place of the `Makefile` that was asked for."""
    # "build" and "configure" are also words: such a name counts only where it cannot be one.
    is_word = not (set(name) & set("./")) and not name.casefold().endswith("file")
    sign = re.escape(name)
    wanted = (
        rf"[`'\"]{sign}[`'\"]|\./{sign}(?![\w/-]|\.\w)" if is_word else rf"(?<![\w./@-])(?:\./)?{sign}(?![\w/-]|\.\w)"
    )
    found = re.finditer(wanted, text, 0 if exactly else re.IGNORECASE)
    return any(not NEGATED.search(CLAUSE.split(text[: match.start()])[-1]) for match in found)
