"""`diff`: what a run, or one of its tasks, changed."""

import sys

from orchestra.cli import diffs
from orchestra.cli.command_io import CommandParser, has_colours, print_raw
from orchestra.cli.commands.logs import parse_task_number
from orchestra.cli.find import KnownRun, RunIndex, open_run_index
from orchestra.errors import UsageError
from orchestra.report.detail import build_detail
from orchestra.report.fold import report_from_log
from orchestra.report.terminal_text import colour_diff, escape_controls

USAGE = """usage: aider-orchestrator diff [RUN [TASK]] [--repo PATH] [--store URL]

Print the difference between what a run (the latest, or RUN) began with and its result, or what one task changed
(3 or agent3). On a terminal in colours and with control characters escaped; into a pipe or a file as `git apply`
takes it.
"""


def cmd_diff(argv: list[str]) -> int:
    words = CommandParser(USAGE)
    words.add_argument("run", nargs="?", default="")
    words.add_argument("task", nargs="?", type=parse_task_number)
    given = words.parse(argv)
    with open_run_index(given) as here:
        known = here.find(given.run)
        print_diff(diff_of_run(here, known) if given.task is None else diff_of_task(here, known, given.task))
    return 0


def print_diff(content: bytes) -> None:
    if not sys.stdout.isatty():
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    text = escape_controls(content.decode("utf-8", "replace"))
    print_raw(colour_diff(text) if has_colours() else text)


def diff_of_run(here: RunIndex, known: KnownRun) -> bytes:
    log = here.read_log(known)
    base, commit = report_from_log(log).base, diffs.result_commit(log.events)
    if not commit:
        raise UsageError(f"run {known.name} has no result: nothing was combined{'' if known.run.last else ' yet'}.")
    found = diffs.diff_between(here, base, commit)
    if found is None:
        raise UsageError(explain_missing_commit(known, f"the result of run {known.name}", commit))
    return found


def diff_of_task(here: RunIndex, known: KnownRun, task: int) -> bytes:
    """What of it is in the result, else what its last attempt left."""
    log = here.read_log(known)
    report, tries = report_from_log(log), build_detail(log.events).all_attempts(task)
    if task not in report.tasks:
        raise UsageError(explain_missing_task(known, task, list(report.tasks)))
    commit = report.tasks[task].commit
    found = diffs.diff_of_commit(here, commit)
    for attempt in reversed(tries):
        found = diffs.diff_of_attempt(here, known.name, attempt) if found is None else found
    if found is None and commit:
        raise UsageError(explain_missing_commit(known, f"what agent{task} of run {known.name} changed", commit))
    if found is None:
        raise UsageError(f"agent{task} of run {known.name} changed nothing{'' if known.run.last else ' yet'}.")
    return found


def explain_missing_commit(known: KnownRun, what: str, commit: str) -> str:
    if known.elsewhere:
        return f"{what} ({commit[:10]}) is not in this repository: it was made on {known.elsewhere}."
    return f"{what} ({commit[:10]}) is not in this repository any more: its branch was cleaned, and it is gone."


def explain_missing_task(known: KnownRun, task: int, tasks: list[int]) -> str:
    if not tasks:
        return f"run {known.name} has no agent{task}: nothing was planned{'' if known.run.last else ' yet'}."
    names = "agent1" if tasks == [1] else f"agent{min(tasks)} to agent{max(tasks)}"
    return f"run {known.name} has no agent{task}: it has {names}."
