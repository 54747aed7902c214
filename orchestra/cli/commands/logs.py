"""`logs`: the events of a run as lines."""

from argparse import Namespace

from orchestra.cli.command_io import add_repository_arguments, add_run_argument, parse_task_number, print_plain
from orchestra.cli.find import open_run_index
from orchestra.cli.follow import follow_run
from orchestra.cli.parser import CommandParser
from orchestra.errors import UsageError
from orchestra.events import Event, has_ended
from orchestra.report.event_lines import actor_name, describe_event
from orchestra.report.run_status import format_local_time
from orchestra.report.sanitize import escaped_line

LONGEST = 300


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


def format_log_line(event: Event) -> str:
    return f"{format_local_time(event.time)}  {actor_name(event):<8}  {escaped_line(log_words(event), LONGEST)}"


def log_words(event: Event) -> str:
    if words := describe_event(event).removeprefix(f"{actor_name(event)}: "):
        return words
    values = [f"{name}: {escaped_line(str(value), 80)}" for name, value in event.data.items() if value != ""]
    return f"{event.kind}  {', '.join(values)}".rstrip()
