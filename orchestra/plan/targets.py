"""Which files the change is about: what the user named, checked against the repository before anything is paid."""

import fnmatch
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestra.errors import PlanError
from orchestra.model import Prd, TargetFile
from orchestra.plan.sizing import tokens_of

GLOB = "*?["


@dataclass(frozen=True)
class Tracked:
    """What planning needs to know of a file at the base."""

    path: str
    size: int
    kind: str = "text"  # text, binary, link or submodule


@dataclass(frozen=True)
class Targets:
    files: tuple[TargetFile, ...]
    skipped: tuple[str, ...] = ()


def named(patterns: Sequence[str], tracked: Mapping[str, Tracked], why_not: Mapping[str, str]) -> Targets:
    """The files that --files means. `why_not` says of a path that is not tracked what it is instead."""
    chosen: dict[str, Tracked] = {}
    skipped: dict[str, None] = {}
    for pattern in patterns:
        exact = tracked.get(pattern)
        if exact is not None:
            refuse_special(exact)
            chosen[pattern] = exact
            continue
        found = matches(pattern, tracked)
        if not found:
            raise PlanError(why_not.get(pattern) or f"--files {pattern}: no tracked file matches.")
        chosen.update((path, tracked[path]) for path in found if tracked[path].kind == "text")
        skipped.update((path, None) for path in found if tracked[path].kind != "text")
    if not chosen:
        raise PlanError(f"--files {' '.join(patterns)}: only binary files and links match, which Aider cannot edit.")
    return Targets(tuple(target(chosen[path]) for path in sorted(chosen)), tuple(skipped))


def matches(pattern: str, tracked: Iterable[str]) -> list[str]:
    """A folder means everything under it; a glob may cross folders with **, and a bare * stays in its folder."""
    folder = pattern.rstrip("/")
    under = [path for path in tracked if folder in ("", ".") or path.startswith(folder + "/")]
    if under or not any(sign in pattern for sign in GLOB):
        return under
    return [path for path in tracked if glob_match(path.split("/"), pattern.split("/"))]


def glob_match(path: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return glob_match(path, pattern[1:]) or bool(path) and glob_match(path[1:], pattern)
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and glob_match(path[1:], pattern[1:])


def refuse_special(file: Tracked) -> None:
    reasons = {
        "link": "is a symbolic link; name the file it points to",
        "binary": "is not UTF-8 text; Aider edits text files only",
        "submodule": "is a submodule; run inside it",
    }
    if file.kind in reasons:
        raise PlanError(f"--files {file.path}: it {reasons[file.kind]}.")


def from_prd(prd: Prd, tracked: Mapping[str, Tracked]) -> Targets:
    """The files that the PRD's work names: existing ones as they are, the others as new ones."""
    if not prd.work:
        raise PlanError("The PRD names no files to change.", hint="Say them with --files.")
    chosen = []
    for work in prd.work:
        file = tracked.get(work.file)
        if file is not None:
            refuse_special(file)
            chosen.append(target(file))
        else:
            refuse_outside(work.file, tracked)
            chosen.append(TargetFile(work.file, 0, new=True))
    return Targets(tuple(sorted(chosen, key=lambda file: file.path)))


def refuse_outside(path: str, tracked: Mapping[str, Tracked]) -> None:
    parts = path.split("/")
    if posixpath.isabs(path) or ".." in parts or ".git" in parts:
        raise PlanError(f"The PRD names {path!r}, which does not lie in the repository.")
    if any(name.startswith(path + "/") for name in tracked):
        raise PlanError(f"The PRD names {path!r} as a file, but it is a folder.")
    for n in range(1, len(parts)):
        above = tracked.get("/".join(parts[:n]))
        if above is not None:
            raise PlanError(f"The PRD names {path!r}, but {above.path!r} is a {above.kind} file, not a folder.")


def target(file: Tracked) -> TargetFile:
    return TargetFile(file.path, tokens_of(file.size))
