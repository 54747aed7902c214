"""Diffs of the changes of a run, from git's objects and from patches in the log folder."""

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
    """Return the commit that has all accepted work."""
    commits = [event.payload.commit for event in events if isinstance(event.payload, WorkCombined)]
    return commits[-1] if commits else ""


def diff_between(index: RunIndex, old: str, new: str) -> bytes | None:
    """Return the diff; None if this repository does not have both commits."""
    if len(existing_commits(index.root, [old, new])) < len({old, new}):
        return None
    return asyncio.run(binary_diff(Git(index.root), old, new))


def diff_of_commit(index: RunIndex, commit: str) -> bytes | None:
    """Return the changes of a commit; None if this repository does not have it."""
    if not existing_commits(index.root, [commit]):
        return None
    options = ("--no-ext-diff", "--no-textconv", "--binary", "--no-renames", "--no-commit-id", "--root", "-r", "-p")
    return asyncio.run(Git(index.root).raw("diff-tree", *options, commit))


def read_patch_of_run(index: RunIndex, run: str, patch: str) -> bytes | None:
    """Read a patch of this run in the log folder. No other file is read, because events may have been forged."""
    file = index.logs / Path(patch).name
    if not patch or stamp_of(file.name) != run or file.is_symlink() or not file.is_file():
        return None
    return file.read_bytes()


def diff_of_attempt(index: RunIndex, run: str, attempt: Attempt) -> bytes | None:
    """Return the commit of the attempt and the files left out of it; None if there is neither."""
    parts = [diff_of_commit(index, attempt.commit), read_patch_of_run(index, run, attempt.patch)]
    existing = [part for part in parts if part is not None]
    return b"".join(existing) if existing else None
