"""`show`: one task of a run, all of it."""

import re

from orchestra.cli import diffs
from orchestra.cli.commands.diff import no_task
from orchestra.cli.commands.logs import task_number
from orchestra.cli.find import Here, Known, looking
from orchestra.cli.words import Words, coloured, put, say_json
from orchestra.errors import UsageError
from orchestra.report import show as words_for
from orchestra.report.detail import Attempt, detail
from orchestra.report.fold import report_of
from orchestra.report.plain import paint, plain

USAGE = """usage: aider-orchestrator show [RUN] TASK [--json] [--repo PATH] [--store URL]

Tell everything of one task (3 or agent3) of a run (the latest, or RUN): its brief, each attempt with its verdict, its
cost, its changes and what was said in it, and the checks of the combined work. Also called `task`.
"""
TASK = re.compile(r"(agent|task)?\d{1,6}")


def show(argv: list[str]) -> int:
    words = Words(USAGE)
    words.add_argument("names", nargs="*", metavar="RUN TASK")
    words.add_argument("--json", action="store_true")
    given = words.read(argv)
    run, task = meant(given.names)
    with looking(given) as here:
        known = here.find(run)
        log = here.log(known)
        report, found = report_of(log), detail(log.events)
        if task not in report.tasks:
            raise UsageError(no_task(known, task, list(report.tasks)))
        told, tries = found.planned.get(task, ""), found.named_attempts(task)
        changed = {attempt.number: changes(here, known, attempt) for attempt in tries}
    if given.json:
        say_json(words_for.record(report, report.tasks[task], told, tries, changed))
    else:
        put(in_colours(words_for.text(report, report.tasks[task], told, tries, changed)) + "\n")
    return 0


def meant(names: list[str]) -> tuple[str, int]:
    """RUN and TASK; a task alone is one of the latest run."""
    if not names or len(names) > 2:
        raise UsageError("show needs a run and one of its tasks: show RUN TASK.", hint="See --help.")
    if len(names) == 1 and not TASK.fullmatch(names[0]):
        raise UsageError(f"say which task of run {names[0]} to show: show {names[0]} 1.")
    if not TASK.fullmatch(names[-1]):
        raise UsageError(f"{names[-1]!r} is no task: say 3 or agent3.")
    return (names[0] if len(names) == 2 else ""), task_number(names[-1])


def changes(here: Here, known: Known, attempt: Attempt) -> str:
    found = diffs.of_attempt(here, known.name, attempt)
    if found is None and attempt.commit:
        return f"(commit {attempt.commit[:10]} is not in this repository)"
    return (found or b"").decode("utf-8", "replace")


def in_colours(text: str) -> str:
    """Only the changes are painted: what a model says may look like one."""
    lines, inside = [], False
    for line in plain(text).split("\n"):
        inside = line.startswith("== Changes") or (inside and not line.startswith("== "))
        lines.append(paint(line) if inside and coloured() else line)
    return "\n".join(lines)
