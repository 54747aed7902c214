"""`logs`: a run's events as lines that one can read."""

from argparse import ArgumentTypeError

from orchestra.cli.find import looking
from orchestra.cli.follow import follow
from orchestra.cli.words import Words, say
from orchestra.errors import UsageError
from orchestra.events import Event, has_ended
from orchestra.report.lines import line, who
from orchestra.report.plain import one_line
from orchestra.report.status import moment

USAGE = """usage: aider-orchestrator logs [RUN] [--agent N] [--follow] [--repo PATH] [--store URL]

Print the events of a run (the latest, or RUN) in their order: time, who, what.

  --agent N   only those of one agent
  --follow    go on until the run ends
"""
LONGEST = 300


def logs(argv: list[str]) -> int:
    words = Words(USAGE)
    words.add_argument("run", nargs="?", default="")
    words.add_argument("--agent", type=task_number)
    words.add_argument("--follow", "-f", action="store_true")
    given = words.read(argv)
    with looking(given) as here:
        known = here.find(given.run)
        found, ended = 0, False
        for log in follow(here, known) if given.follow else [here.log(known)]:
            ended = has_ended(log.events) if log.events else ended
            for event in log.events:
                if given.agent in (None, event.task):
                    found += 1
                    say(log_line(event))
        if not found and given.agent is not None:
            raise UsageError(f"run {known.name} has nothing of agent{given.agent}.")
        if given.follow and not ended:
            say(f"Nobody is at work on run {known.name}.")
    return 0


def task_number(word: str) -> int:
    """3, agent3, task3."""
    number = word.removeprefix("agent").removeprefix("task")
    if not (number.isascii() and number.isdigit()):
        raise ArgumentTypeError(f"{word!r} is no agent: say 3 or agent3")
    return int(number)


def log_line(event: Event) -> str:
    return f"{moment(event.time)}  {who(event):<8}  {one_line(what(event), LONGEST)}"


def what(event: Event) -> str:
    words = line(event).removeprefix(f"{who(event)}: ")
    return words or f"{event.kind}  {details(event)}".rstrip()


def details(event: Event) -> str:
    return ", ".join(f"{name}: {one_line(str(value), 80)}" for name, value in event.data.items() if value != "")
