"""Files whose lines may be in any order by their format, though no test can see it. Pure."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from orchestra.merging.trust import CannotMergeError

Lines = Sequence[str]
IGNORED = r"([^!].*)?"  # `!` takes back what stands before it
REQUIREMENT = r"[\w.\[\],-]+\s*([=<>!~]=?.*)?"
BULLET = re.compile(r"(\s*[-*+]\s+)\S")
PATTERNS = {".gitignore": IGNORED, ".dockerignore": IGNORED, ".eslintignore": IGNORED, ".prettierignore": IGNORED}
PROSE = (".md", ".rst", ".markdown")
CHANGELOG = re.compile(r"(changes|changelog|history|news)\b", re.IGNORECASE)


def join_entries(path: str, ours: Lines, theirs: Lines) -> list[str] | None:
    """Return both sides' entries, each once. None if they are no such entries."""
    name = PurePosixPath(path)
    if CHANGELOG.match(name.name) and (sections := join_sections(ours, theirs)):
        return sections
    if name.suffix in PROSE or CHANGELOG.match(name.name):
        return join_bullets(ours, theirs)
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
    """Return the entries of both, those in both once; blank lines and comments may stand twice."""
    known = {entry.strip() for entry in ours if not entry.startswith("#")} - {""}
    return [*ours, *(entry for entry in theirs if entry.strip() not in known)]


def join_bullets(ours: Lines, theirs: Lines) -> list[str] | None:
    """Return the bullets of both sides. One side may go on with other text, such as the next section."""
    (mine, rest), (yours, other) = split_bullets(ours), split_bullets(theirs)
    if not (mine and yours) or (rest and other) or mark_of(mine[0]) != mark_of(yours[0]):
        return None
    sides = (yours, mine) if rest else (mine, yours)
    between = next((blank for side in sides for bullet in side[:-1] if (blank := find_blank(bullet))), "")
    bullets = dict.fromkeys(bullet.removesuffix(find_blank(bullet)) for side in sides for bullet in side)
    end = max((find_blank(side[-1]) for side in sides), key=len)
    *first, last = bullets
    return [*(bullet + between for bullet in first), last + end, *rest, *other]


def find_blank(bullet: str) -> str:
    """Return the blank lines at the end of a bullet."""
    return bullet[len(bullet.rstrip()) :].partition("\n")[2]


def join_sections(ours: Lines, theirs: Lines) -> list[str] | None:
    """Return two sections of a changelog, the newer version first. None if they do not start with two versions."""
    versions = [[int(number) for number in re.findall(r"\d+", lines[0])] for lines in (ours, theirs)]
    if not all(versions) or versions[0] == versions[1] or any(BULLET.match(lines[0]) for lines in (ours, theirs)):
        return None
    return [*ours, *theirs] if versions[0] > versions[1] else [*theirs, *ours]


def split_bullets(lines: Lines) -> tuple[list[str], Lines]:
    """Return the first bullets, each with the lines that continue it, and the rest."""
    bullets: list[str] = []
    for number, line in enumerate(lines):
        if BULLET.match(line) and (not bullets or mark_of(line) == mark_of(bullets[0])):
            bullets.append(line)
        elif bullets and (not line.strip() or line.startswith(" " * len(mark_of(bullets[0])))):
            bullets[-1] += line
        else:
            return bullets, lines[number:]
    return bullets, []


def mark_of(bullet: str) -> str:
    mark = BULLET.match(bullet)
    return mark.group(1) if mark else ""
