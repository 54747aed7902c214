"""What several commands share: arguments, and how they print."""

import json
import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from functools import partial
from typing import Any, TextIO

from orchestra.cli.parser import CommandParser
from orchestra.report.sanitize import escape_controls
from orchestra.settings import Settings


def add_repository_arguments(parser: CommandParser) -> None:
    parser.add_argument("--repo", metavar="PATH", default="", help="the repository (default: the current directory)")
    parser.add_argument("--store", metavar="URL", default="", help="the database of events (default: in .aider_logs)")


def add_run_argument(parser: CommandParser, *, required: bool = False) -> None:
    text = "its name, or enough of the beginning or end of it"
    if required:
        parser.add_argument("run", metavar="RUN", help=f"{text}, or `latest`")
    else:
        parser.add_argument("run", metavar="RUN", nargs="?", default="", help=f"{text} (default: the latest run)")


def add_task_argument(parser: CommandParser, *, required: bool = False) -> None:
    nargs, text = (None, "its number, such as 3 or agent3") if required else ("?", "only this task: 3 or agent3")
    parser.add_argument("task", metavar="TASK", nargs=nargs, type=parse_task_number, help=text)


def add_plan_argument(parser: CommandParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a name from `plan list`, or a plan's file")


def add_all(*adders: Callable[[CommandParser], None]) -> Callable[[CommandParser], None]:
    """Return the function that adds the arguments of each of these."""

    def add_arguments(parser: CommandParser) -> None:
        for adder in adders:
            adder(parser)

    return add_arguments


add_required_run = partial(add_run_argument, required=True)
add_required_task = partial(add_task_argument, required=True)
add_plan_and_run_options = add_all(add_plan_argument, CommandParser.add_run_options)


def parse_task_number(word: str) -> int:
    """3, agent3, task3."""
    number = word.removeprefix("agent").removeprefix("task")
    if not (number.isascii() and number.isdigit()):
        raise ArgumentTypeError(f"{word!r} is not a task: give 3 or agent3")
    return int(number)


def is_attended(settings: Settings, output: TextIO) -> bool:
    """Return whether a person can be asked: on a terminal, if the run's output is not for programs."""
    unattended = settings.quiet or settings.json or settings.events or os.environ.get("CI")
    return not unattended and sys.stdin.isatty() and output.isatty()


def print_plain(text: str) -> None:
    """Print text for people: control characters are escaped, and so is what stdout cannot encode."""
    print_raw(escape_controls(text) + "\n")


def print_json(record: Any) -> None:
    print(json.dumps(record, indent=2))


def print_raw(text: str) -> None:
    """Print text as it is, without buffering."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


def has_colours() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
