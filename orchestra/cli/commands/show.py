"""`show`: one task of a run with all its attempts."""

import re
from argparse import Namespace

from orchestra.cli.command_io import add_repository_arguments, has_colours, parse_task_number, print_json, print_raw
from orchestra.cli.commands.diff import diff_of_attempt, explain_missing_task
from orchestra.cli.find import KnownRun, RunIndex, open_run_index
from orchestra.cli.parser import CommandParser
from orchestra.errors import UsageError
from orchestra.report import task_view
from orchestra.report.detail import Attempt, build_detail
from orchestra.report.fold import report_from_log
from orchestra.report.sanitize import colour_diff_line, escape_controls

TASK = re.compile(r"(agent|task)?\d{1,6}")


def add_show_arguments(parser: CommandParser) -> None:
    text = "a task, such as 3 or agent3, after the name of its run (default: the latest run)"
    parser.add_argument("names", metavar="[RUN] TASK", nargs="*", help=text)
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_repository_arguments(parser)


def cmd_show(arguments: Namespace) -> int:
    """Show one task of a run: its brief, each attempt with its verdict, cost, changes and conversation, and the checks
    of the combined work."""
    name, task = parse_show_names(arguments.names)
    with open_run_index(arguments) as index:
        run = index.find(name)
        log = index.read_log(run)
        report, detail = report_from_log(log), build_detail(log.events)
        if task not in report.tasks:
            raise UsageError(explain_missing_task(run, task, list(report.tasks)))
        brief, attempts = detail.planned_briefs.get(task, ""), detail.all_attempts(task)
        changes = {attempt.number: text_of_changes(index, run, attempt) for attempt in attempts}
    if arguments.json:
        print_json(task_view.task_record(report, report.tasks[task], brief, attempts, changes))
    else:
        text = task_view.task_text(report, report.tasks[task], brief, attempts, changes)
        print_raw(colour_changes(text) + "\n")
    return 0


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
