"""What the commands about runs have in common: how their words are read, and how they print."""

import json
import os
import sys
from argparse import Namespace
from typing import Any, NoReturn

from orchestra.cli.parser import FlagParser
from orchestra.errors import UsageError
from orchestra.report.terminal_text import escape_controls


class CommandParser(FlagParser):
    """The words of one command. Its help is its usage, written by hand."""

    def __init__(self, usage: str) -> None:
        super().__init__(prog=usage.split()[1], usage=usage, allow_abbrev=False)
        self.add_argument("--repo", default="")
        self.add_argument("--store", default="")

    def format_help(self) -> str:
        return self.usage or ""

    def error(self, message: str) -> NoReturn:
        goes = (self.usage or "").splitlines()[0].removeprefix("usage: ")
        raise UsageError(f"{message}.", hint=f"It goes: {goes}" if "required" in message else "See --help.")

    def parse(self, argv: list[str]) -> Namespace:
        """Flags and names in any order."""
        given, unknown = self.parse_known_intermixed_args(argv)
        if unknown:
            raise UsageError(f"unknown argument {unknown[0]!r}.", hint="See --help.")
        return given


def print_plain(text: str) -> None:
    """To a person: nothing in it steers the terminal, and no character is one that stdout cannot take."""
    print_raw(escape_controls(text) + "\n")


def print_json(record: Any) -> None:
    print(json.dumps(record, indent=2))


def print_raw(text: str) -> None:
    """As it is, at once: who looks on does not want to wait."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


def has_colours() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
