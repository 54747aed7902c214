"""Choose the target files: what the user named, checked against the repository before anything is paid."""

import difflib
import fnmatch
import posixpath
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from orchestra.errors import PlanError
from orchestra.judge.permit import Permit
from orchestra.judge.protected import is_own_file
from orchestra.model import Prd, TargetFile
from orchestra.plan.digest import NOISE
from orchestra.plan.sizing import tokens_of_size

# Files that people do not write: left out of folders and globs, changed only if named one by one.
SKIPPED_KINDS = {"vendored": "vendored or made by tools", "generated": "generated"}
NO_SUCH_FILE = "there is no such file in the repository"
TYPO_LENGTH = 3
PROTECTED = "act by themselves (CI, hooks, build scripts, tool settings)"


@dataclass(frozen=True)
class TrackedFile:
    """What planning knows about a file at the base."""

    path: str
    size: int
    kind: str = "text"  # or link, submodule, binary, lfs, name, or a key of SKIPPED_KINDS
    why_not_editable: str = ""  # by the agents


@dataclass(frozen=True)
class Targets:
    files: tuple[TargetFile, ...]
    skipped: tuple[str, ...] = ()  # what Aider cannot edit
    aside: tuple[str, ...] = ()  # what people do not edit
    protected: tuple[str, ...] = ()  # files that act by themselves and were not named
    named: tuple[str, ...] = ()  # what a person has named one by one


def select_targets(
    patterns: Sequence[str],
    tracked: Mapping[str, TrackedFile],
    why_not: Mapping[str, str],
    option: str = "--files",
    permit: Permit = Permit(),  # noqa: B008  it is frozen
) -> Targets:
    """Select the files that --files means. `why_not`: explains a path that is not tracked."""
    chosen = dict[str, TrackedFile]()
    skipped, aside, protected = dict[str, None](), dict[str, None](), dict[str, None]()
    for pattern in patterns:
        found = match_paths(pattern, tracked)
        if not found:
            why = why_not.get(pattern) or "no tracked file matches"
            hint = suggest_path(pattern, tracked) if why_not.get(pattern, "") in ("", NO_SUCH_FILE) else ""
            raise PlanError(f"{option} {pattern}: {why}.", hint=hint)
        if found == [pattern]:
            refuse_special(tracked[pattern], f"{option} {pattern}: it")
            if is_own_file(pattern):
                raise PlanError(f"{option} {pattern}: it configures this program; change it yourself.")
        protected.update((path, None) for path in found if permit.refusal_for(path))
        found = [path for path in found if path not in protected]
        wanted = pattern in found or NOISE.search(f"{pattern}/")
        usual = {"text", *SKIPPED_KINDS} if wanted else {"text"}
        chosen.update((path, tracked[path]) for path in found if tracked[path].kind in usual)
        for file in (tracked[path] for path in found if tracked[path].why_not_editable):
            skipped[file.path.encode("unicode_escape").decode() if file.kind == "name" else file.path] = None
        aside.update((path, None) for path in found if tracked[path].kind in SKIPPED_KINDS)
    if not chosen:
        why = "that Aider cannot edit" if skipped or not aside else "that tools made; name them one by one"
        if protected and not skipped and not aside:
            why = f"that {PROTECTED}; name them one by one"
        raise PlanError(f"{option} {' '.join(patterns)}: only files match {why}.")
    files = tuple(make_target(chosen[path], path in patterns) for path in sorted(chosen))
    return Targets(files, tuple(skipped), tuple(path for path in aside if path not in chosen), tuple(protected))


def match_paths(pattern: str, tracked: Iterable[str]) -> list[str]:
    """Match paths. A tracked file means itself, a folder everything under it; ** crosses folders, * does not. Brackets
    are first taken literally, because some frameworks name folders `[slug]`."""
    if pattern in tracked:
        return [pattern]
    under = [path for path in tracked if pattern == "." or path.startswith(pattern + "/")]
    if under or not has_glob(pattern):
        return under
    for parts in (pattern.replace("[", "[[]").split("/"), pattern.split("/")):
        if found := [path for path in tracked if fits_glob(path.split("/"), parts)]:
            return found
    return []


def suggest_path(wrong: str, tracked: Collection[str]) -> str:
    """Ask whether a tracked file or folder was meant: one of this name elsewhere, or one that is spelled alike. Empty
    if none is near."""
    if has_glob(wrong):
        return ""
    folders = {str(folder) for path in tracked for folder in PurePosixPath(path).parents} - {"."}
    paths, folded = sorted({*tracked, *folders}), wrong.casefold()
    name = posixpath.basename(folded)
    if namesake := next((path for path in paths if posixpath.basename(path).casefold() == name), ""):
        return f"Did you mean {namesake}?"
    # Few have about this length, so that a large repository takes little time.
    alike = {path.casefold(): path for path in paths if abs(len(path) - len(wrong)) <= TYPO_LENGTH}
    near = difflib.get_close_matches(folded, alike, 1, 0.75)
    return f"Did you mean {alike[near[0]]}?" if near else ""


def has_glob(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")


def fits_glob(path: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return fits_glob(path, pattern[1:]) or (bool(path) and fits_glob(path[1:], pattern))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and fits_glob(path[1:], pattern[1:])


def refuse_special(file: TrackedFile, subject: str) -> None:
    if file.why_not_editable:
        raise PlanError(f"{subject} {file.why_not_editable}.")


def targets_from_prd(prd: Prd, tracked: Mapping[str, TrackedFile], permit: Permit = Permit()) -> Targets:  # noqa: B008
    """Return the files that the PRD's work names: existing ones, and the others as new ones."""
    if not prd.work:
        raise PlanError("The PRD names no files to change.", hint="Say them with --files.")
    chosen, protected = [], []
    for work in prd.work:
        file = tracked.get(work.file)
        if file is not None:
            refuse_special(file, f"The PRD names {work.file!r}, but it")
        else:
            refuse_outside(work.file, tracked)
        if permit.refusal_for(work.file):
            protected.append(work.file)
        else:
            chosen.append(make_target(file, True) if file else TargetFile(work.file, 0, new=True, required=True))
    if not chosen:
        hint = "Name them in --change or --files."
        raise PlanError(f"The PRD names only files that {PROTECTED}: {', '.join(protected[:5])}.", hint=hint)
    return Targets(tuple(sorted(chosen, key=lambda file: file.path)), protected=tuple(sorted(protected)))


def refuse_outside(path: str, tracked: Mapping[str, TrackedFile]) -> None:
    parts = path.split("/")
    if posixpath.isabs(path) or ".." in parts or ".git" in parts:
        raise PlanError(f"The PRD names {path!r}, which is outside the repository.")
    if any(name.startswith(path + "/") for name in tracked):
        raise PlanError(f"The PRD names {path!r} as a file, but it is a folder.")
    for n in range(1, len(parts)):
        above = tracked.get("/".join(parts[:n]))
        if above is not None:
            raise PlanError(f"The PRD names {path!r}, but {above.path!r} is a {above.kind} file, not a folder.")


def make_target(file: TrackedFile, required: bool) -> TargetFile:
    return TargetFile(file.path, tokens_of_size(file.size), required=required)


def require_prd_files(targets: Targets, prd: Prd) -> Targets:
    """With --files and a PRD: require the changes that the PRD asks for."""
    wanted = {work.file for work in prd.work}
    files = tuple(replace(file, required=file.required or file.path in wanted) for file in targets.files)
    return replace(targets, files=files)
