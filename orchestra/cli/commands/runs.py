"""`runs`: list the runs of this repository. `status`: the progress or result of one. `logs`: its events."""

import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from orchestra.cli.command_io import (
    add_repository_arguments,
    add_run_argument,
    parse_task_number,
    print_json,
    print_plain,
    print_raw,
)
from orchestra.cli.find import KnownRun, RunIndex, open_run_index
from orchestra.cli.parser import CommandParser
from orchestra.errors import UsageError
from orchestra.events import Event, EventLog, has_ended
from orchestra.journal.jsonl import LogTail
from orchestra.journal.ownership import describe_owner
from orchestra.journal.store import Owner
from orchestra.model import Usage
from orchestra.report import run_status
from orchestra.report.closing import closing_text, verdict_line
from orchestra.report.event_lines import actor_name, describe_event, describe_milestone
from orchestra.report.fold import fold_events, report_from_log
from orchestra.report.phrases import cost_phrase, run_tone
from orchestra.report.run_status import format_local_time
from orchestra.report.sanitize import escape_controls, escaped_line
from orchestra.report.state import Report
from orchestra.wording import align_columns

LONGEST = 300
RUNS_HEADING = ("run", "ended", "time", "tasks", "cost", "change")
PAUSE = 0.3
MAX_IDLE = 10  # polls without owner and events; a run has no owner for a moment when it starts or is resumed


def add_runs_arguments(parser: CommandParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_repository_arguments(parser)


def cmd_runs(arguments: Namespace) -> None:
    """List the runs of this repository, the latest last: its name, how it ended, duration, complete tasks, cost, and
    the change. A shared store also lists the runs of other machines in this repository."""
    with open_run_index(arguments) as index:
        records = [run_record(index, run) for run in index.runs]
    if arguments.json:
        print_json(records)
    elif records:
        head = [RUNS_HEADING] if sys.stdout.isatty() else []
        lines = align_columns([*head, *map(run_row, records)])
        print_plain("\n".join(lines), {lines[0]: "head"})


def run_record(index: RunIndex, run: KnownRun) -> dict[str, Any]:
    return describe_run(run, None if run.run.last else index.find_owner(run))


def describe_run(run: KnownRun, owner: Owner | None) -> dict[str, Any]:
    """Describe a run by its first and last event. The last event of an older version has fewer values."""
    first, last, started, ended = run.run.first, run.run.last, run.run.started, run.run.ended
    return {
        "run": run.name,
        "state": run_status.ENDED if last else run_status.RUNNING if owner else run_status.INTERRUPTED,
        "exit_code": ended.exit_code if ended else None,
        "started": first.time,
        "seconds": (last.time - first.time) / 1000 if last else None,
        "tasks": ended.tasks if ended else None,
        "complete": ended.complete if ended else None,
        "cost": ended.cost if ended else None,
        "change": started.change if started else "",
        "model": started.model if started else "",
        "elsewhere": run.elsewhere or None,
        "owner": owner_record(owner),
    }


def run_row(record: dict[str, Any]) -> run_status.TableRow:
    ending = "not ended" if record["exit_code"] is None else f"exit {record['exit_code']}"
    tasks = "" if record["tasks"] is None else f"{record['complete']} of {record['tasks']}"
    cost = "" if record["cost"] is None else cost_phrase(Usage(dollars=record["cost"])) if record["cost"] else "$0"
    change = escaped_line(str(record["change"]), 80)
    return (
        record["run"],
        "running" if record["state"] == run_status.RUNNING else ending,
        "" if record["seconds"] is None else run_status.format_age(record["seconds"]),
        tasks,
        cost,
        f"{change}  (on {record['elsewhere']})" if record["elsewhere"] else change,
    )


def add_status_arguments(parser: CommandParser) -> None:
    add_run_argument(parser)
    add_repository_arguments(parser)
    parser.add_argument("--watch", action="store_true", help="go on until the run ends")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print JSON: the keys of the summary, state (running, interrupted, ended) and owner",
    )


def cmd_status(arguments: Namespace) -> None:
    """Show a run's progress or result, and which process works on it."""
    with open_run_index(arguments) as index:
        run = index.find(arguments.run)
        if arguments.watch:
            watch_run(index, run, None if arguments.json else lambda report: format_status(index, run, report))
        report = replace(report_from_log(index.read_log(run)), run=run.name)
        if not arguments.json:
            print_plain(format_status(index, run, report), status_tones(report))
            return
        folder = index.logs.relative_to(index.root)
        logs = {task: str(folder / f"agent{task}_{run.name}.jsonl") for task in report.tasks}
        print_json(run_status.status_record(report, logs, owner_record(index.find_owner(run))))


def format_status(index: RunIndex, run: KnownRun, report: Report) -> str:
    owner, heading = index.find_owner(run), sys.stdout.isatty()
    lines = [*run_status.waiting_lines(report), *run_status.agent_lines(report, heading=heading)]
    if report.exit_code is None:
        head = [f"{run.name}: {escaped_line(report.change, 80)}", run_status.progress_sentence(report), ""]
        return "\n".join([*head, *lines, "", owner_line(run, owner)])
    from orchestra.report.formats import DEFAULT_FORMAT, REPORT_FORMATS

    page = REPORT_FORMATS[DEFAULT_FORMAT].file_name(run.name)
    paths = [index.logs / f"summary_{run.name}.json", index.logs / page]
    closing = closing_text(report, *(str(path) if path.exists() else "" for path in paths), agents=False)
    lines += ["", closing]
    return "\n".join([*lines, *([owner_line(run, owner)] if owner else [])]).lstrip("\n")


def status_tones(report: Report) -> dict[str, str]:
    """The lines of the status that have a colour, with its tone."""
    heading, waiting = run_status.agent_lines(report, heading=True)[:1], run_status.waiting_lines(report)
    questions = [line for line in waiting if line and not line.startswith(" ")]
    return {verdict_line(report): run_tone(report)} | dict.fromkeys(questions, "warn") | dict.fromkeys(heading, "head")


def owner_line(run: KnownRun, owner: Owner | None) -> str:
    """Say whether a process works on the run."""
    if owner:
        return f"{describe_owner(owner)} works on it."
    if run.elsewhere:
        return f"No process works on it. It ran on {run.elsewhere}."
    return f"No process works on it. To continue it: aider-orchestrator resume {run.name}"


def owner_record(owner: Owner | None) -> dict[str, Any] | None:
    return {"host": owner.host.partition("/")[0], "pid": owner.pid} if owner else None


def watch_run(index: RunIndex, run: KnownRun, format_text: Callable[[Report], str] | None) -> None:
    """Show the status until the run ends, or no process works on it: redraw on a terminal, elsewhere print a line for
    each event. Without `format_text`, only wait."""
    report, height = Report(), 0
    redraws = format_text is not None and sys.stdout.isatty()
    for log in follow_run(index, run):
        fold_events(log.events, report)
        report.unreadable += log.torn_lines
        if redraws and format_text:
            height = redraw_text(format_text(report), height)
        elif format_text:
            for event in log.events:
                print_event(event)
    if redraws:
        print_raw(cursor_up(height))


def redraw_text(text: str, height: int) -> int:
    """Replace the text of this height, and return the new height. Lines are cut, because a wrapped one has two rows."""
    width, rows = shutil.get_terminal_size()
    lines = [line[: width - 1] for line in escape_controls(text).expandtabs().split("\n")]
    lines = lines if len(lines) < rows else [*lines[: rows - 2], "…"]
    print_raw(cursor_up(height) + "\n".join(lines) + "\n")
    return len(lines)


def cursor_up(height: int) -> str:
    return f"\x1b[{height}A\x1b[J" if height else ""


def add_logs_arguments(parser: CommandParser) -> None:
    add_run_argument(parser)
    add_repository_arguments(parser)
    parser.add_argument("--agent", metavar="N", type=parse_task_number, help="only the events of this agent")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")
    parser.add_argument("-v", "--verbose", action="store_true", help="print all events, also as data")


def cmd_logs(arguments: Namespace) -> None:
    """Print the events of a run in their order: time, actor, what happened."""
    with open_run_index(arguments) as index:
        run = index.find(arguments.run)
        count, ended = 0, False
        for log in follow_run(index, run) if arguments.follow else [index.read_log(run)]:
            ended = has_ended(log.events) if log.events else ended
            for event in log.events:
                if arguments.agent in (None, event.task):
                    count += 1
                    print_event(event, verbose=arguments.verbose)
        if not count and arguments.agent is not None:
            raise UsageError(f"run {run.name} has no events of agent{arguments.agent}.")
        if arguments.follow and not ended:
            print_plain(f"No process works on run {run.name}.")


def follow_run(index: RunIndex, run: KnownRun) -> Iterator[EventLog]:
    """Yield new events, or none, at each poll, until the run ends or has no owner any more."""
    tail, seq, ended, idle = LogTail(index.logs, run.name) if index.has_files(run) else None, 0, False, 0
    while not ended and idle < MAX_IDLE:
        log = tail.read_more() if tail else EventLog(tuple(index.store.read_events(run.key, run.name, after=seq)))
        if log.events:
            seq, ended, idle = log.events[-1].seq, has_ended(log.events), 0
        elif index.find_owner(run):
            idle = 0
        else:
            idle += 1
        yield log
        if not ended:
            time.sleep(PAUSE)


def print_event(event: Event, *, verbose: bool = False) -> None:
    if line := format_log_line(event, verbose=verbose):
        print_plain(line)


def format_log_line(event: Event, *, verbose: bool = False) -> str:
    """The event in words; if it has none, its data if `verbose`, else an empty line."""
    words = (describe_event(event) or describe_milestone(event)).removeprefix(f"{actor_name(event)}: ")
    if not words and not verbose:
        return ""
    if not words:
        values = [f"{name}: {escaped_line(str(value), 80)}" for name, value in event.data.items() if value != ""]
        words = f"{event.kind}  {', '.join(values)}".rstrip()
    return f"{format_local_time(event.time)}  {actor_name(event):<8}  {escaped_line(words, LONGEST)}"
