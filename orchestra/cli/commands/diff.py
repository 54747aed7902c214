"""`diff` and `show`: what a run or a task changed, from git's objects and from patches, and one task in full."""

import asyncio
import re
import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from orchestra.cli.command_io import (
    add_all,
    add_repository_arguments,
    add_run_argument,
    add_task_argument,
    has_colours,
    parse_task_number,
    print_json,
    print_paged,
    print_raw,
)
from orchestra.cli.find import KnownRun, RunIndex, open_run_index
from orchestra.cli.parser import CommandParser
from orchestra.errors import UsageError
from orchestra.events import Event, WorkCombined
from orchestra.journal.jsonl import stamp_of
from orchestra.report import run_status
from orchestra.report.detail import Attempt, build_detail
from orchestra.report.fold import report_from_log
from orchestra.report.sanitize import colour_diff_line, escape_controls
from orchestra.workspace.collect import binary_diff
from orchestra.workspace.git import Git, existing_commits

# A longer number without a word before it is the end of a run's name.
TASK = re.compile(r"(agent|task)\d{1,6}|\d{1,5}")


add_diff_arguments = add_all(add_run_argument, add_repository_arguments, add_task_argument)


def cmd_diff(arguments: Namespace) -> None:
    """Print the difference between the start of a run and its result, or what one task changed: `diff 2` is task 2 of
    the latest run. On a terminal it has colours and control characters are escaped; a pipe or a file gets what
    `git apply` reads."""
    name, task = arguments.run, arguments.task
    if task is None and TASK.fullmatch(name):
        name, task = "", parse_task_number(name)
    with open_run_index(arguments) as index:
        run = index.find(name)
        content = diff_of_run(index, run) if task is None else diff_of_task(index, run, task)
    if sys.stdout.isatty():
        text = escape_controls(content.decode("utf-8", "replace"))
        print_raw("\n".join(map(colour_diff_line, text.split("\n"))) if has_colours() else text)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def diff_of_run(index: RunIndex, run: KnownRun) -> bytes:
    log = index.read_log(run)
    base, commit = report_from_log(log).base, result_commit(log.events)
    if not commit:
        raise UsageError(f"run {run.name} has no result: nothing was combined{yet(run)}.")
    if len(existing_commits(index.root, [base, commit])) < len({base, commit}):
        raise UsageError(explain_missing_commit(run, f"the result of run {run.name}", commit))
    return asyncio.run(binary_diff(Git(index.root), base, commit))


def diff_of_task(index: RunIndex, run: KnownRun, task: int) -> bytes:
    """Return what of the task is in the result, else what its last attempt changed."""
    log = index.read_log(run)
    report, attempts = report_from_log(log), build_detail(log.events).all_attempts(task)
    require_task(run, task, list(report.tasks))
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


def require_task(run: KnownRun, task: int, tasks: list[int]) -> None:
    if not tasks:
        raise UsageError(f"run {run.name} has no agent{task}: nothing was planned{yet(run)}.")
    if task not in tasks:
        names = "agent1" if tasks == [1] else f"agent{min(tasks)} to agent{max(tasks)}"
        raise UsageError(f"run {run.name} has no agent{task}: it has {names}.")


def yet(run: KnownRun) -> str:
    return "" if run.run.last else " yet"


def result_commit(events: Iterable[Event]) -> str:
    """Return the commit that has all accepted work."""
    commits = [event.payload.commit for event in events if isinstance(event.payload, WorkCombined)]
    return commits[-1] if commits else ""


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


def add_show_arguments(parser: CommandParser) -> None:
    text = "a task, such as 3 or agent3, after the name of its run or `latest` (default: the latest run)"
    parser.add_argument("names", metavar="[RUN] TASK", nargs="*", help=text)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--all", action="store_true", help="print whole messages, and those that Aider itself wrote")
    add_repository_arguments(parser)


def cmd_show(arguments: Namespace) -> None:
    """Show one task of a run: its brief, each attempt with its verdict, cost, changes and conversation, and the checks
    of the combined work. On a terminal it is shown in $PAGER, or else in less."""
    name, task = parse_show_names(arguments.names)
    with open_run_index(arguments) as index:
        run = index.find(name)
        log = index.read_log(run)
        report, detail = report_from_log(log), build_detail(log.events)
        require_task(run, task, list(report.tasks))
        brief, attempts = detail.planned_briefs.get(task, ""), detail.all_attempts(task)
        changes = {attempt.number: text_of_changes(index, run, attempt) for attempt in attempts}
    if arguments.json:
        print_json(run_status.task_record(report, report.tasks[task], brief, attempts, changes))
    else:
        text = run_status.task_text(report, report.tasks[task], brief, attempts, changes, whole=arguments.all)
        print_paged(colour_changes(text) + "\n")


def parse_show_names(names: list[str]) -> tuple[str, int]:
    """Return the run and the task. A task alone is one of the latest run."""
    if not names or len(names) > 2:
        raise UsageError("show needs a run and one of its tasks.", hint="Usage: aider-orchestrator show [RUN] TASK.")
    if len(names) == 1 and not TASK.fullmatch(names[0]):
        raise UsageError(
            f"the task of run {names[0]} is missing.", hint=f"Usage: aider-orchestrator show {names[0]} 1."
        )
    if not TASK.fullmatch(names[-1]):
        raise UsageError(f"{names[-1]!r} is not a task: give 3 or agent3.")
    return (names[0] if len(names) == 2 else ""), parse_task_number(names[-1])


def text_of_changes(index: RunIndex, run: KnownRun, attempt: Attempt) -> str:
    diff = diff_of_attempt(index, run.name, attempt)
    if diff is None and attempt.commit:
        return f"(commit {attempt.commit[:10]} is not in this repository)"
    return (diff or b"").decode("utf-8", "replace")


def colour_changes(text: str) -> str:
    """Colour only the changes: text of a model may look like a diff."""
    lines, inside = [], False
    for line in escape_controls(text).split("\n"):
        inside = line.startswith("== Changes") or (inside and not line.startswith("== "))
        lines.append(colour_diff_line(line) if inside and has_colours() else line)
    return "\n".join(lines)
