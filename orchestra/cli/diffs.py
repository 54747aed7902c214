"""Diffs of what a run made, from git's objects and from patches in the log folder."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from orchestra.cli.find import Here
from orchestra.events import Combined, Event
from orchestra.journal.files import stamp_of
from orchestra.report.detail import Attempt
from orchestra.workspace.collect import diff
from orchestra.workspace.git import Git, existing


def result(events: Iterable[Event]) -> str:
    """The commit that has all accepted work."""
    made = [event.payload.commit for event in events if isinstance(event.payload, Combined)]
    return made[-1] if made else ""


def between(here: Here, old: str, new: str) -> bytes | None:
    """None where this repository does not have both."""
    if len(existing(here.root, [old, new])) < len({old, new}):
        return None
    return asyncio.run(diff(Git(here.root), old, new))


def of_commit(here: Here, commit: str) -> bytes | None:
    """What a commit changed; None where it is not here."""
    if not existing(here.root, [commit]):
        return None
    options = ("--no-ext-diff", "--no-textconv", "--binary", "--no-renames", "--no-commit-id", "--root", "-r", "-p")
    return asyncio.run(Git(here.root).raw("diff-tree", *options, commit))


def of_patch(here: Here, run: str, patch: str) -> bytes | None:
    """A patch that the run left in the log folder. The events may have come from anywhere: no other file is read."""
    file = here.logs / Path(patch).name
    if not patch or stamp_of(file.name) != run or file.is_symlink() or not file.is_file():
        return None
    return file.read_bytes()


def of_attempt(here: Here, run: str, attempt: Attempt) -> bytes | None:
    """Its commit, and what of it was not to be committed."""
    parts = [of_commit(here, attempt.commit), of_patch(here, run, attempt.patch)]
    found = [part for part in parts if part is not None]
    return b"".join(found) if found else None
