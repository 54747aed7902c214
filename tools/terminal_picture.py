"""The demo in a terminal of 80 columns, drawn as SVG: the board while agents work, and the end of its last screen."""

import io
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.support.runs import make_place
from tests.support.tmux import ENDED, open_terminal, terminal_environment

WIDTH, HEIGHT = 80, 60
BOARD_LINES = 7
# What the picture shows of the demo's last screen: how its paragraphs begin, and their other lines.
SHOWN = ("All ", "Checks:", "Cost:", "Look:", "After:")
GOES_ON = re.compile(r"  (tests|syntax) |Undo:|[\d,]+ tokens in")
STATES = re.compile(r"^agent\d+ +(\w+)", re.MULTILINE)
COLOURS = re.compile(r"\x1b\[[\d;]*m")
# Rich's own template loads a font from a server. This one takes what the reader's machine has.
TEMPLATE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>The demo in a terminal of 80 columns</title>
<style>
.{unique_id}-matrix {{ font: {char_height}px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def draw_demo() -> str:
    """Run the demo, and draw what it showed."""
    with tempfile.TemporaryDirectory() as name:
        place = make_place(Path(name), {})
        env = terminal_environment(place.environment(AIDER_BIN=""))
        with open_terminal(place.home, WIDTH, HEIGHT) as terminal:
            terminal.start("demo", "lighthouse", env=env)
            board = ""
            while not any(line.startswith(ENDED) for line in terminal.screen()):
                board = max(board, terminal.tmux("capture-pane", "-p", "-e"), key=count_states)
                time.sleep(0.01)
            last = terminal.tmux("capture-pane", "-p", "-e")
    return draw_terminal(choose_lines(board, last))


def count_states(frame: str) -> tuple[bool, int, float]:
    """How much a board tells: whether some tasks are done and others are not, the states of the agents, the money."""
    text = plain(frame)
    progress = re.findall(r" (\d+) of (\d+) ", text)
    is_between = any(0 < int(done) < int(tasks) for done, tasks in progress)
    return is_between, len(set(STATES.findall(text))), sum(map(float, re.findall(r"\$([\d.]+)", text)))


def choose_lines(board: str, last: str) -> list[str]:
    """Return the rows of the picture: the board with the line above it, then what the last screen says in the end."""
    rows = board.splitlines()
    start = next(number for number, row in enumerate(rows) if plain(row).startswith("agent ")) - 2
    before = next(row for row in rows if plain(row).startswith("Before:"))
    lines = ["$ aider-orchestrator demo", before, "", *rows[start : start + BOARD_LINES]]
    for row in last.splitlines():
        is_shown = plain(row).startswith(SHOWN) or (lines[-1] != "" and GOES_ON.match(plain(row)))
        if plain(row).startswith(SHOWN):
            lines.append("")
        if is_shown:
            lines.append(row)
    return lines


def plain(text: str) -> str:
    return COLOURS.sub("", text)


def draw_terminal(lines: Sequence[str]) -> str:
    console = Console(width=WIDTH, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in lines:
        console.print(Text.from_ansi(line))
    drawn = console.export_svg(title="", code_format=TEMPLATE, unique_id="demo")
    return re.sub(r"[ \t]+$", "", drawn, flags=re.MULTILINE)
