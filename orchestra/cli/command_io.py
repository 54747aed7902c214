"""What several commands share: arguments, and how they print."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TextIO

from orchestra.cli.parser import CommandParser
from orchestra.report.sanitize import colour_text, escape_controls
from orchestra.settings import Settings
from orchestra.wording import wrap_line

USUAL_COLUMNS = 80


def add_repository_arguments(parser: CommandParser) -> None:
    parser.add_argument("--repo", metavar="PATH", default="", help="the repository (default: the current directory)")
    parser.add_argument("--store", metavar="URL", default="", help="the database of events (default: in .aider_logs)")


def add_run_argument(parser: CommandParser, *, required: bool = False) -> None:
    text = "its name, enough of the beginning or end of it, or `latest`"
    if required:
        parser.add_argument("run", metavar="RUN", help=text)
    else:
        parser.add_argument("run", metavar="RUN", nargs="?", default="", help=f"{text} (the default)")


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


def print_plain(text: str, tones: Mapping[str, str] | None = None, stream: TextIO | None = None) -> None:
    """Print text for people: control characters are escaped, and so is what the stream cannot encode. On a terminal
    long lines are wrapped, and the lines in `tones` get the colour of theirs."""
    width, colours = terminal_width(stream or sys.stdout), (tones or {}) if has_colours(stream) else {}
    lines = []
    for line in escape_controls(text).split("\n"):
        shown = wrap_line(line, width) if width else line
        lines.append(colour_text(shown, colours[line]) if line in colours else shown)
    print_raw("\n".join(lines) + "\n", stream)


def terminal_width(stream: TextIO) -> int:
    """The columns of the terminal; 0 if the stream is none, and in CI."""
    if os.environ.get("CI") or not stream.isatty():
        return 0
    if (columns := os.environ.get("COLUMNS", "")).isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL_COLUMNS
    except (OSError, ValueError):
        return USUAL_COLUMNS


def print_json(record: Any) -> None:
    print(json.dumps(record, indent=2))


def print_raw(text: str, stream: TextIO | None = None) -> None:
    """Print text as it is, without buffering."""
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def print_paged(text: str) -> None:
    """Print a long text: on a terminal through the user's pager."""
    pager = shlex.split(os.environ.get("PAGER", "less"))
    if not sys.stdout.isatty() or not pager or shutil.which(pager[0]) is None:
        print_raw(text)
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the pager
    try:
        # As git does: colours pass, and a text that fits on the screen is only printed.
        environment = {"LESS": "FRX", "LV": "-c"} | os.environ
        subprocess.run(pager, input=text.encode("utf-8", "backslashreplace"), env=environment, check=False)
    finally:
        signal.signal(signal.SIGINT, before)


def has_colours(stream: TextIO | None = None) -> bool:
    shown = (stream or sys.stdout).isatty()
    return shown and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
