"""Diffs of what a run made, from git's objects and from patches in the log folder."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from orchestra.cli.find import RunIndex
from orchestra.events import Event, WorkCombined
from orchestra.journal.run_files import stamp_of
from orchestra.report.detail import Attempt
from orchestra.workspace.collect import binary_diff
from orchestra.workspace.git import Git, existing_commits


def result_commit(events: Iterable[Event]) -> str:
    """The commit that has all accepted work."""
    made = [event.payload.commit for event in events if isinstance(event.payload, WorkCombined)]
    return made[-1] if made else ""


def diff_between(here: RunIndex, old: str, new: str) -> bytes | None:
    """None where this repository does not have both."""
    if len(existing_commits(here.root, [old, new])) < len({old, new}):
        return None
    return asyncio.run(binary_diff(Git(here.root), old, new))


def diff_of_commit(here: RunIndex, commit: str) -> bytes | None:
    """What a commit changed; None where it is not here."""
    if not existing_commits(here.root, [commit]):
        return None
    options = ("--no-ext-diff", "--no-textconv", "--binary", "--no-renames", "--no-commit-id", "--root", "-r", "-p")
    return asyncio.run(Git(here.root).raw("diff-tree", *options, commit))


def read_patch_of_run(here: RunIndex, run: str, patch: str) -> bytes | None:
    """A patch that the run left in the log folder. The events may have come from anywhere: no other file is read."""
    file = here.logs / Path(patch).name
    if not patch or stamp_of(file.name) != run or file.is_symlink() or not file.is_file():
        return None
    return file.read_bytes()


def diff_of_attempt(here: RunIndex, run: str, attempt: Attempt) -> bytes | None:
    """Its commit, and what of it was not to be committed."""
    parts = [diff_of_commit(here, attempt.commit), read_patch_of_run(here, run, attempt.patch)]
    found = [part for part in parts if part is not None]
    return b"".join(found) if found else None
