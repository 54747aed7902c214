"""`status --watch`: look on until the run ends, or nobody is at work on it any more."""

import shutil
import sys
from collections.abc import Callable

from orchestra.cli.commands.logs import log_line
from orchestra.cli.find import Here, Known
from orchestra.cli.follow import follow
from orchestra.cli.words import put, say
from orchestra.report.fold import fold
from orchestra.report.plain import plain
from orchestra.report.state import Report


def watch(here: Here, known: Known, text: Callable[[Report], str] | None) -> None:
    """Redraw on a terminal; elsewhere a line for each event. Without `text` only wait."""
    report, height = Report(), 0
    redraws = text is not None and sys.stdout.isatty()
    for log in follow(here, known):
        fold(log.events, report)
        report.unreadable += log.torn
        if redraws and text:
            height = redraw(text(report), height)
        elif text:
            for event in log.events:
                say(log_line(event))
    if redraws:
        put(up(height))


def redraw(text: str, height: int) -> int:
    """In the place of the last picture, which had this height; no line may wrap, else the height is wrong."""
    width, most = shutil.get_terminal_size()
    lines = [line[: width - 1] for line in plain(text).expandtabs().split("\n")]
    lines = lines if len(lines) < most else [*lines[: most - 2], "…"]
    put(up(height) + "\n".join(lines) + "\n")
    return len(lines)


def up(height: int) -> str:
    return f"\x1b[{height}A\x1b[J" if height else ""
