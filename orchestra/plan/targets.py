"""Which files the change is about: what the user named, checked against the repository before anything is paid."""

import fnmatch
import posixpath
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace

from orchestra.errors import PlanError
from orchestra.judge.permit import Permit
from orchestra.judge.protected import belongs_to_us
from orchestra.model import Prd, TargetFile
from orchestra.plan.digest import NOISE
from orchestra.plan.sizing import tokens_of

GLOB = "*?["
# What people do not write themselves: left out of folders and globs, changed only when named one by one.
ASIDE = {"vendored": "vendored or made by tools", "generated": "generated"}


PROTECTED = "act by themselves (CI, hooks, build scripts, tool settings)"


@dataclass(frozen=True)
class Tracked:
    """What planning needs to know of a file at the base."""

    path: str
    size: int
    kind: str = "text"  # or link, submodule, binary, lfs, name, or a key of ASIDE
    why_not_editable: str = ""  # by the agents


@dataclass(frozen=True)
class Targets:
    files: tuple[TargetFile, ...]
    skipped: tuple[str, ...] = ()  # what Aider cannot edit
    aside: tuple[str, ...] = ()  # what people do not edit
    protected: tuple[str, ...] = ()  # what acts by itself, and was not asked for by its name
    named: tuple[str, ...] = ()  # what a person has named one by one


def named(
    patterns: Sequence[str],
    tracked: Mapping[str, Tracked],
    why_not: Mapping[str, str],
    said: str = "--files",
    permit: Permit = Permit(),  # noqa: B008  it is frozen
) -> Targets:
    """The files that --files means. `why_not` says of a path that is not tracked what it is instead."""
    chosen: dict[str, Tracked] = {}
    skipped: dict[str, None] = {}
    aside: dict[str, None] = {}
    protected: dict[str, None] = {}
    for pattern in patterns:
        found = matches(pattern, tracked)
        if not found:
            raise PlanError(f"{said} {pattern}: {why_not.get(pattern) or 'no tracked file matches'}.")
        if found == [pattern]:
            refuse_special(tracked[pattern], f"{said} {pattern}: it")
            refuse_ours(pattern, f"{said} {pattern}: it")
        protected.update((path, None) for path in found if permit.why_not(path))
        found = [path for path in found if path not in protected]
        wanted = pattern in found or NOISE.search(f"{pattern}/")
        usual = {"text", *ASIDE} if wanted else {"text"}
        chosen.update((path, tracked[path]) for path in found if tracked[path].kind in usual)
        skipped.update((shown(tracked[path]), None) for path in found if tracked[path].why_not_editable)
        aside.update((path, None) for path in found if tracked[path].kind in ASIDE)
    if not chosen:
        raise PlanError(f"{said} {' '.join(patterns)}: only files match {nothing_left(skipped, aside, protected)}.")
    files = tuple(target(chosen[path], path in patterns) for path in sorted(chosen))
    return Targets(files, tuple(skipped), tuple(path for path in aside if path not in chosen), tuple(protected))


def nothing_left(skipped: Sized, aside: Sized, protected: Sized) -> str:
    """Why no file is left of those that match."""
    if protected and not skipped and not aside:
        return f"that {PROTECTED}; name them one by one"
    return "that Aider cannot edit" if skipped or not aside else "that tools made; name them one by one"


def shown(file: Tracked) -> str:
    return file.path.encode("unicode_escape").decode() if file.kind == "name" else file.path


def matches(pattern: str, tracked: Iterable[str]) -> list[str]:
    """A tracked file means itself, a folder everything under it; a glob may cross folders with **, and a bare * stays
    in its folder. Brackets are first taken for themselves, because some frameworks name folders `[slug]`."""
    if pattern in tracked:
        return [pattern]
    under = [path for path in tracked if pattern == "." or path.startswith(pattern + "/")]
    if under or not has_glob(pattern):
        return under
    literally = pattern.replace("[", "[[]").split("/")
    return globbed(literally, tracked) or globbed(pattern.split("/"), tracked)


def has_glob(pattern: str) -> bool:
    return any(sign in pattern for sign in GLOB)


def globbed(pattern: list[str], tracked: Iterable[str]) -> list[str]:
    return [path for path in tracked if glob_match(path.split("/"), pattern)]


def glob_match(path: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return glob_match(path, pattern[1:]) or (bool(path) and glob_match(path[1:], pattern))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and glob_match(path[1:], pattern[1:])


def refuse_special(file: Tracked, who: str) -> None:
    if file.why_not_editable:
        raise PlanError(f"{who} {file.why_not_editable}.")


def refuse_ours(path: str, who: str) -> None:
    if belongs_to_us(path):
        raise PlanError(f"{who} belongs to this program, which obeys it; change it yourself.")


def from_prd(prd: Prd, tracked: Mapping[str, Tracked], permit: Permit = Permit()) -> Targets:  # noqa: B008
    """The files that the PRD's work names: existing ones as they are, the others as new ones."""
    if not prd.work:
        raise PlanError("The PRD names no files to change.", hint="Say them with --files.")
    chosen, protected = [], []
    for work in prd.work:
        file = tracked.get(work.file)
        if file is not None:
            refuse_special(file, f"The PRD names {work.file!r}, but it")
        else:
            refuse_outside(work.file, tracked)
        if permit.why_not(work.file):
            protected.append(work.file)
        else:
            chosen.append(target(file, True) if file else TargetFile(work.file, 0, new=True, required=True))
    if not chosen:
        hint = "Name them in --change or --files."
        raise PlanError(f"The PRD names only files that {PROTECTED}: {', '.join(protected[:5])}.", hint=hint)
    return Targets(tuple(sorted(chosen, key=lambda file: file.path)), protected=tuple(sorted(protected)))


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


def target(file: Tracked, required: bool) -> TargetFile:
    return TargetFile(file.path, tokens_of(file.size), required=required)


def asked_for(targets: Targets, prd: Prd) -> Targets:
    """With --files and a PRD: what the PRD asks of a file must be done."""
    wanted = {work.file for work in prd.work}
    files = tuple(replace(file, required=file.required or file.path in wanted) for file in targets.files)
    return replace(targets, files=files)
