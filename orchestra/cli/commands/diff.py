"""`diff`: what a run, or one of its tasks, changed, from git's objects and from patches in the log folder."""

import asyncio
import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from orchestra.cli.command_io import (
    add_repository_arguments,
    add_run_argument,
    add_task_argument,
    has_colours,
    print_raw,
)
from orchestra.cli.find import KnownRun, RunIndex, open_run_index
from orchestra.cli.parser import CommandParser
from orchestra.errors import UsageError
from orchestra.events import Event, WorkCombined
from orchestra.journal.run_files import stamp_of
from orchestra.report.detail import Attempt, build_detail
from orchestra.report.fold import report_from_log
from orchestra.report.sanitize import colour_diff, escape_controls
from orchestra.workspace.collect import binary_diff
from orchestra.workspace.git import Git, existing_commits


def add_diff_arguments(parser: CommandParser) -> None:
    add_run_argument(parser)
    add_repository_arguments(parser)
    add_task_argument(parser)


def cmd_diff(arguments: Namespace) -> int:
    """Print the difference between the start of a run and its result, or what one task changed. On a terminal it has
    colours and control characters are escaped; a pipe or a file gets what `git apply` reads."""
    with open_run_index(arguments) as index:
        run, task = index.find(arguments.run), arguments.task
        print_diff(diff_of_run(index, run) if task is None else diff_of_task(index, run, task))
    return 0


def print_diff(content: bytes) -> None:
    if not sys.stdout.isatty():
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    text = escape_controls(content.decode("utf-8", "replace"))
    print_raw(colour_diff(text) if has_colours() else text)


def diff_of_run(index: RunIndex, run: KnownRun) -> bytes:
    log = index.read_log(run)
    base, commit = report_from_log(log).base, result_commit(log.events)
    if not commit:
        raise UsageError(f"run {run.name} has no result: nothing was combined{yet(run)}.")
    diff = diff_between(index, base, commit)
    if diff is None:
        raise UsageError(explain_missing_commit(run, f"the result of run {run.name}", commit))
    return diff


def diff_of_task(index: RunIndex, run: KnownRun, task: int) -> bytes:
    """Return what of the task is in the result, else what its last attempt changed."""
    log = index.read_log(run)
    report, attempts = report_from_log(log), build_detail(log.events).all_attempts(task)
    if task not in report.tasks:
        raise UsageError(explain_missing_task(run, task, list(report.tasks)))
    commit = report.tasks[task].commit
    diff = diff_of_commit(index, commit)
    for attempt in reversed(attempts):
        diff = diff_of_attempt(index, run.name, attempt) if diff is None else diff
    if diff is None and commit:
        raise UsageError(explain_missing_commit(run, f"what agent{task} of run {run.name} changed", commit))
    if diff is None:
        raise UsageError(f"agent{task} of run {run.name} changed nothing{yet(run)}.")
    return diff


def explain_missing_commit(run: KnownRun, subject: str, commit: str) -> str:
    here = "its branch was deleted, or it was not imported"
    why = f"it was made on {run.elsewhere}" if run.elsewhere else here
    return f"{subject} ({commit[:10]}) is not in this repository: {why}."


def explain_missing_task(run: KnownRun, task: int, tasks: list[int]) -> str:
    if not tasks:
        return f"run {run.name} has no agent{task}: nothing was planned{yet(run)}."
    names = "agent1" if tasks == [1] else f"agent{min(tasks)} to agent{max(tasks)}"
    return f"run {run.name} has no agent{task}: it has {names}."


def yet(run: KnownRun) -> str:
    return "" if run.run.last else " yet"


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
