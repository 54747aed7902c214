"""Files whose lines may be in any order by their format, though no test can see it. Pure."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from orchestra.merging.trust import CannotMergeError

Lines = Sequence[str]
IGNORED = r"\S.*"
REQUIREMENT = r"[\w.\[\],-]+\s*([=<>!~]=?.*)?"
BULLET = re.compile(r"(\s*)([-*+])(\s+)\S")
PATTERNS = {".gitignore": IGNORED, ".dockerignore": IGNORED, ".eslintignore": IGNORED, ".prettierignore": IGNORED}
PROSE = (".md", ".rst", ".markdown")
CHANGELOG = re.compile(r"(changes|changelog|history|news)\b", re.IGNORECASE)


def join_entries(path: str, ours: Lines, theirs: Lines) -> list[str] | None:
    """Return both sides' entries, each once. None if they are no such entries."""
    name = PurePosixPath(path)
    if name.suffix in PROSE or CHANGELOG.match(name.name):
        sides = [split_bullets(side) for side in (ours, theirs)]
        return None if None in sides else join_once(*[side or [] for side in sides])
    pattern = PATTERNS.get(name.name)
    if name.suffix == ".txt" and name.name.startswith("requirements"):
        pattern = REQUIREMENT
    if not pattern or not all(re.fullmatch(pattern, line.strip()) for line in (*ours, *theirs)):
        return None
    if pattern == REQUIREMENT and {subject_of(line) for line in set(ours) - set(theirs)} & {
        subject_of(line) for line in set(theirs) - set(ours)
    }:
        raise CannotMergeError
    return join_once(list(ours), list(theirs))


def subject_of(line: str) -> str:
    return re.split(r"(?<=.)[=<>!~\[]", line)[0].strip()


def join_once(ours: Lines, theirs: Lines) -> list[str]:
    return [*ours, *(entry for entry in theirs if entry not in ours)]


def split_bullets(lines: Lines) -> list[str] | None:
    """Return the bullets, each with the lines that continue it. None for anything else, or two sorts of bullets."""
    bullets: list[str] = []
    marks: set[tuple[str, ...]] = set()
    for line in lines:
        mark = BULLET.match(line)
        if mark and (not marks or mark.groups() in marks):
            marks.add(mark.groups())
            bullets.append(line)
        elif bullets and (not line.strip() or line.startswith(" " * len("".join(next(iter(marks)))))):
            bullets[-1] += line
        else:
            return None
    return bullets
