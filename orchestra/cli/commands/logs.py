"""`logs`: the events of a run as lines."""

import time
from argparse import Namespace
from collections.abc import Iterator

from orchestra.cli.command_io import add_repository_arguments, add_run_argument, parse_task_number, print_plain
from orchestra.cli.find import KnownRun, RunIndex, open_run_index
from orchestra.cli.parser import CommandParser
from orchestra.errors import UsageError
from orchestra.events import Event, EventLog, has_ended
from orchestra.journal.jsonl import LogTail
from orchestra.report.event_lines import actor_name, describe_event
from orchestra.report.run_status import format_local_time
from orchestra.report.sanitize import escaped_line

LONGEST = 300
PAUSE = 0.3
MAX_IDLE = 10  # polls without owner and events; a run has no owner for a moment when it starts or is resumed


def add_logs_arguments(parser: CommandParser) -> None:
    add_run_argument(parser)
    add_repository_arguments(parser)
    parser.add_argument("--agent", metavar="N", type=parse_task_number, help="only the events of this agent")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")


def cmd_logs(arguments: Namespace) -> int:
    """Print the events of a run in their order: time, actor, what happened."""
    with open_run_index(arguments) as index:
        run = index.find(arguments.run)
        count, ended = 0, False
        for log in follow_run(index, run) if arguments.follow else [index.read_log(run)]:
            ended = has_ended(log.events) if log.events else ended
            for event in log.events:
                if arguments.agent in (None, event.task):
                    count += 1
                    print_plain(format_log_line(event))
        if not count and arguments.agent is not None:
            raise UsageError(f"run {run.name} has no events of agent{arguments.agent}.")
        if arguments.follow and not ended:
            print_plain(f"No process works on run {run.name}.")
    return 0


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


def format_log_line(event: Event) -> str:
    words = describe_event(event).removeprefix(f"{actor_name(event)}: ")
    if not words:
        values = [f"{name}: {escaped_line(str(value), 80)}" for name, value in event.data.items() if value != ""]
        words = f"{event.kind}  {', '.join(values)}".rstrip()
    return f"{format_local_time(event.time)}  {actor_name(event):<8}  {escaped_line(words, LONGEST)}"
