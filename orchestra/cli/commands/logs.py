"""`logs`: a run's events as lines that one can read."""

from argparse import ArgumentTypeError

from orchestra.cli.command_io import CommandParser, print_plain
from orchestra.cli.find import open_run_index
from orchestra.cli.follow import follow_run
from orchestra.errors import UsageError
from orchestra.events import Event, has_ended
from orchestra.report.event_lines import actor_name, describe_event
from orchestra.report.run_status import format_local_time
from orchestra.report.terminal_text import escaped_line

USAGE = """usage: aider-orchestrator logs [RUN] [--agent N] [--follow] [--repo PATH] [--store URL]

Print the events of a run (the latest, or RUN) in their order: time, who, what.

  --agent N   only those of one agent
  --follow    go on until the run ends
"""
LONGEST = 300


def cmd_logs(argv: list[str]) -> int:
    words = CommandParser(USAGE)
    words.add_argument("run", nargs="?", default="")
    words.add_argument("--agent", type=parse_task_number)
    words.add_argument("--follow", "-f", action="store_true")
    given = words.parse(argv)
    with open_run_index(given) as here:
        known = here.find(given.run)
        found, ended = 0, False
        for log in follow_run(here, known) if given.follow else [here.read_log(known)]:
            ended = has_ended(log.events) if log.events else ended
            for event in log.events:
                if given.agent in (None, event.task):
                    found += 1
                    print_plain(format_log_line(event))
        if not found and given.agent is not None:
            raise UsageError(f"run {known.name} has nothing of agent{given.agent}.")
        if given.follow and not ended:
            print_plain(f"Nobody is at work on run {known.name}.")
    return 0


def parse_task_number(word: str) -> int:
    """3, agent3, task3."""
    number = word.removeprefix("agent").removeprefix("task")
    if not (number.isascii() and number.isdigit()):
        raise ArgumentTypeError(f"{word!r} is no agent: say 3 or agent3")
    return int(number)


def format_log_line(event: Event) -> str:
    return f"{format_local_time(event.time)}  {actor_name(event):<8}  {escaped_line(log_words(event), LONGEST)}"


def log_words(event: Event) -> str:
    words = describe_event(event).removeprefix(f"{actor_name(event)}: ")
    return words or f"{event.kind}  {details(event)}".rstrip()


def details(event: Event) -> str:
    return ", ".join(f"{name}: {escaped_line(str(value), 80)}" for name, value in event.data.items() if value != "")
