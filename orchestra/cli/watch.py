"""`status --watch`: look on until the run ends, or nobody is at work on it any more."""

import shutil
import sys
from collections.abc import Callable

from orchestra.cli.command_io import print_plain, print_raw
from orchestra.cli.commands.logs import format_log_line
from orchestra.cli.find import KnownRun, RunIndex
from orchestra.cli.follow import follow_run
from orchestra.report.fold import fold_events
from orchestra.report.state import Report
from orchestra.report.terminal_text import escape_controls


def watch_run(here: RunIndex, known: KnownRun, text: Callable[[Report], str] | None) -> None:
    """Redraw on a terminal; elsewhere a line for each event. Without `text` only wait."""
    report, height = Report(), 0
    redraws = text is not None and sys.stdout.isatty()
    for log in follow_run(here, known):
        fold_events(log.events, report)
        report.unreadable += log.torn_lines
        if redraws and text:
            height = redraw_text(text(report), height)
        elif text:
            for event in log.events:
                print_plain(format_log_line(event))
    if redraws:
        print_raw(cursor_up(height))


def redraw_text(text: str, height: int) -> int:
    """In the place of the last picture, which had this height; no line may wrap, else the height is wrong."""
    width, most = shutil.get_terminal_size()
    lines = [line[: width - 1] for line in escape_controls(text).expandtabs().split("\n")]
    lines = lines if len(lines) < most else [*lines[: most - 2], "…"]
    print_raw(cursor_up(height) + "\n".join(lines) + "\n")
    return len(lines)


def cursor_up(height: int) -> str:
    return f"\x1b[{height}A\x1b[J" if height else ""
