"""What a terminal shows at several widths, read from tmux."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.edits import appends
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import make_place
from tests.support.tmux import open_terminal, terminal_environment

pytestmark = pytest.mark.thorough

WIDTHS = (60, 80, 100, 120)
LONG = "packages/storefront/src/module_{0:02}/checkout_process_{0:02}.py"
FILES = {LONG.format(n): f"value = {n}\n" for n in range(20)}
HI = "# hi"


def is_board(screen: list[str]) -> bool:
    return any(line.startswith("agent   state") for line in screen)


def check_board(screen: list[str], width: int, agents: int) -> None:
    """Every column has its heading, nothing is longer than the screen, and each row is one line."""
    heading = next(n for n, line in enumerate(screen) if line.startswith("agent   state"))
    names = screen[heading].split()
    assert names == ["agent", "state", "files", *(["turns", "tokens"] if width >= 72 else []), "cost", "time"]
    rows = screen[heading + 1 : heading + 1 + agents]
    assert [row.split()[0] for row in rows] == [f"agent{n}" for n in range(1, agents + 1)], screen
    assert all(len(line) <= width for line in screen)
    assert " of " in screen[heading - 1] and "$" in screen[heading - 1]
    for row in rows:
        files = row[len("agent   ") + 25 :].split()
        assert ".py" in files[0], row
        assert row.split()[-2].startswith("$") or row.split()[-1].startswith("$"), row


@pytest.mark.parametrize("width", WIDTHS)
def test_board_of_the_demo(tmp_path: Path, width: int) -> None:
    place = make_place(tmp_path, {})
    with open_terminal(tmp_path, width) as terminal:
        terminal.start("demo", str(tmp_path / "sample"), env=terminal_environment(place.environment()))
        check_board(terminal.wait_for(is_board), width, 4)
        assert terminal.wait_for_end() == 0


@pytest.mark.parametrize("width", WIDTHS)
def test_board_of_twenty_agents(tmp_path: Path, width: int) -> None:
    place = make_place(tmp_path, FILES)
    held = Held(appends(HI))
    with ModelServer(held) as server, open_terminal(place.repo, width) as terminal:
        words = ("--change", "Say hi", "--files", "packages", "--agents", "20", "--no-prd")
        terminal.start(*words, env=terminal_environment(place.environment(server)))
        screen = terminal.wait_for(lambda screen: is_board(screen) and any("asking" in line for line in screen))
        check_board(screen, width, 20)
        held.release = True
        assert terminal.wait_for_end() == 0


class Held:
    """A model that answers when the test lets it."""

    def __init__(self, script: Callable[[Request], Reply]) -> None:
        self.script, self.release = script, False

    def __call__(self, request: Request) -> Reply:
        reply = self.script(request)
        return Reply(reply.text, until=lambda: self.release)
