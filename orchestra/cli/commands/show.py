"""`show`: one task of a run, all of it."""

import re

from orchestra.cli import diffs
from orchestra.cli.command_io import CommandParser, has_colours, print_json, print_raw
from orchestra.cli.commands.diff import explain_missing_task
from orchestra.cli.commands.logs import parse_task_number
from orchestra.cli.find import KnownRun, RunIndex, open_run_index
from orchestra.errors import UsageError
from orchestra.report import task_view as words_for
from orchestra.report.detail import Attempt, build_detail
from orchestra.report.fold import report_from_log
from orchestra.report.terminal_text import colour_diff_line, escape_controls

USAGE = """usage: aider-orchestrator show [RUN] TASK [--json] [--repo PATH] [--store URL]

Tell everything of one task (3 or agent3) of a run (the latest, or RUN): its brief, each attempt with its verdict, its
cost, its changes and what was said in it, and the checks of the combined work. Also called `task`.
"""
TASK = re.compile(r"(agent|task)?\d{1,6}")


def cmd_show(argv: list[str]) -> int:
    words = CommandParser(USAGE)
    words.add_argument("names", nargs="*", metavar="RUN TASK")
    words.add_argument("--json", action="store_true")
    given = words.parse(argv)
    run, task = parse_show_names(given.names)
    with open_run_index(given) as here:
        known = here.find(run)
        log = here.read_log(known)
        report, found = report_from_log(log), build_detail(log.events)
        if task not in report.tasks:
            raise UsageError(explain_missing_task(known, task, list(report.tasks)))
        told, tries = found.planned_briefs.get(task, ""), found.all_attempts(task)
        changed = {attempt.number: text_of_changes(here, known, attempt) for attempt in tries}
    if given.json:
        print_json(words_for.task_record(report, report.tasks[task], told, tries, changed))
    else:
        print_raw(colour_changes(words_for.task_text(report, report.tasks[task], told, tries, changed)) + "\n")
    return 0


def parse_show_names(names: list[str]) -> tuple[str, int]:
    """RUN and TASK; a task alone is one of the latest run."""
    if not names or len(names) > 2:
        raise UsageError("show needs a run and one of its tasks: show RUN TASK.", hint="See --help.")
    if len(names) == 1 and not TASK.fullmatch(names[0]):
        raise UsageError(f"say which task of run {names[0]} to show: show {names[0]} 1.")
    if not TASK.fullmatch(names[-1]):
        raise UsageError(f"{names[-1]!r} is no task: say 3 or agent3.")
    return (names[0] if len(names) == 2 else ""), parse_task_number(names[-1])


def text_of_changes(here: RunIndex, known: KnownRun, attempt: Attempt) -> str:
    found = diffs.diff_of_attempt(here, known.name, attempt)
    if found is None and attempt.commit:
        return f"(commit {attempt.commit[:10]} is not in this repository)"
    return (found or b"").decode("utf-8", "replace")


def colour_changes(text: str) -> str:
    """Only the changes are painted: what a model says may look like one."""
    lines, inside = [], False
    for line in escape_controls(text).split("\n"):
        inside = line.startswith("== Changes") or (inside and not line.startswith("== "))
        lines.append(colour_diff_line(line) if inside and has_colours() else line)
    return "\n".join(lines)
