"""`diff`: what a run, or one of its tasks, changed."""

import sys

from orchestra.cli import diffs
from orchestra.cli.commands.logs import task_number
from orchestra.cli.find import Here, Known, looking
from orchestra.cli.words import Words, coloured, put
from orchestra.errors import UsageError
from orchestra.report.detail import detail
from orchestra.report.fold import report_of
from orchestra.report.plain import painted, plain

USAGE = """usage: aider-orchestrator diff [RUN [TASK]] [--repo PATH] [--store URL]

Print the difference between what a run (the latest, or RUN) began with and its result, or what one task changed
(3 or agent3). On a terminal in colours and with control characters escaped; into a pipe or a file as `git apply`
takes it.
"""


def diff(argv: list[str]) -> int:
    words = Words(USAGE)
    words.add_argument("run", nargs="?", default="")
    words.add_argument("task", nargs="?", type=task_number)
    given = words.read(argv)
    with looking(given) as here:
        known = here.find(given.run)
        show(of_run(here, known) if given.task is None else of_task(here, known, given.task))
    return 0


def show(content: bytes) -> None:
    if not sys.stdout.isatty():
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    text = plain(content.decode("utf-8", "replace"))
    put(painted(text) if coloured() else text)


def of_run(here: Here, known: Known) -> bytes:
    log = here.log(known)
    base, commit = report_of(log).base, diffs.result(log.events)
    if not commit:
        raise UsageError(f"run {known.name} has no result: nothing was combined{'' if known.run.last else ' yet'}.")
    found = diffs.between(here, base, commit)
    if found is None:
        raise UsageError(gone(known, f"the result of run {known.name}", commit))
    return found


def of_task(here: Here, known: Known, task: int) -> bytes:
    """What of it is in the result, else what its last attempt left."""
    log = here.log(known)
    report, tries = report_of(log), detail(log.events).named_attempts(task)
    if task not in report.tasks:
        raise UsageError(no_task(known, task, list(report.tasks)))
    commit = report.tasks[task].commit
    found = diffs.of_commit(here, commit)
    for attempt in reversed(tries):
        found = diffs.of_attempt(here, known.name, attempt) if found is None else found
    if found is None and commit:
        raise UsageError(gone(known, f"what agent{task} of run {known.name} changed", commit))
    if found is None:
        raise UsageError(f"agent{task} of run {known.name} changed nothing{'' if known.run.last else ' yet'}.")
    return found


def gone(known: Known, what: str, commit: str) -> str:
    if known.elsewhere:
        return f"{what} ({commit[:10]}) is not in this repository: it was made on {known.elsewhere}."
    return f"{what} ({commit[:10]}) is not in this repository any more: its branch was cleaned, and it is gone."


def no_task(known: Known, task: int, tasks: list[int]) -> str:
    if not tasks:
        return f"run {known.name} has no agent{task}: nothing was planned{'' if known.run.last else ' yet'}."
    names = "agent1" if tasks == [1] else f"agent{min(tasks)} to agent{max(tasks)}"
    return f"run {known.name} has no agent{task}: it has {names}."
