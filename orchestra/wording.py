"""Lists and texts in messages: shortened to what a person reads."""

from collections.abc import Sequence


def join_some(words: Sequence[str], most: int = 3) -> str:
    """Join the first words and count the others: `a.py, b.py, c.py and 4 more`."""
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def one_line(text: str, limit: int = 400) -> str:
    """Return a text on one line, cut to a length."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
