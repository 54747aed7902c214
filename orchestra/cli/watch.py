"""`status --watch`: show the status until the run ends, or no process works on it."""

import shutil
import sys
from collections.abc import Callable

from orchestra.cli.command_io import print_plain, print_raw
from orchestra.cli.commands.logs import follow_run, format_log_line
from orchestra.cli.find import KnownRun, RunIndex
from orchestra.report.fold import fold_events
from orchestra.report.sanitize import escape_controls
from orchestra.report.state import Report


def watch_run(index: RunIndex, run: KnownRun, format_text: Callable[[Report], str] | None) -> None:
    """Redraw on a terminal; elsewhere print a line for each event. Without `format_text`, only wait."""
    report, height = Report(), 0
    redraws = format_text is not None and sys.stdout.isatty()
    for log in follow_run(index, run):
        fold_events(log.events, report)
        report.unreadable += log.torn_lines
        if redraws and format_text:
            height = redraw_text(format_text(report), height)
        elif format_text:
            for event in log.events:
                print_plain(format_log_line(event))
    if redraws:
        print_raw(cursor_up(height))


def redraw_text(text: str, height: int) -> int:
    """Replace the text of this height, and return the new height. Lines are cut, because a wrapped one has two rows."""
    width, rows = shutil.get_terminal_size()
    lines = [line[: width - 1] for line in escape_controls(text).expandtabs().split("\n")]
    lines = lines if len(lines) < rows else [*lines[: rows - 2], "…"]
    print_raw(cursor_up(height) + "\n".join(lines) + "\n")
    return len(lines)


def cursor_up(height: int) -> str:
    return f"\x1b[{height}A\x1b[J" if height else ""
