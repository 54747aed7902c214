"""Lists and texts in messages: shortened to what a person reads, and wrapped at the width of a terminal."""

import re
import textwrap
from collections.abc import Sequence
from unicodedata import east_asian_width

# A command at the end of a line, to be pasted into a shell.
COMMAND = re.compile(r"(?<=: )(?:aider-orchestrator|cd|gh|git|glab|python3?) .+$")
UNIT, UNBROKEN = re.compile(r"(?<=\d) (?=(?:s|min|h)\b)"), "\ue001"
SECOND_CELL = "\ue000"  # for private use, and behind each wide sign while widths are counted
LEAST_WIDTH, LEAST_COLUMN = 30, 30


def join_some(words: Sequence[str], most: int = 3) -> str:
    """Join the first words and count the others: `a.py, b.py, c.py and 4 more`."""
    return ", ".join(words[:most]) + (f" and {len(words) - most:,} more" if len(words) > most else "")


def align_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with padded columns; the last column is not padded."""
    wide = [[widen(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*wide, strict=True)]
    lines = ["  ".join(f"{cell:<{n}}" for cell, n in zip(row, [*widths[:-1], 0], strict=True)) for row in wide]
    return [line.replace(SECOND_CELL, "") for line in lines]


def widen(text: str) -> str:
    """A text whose length is its width at a terminal, where many signs take two cells."""
    return text if text.isascii() else "".join(sign + SECOND_CELL * (east_asian_width(sign) in "WF") for sign in text)


def one_line(text: str, limit: int = 400) -> str:
    """Return a text on one line, cut to a length."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def wrap_line(line: str, width: int) -> str:
    """Wrap a line between words: an item a step deeper than its indent, a table's row below its last column. Paths stay
    whole, and so does a command at its end, on a line of its own."""
    wide = widen(line)
    if len(wide) <= width:
        return line
    command = COMMAND.search(wide)
    words = wide[: command.start()].rstrip() if command else wide
    words = UNIT.sub(UNBROKEN, words)
    indent = len(line) - len(line.lstrip())
    gap = words.rstrip().rfind("  ")
    if gap >= indent:  # a table's row
        deeper = gap + 2 if gap + 2 + LEAST_COLUMN <= width else indent + 4
    else:
        deeper = indent + 2 if indent else 0
    room, below = max(width, LEAST_WIDTH), " " * deeper
    lines = textwrap.wrap(words, room, subsequent_indent=below, break_long_words=False, break_on_hyphens=False)
    wrapped = "\n".join([*lines, *([" " * (indent + 2) + command[0]] if command else [])])
    return wrapped.replace(UNBROKEN, " ").replace(SECOND_CELL, "")
