"""What a terminal shows at several widths, read from tmux."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.edits import appends, no_edits
from tests.support.load import wait_until
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place, make_place
from tests.support.tmux import Terminal, open_terminal, terminal_environment

pytestmark = pytest.mark.thorough

WIDTHS = (60, 80, 100, 120)
LONG = "packages/storefront/src/module_{0:02}/checkout_process_{0:02}.py"
FILES = {LONG.format(n): f"value = {n}\n" for n in range(20)}
HI = "# hi"


def is_board(screen: list[str], agents: int = 0) -> bool:
    """Whether the screen shows a board, with the whole row of so many agents: a screen may be read half drawn."""
    rows = [line for line in screen if re.match(r"agent\d+ .*\$", line)]
    return any(line.startswith("agent   state") for line in screen) and len(rows) >= agents


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
    """Its replies come at once, so Aider is started anew: while it loads, the board stands."""
    place = make_place(tmp_path, {})
    with open_terminal(tmp_path, width) as terminal:
        terminal.start("demo", str(tmp_path / "sample"), env=terminal_environment(place.environment(AIDER_BIN="")))
        check_board(terminal.wait_for(lambda screen: is_board(screen, 4)), width, 4)
        assert terminal.wait_for_end() == 0


@pytest.mark.parametrize("width", WIDTHS)
def test_board_of_twenty_agents(tmp_path: Path, width: int) -> None:
    place = make_place(tmp_path, FILES)
    held = Held(appends(HI))
    with ModelServer(held) as server, open_terminal(place.repo, width) as terminal:
        words = ("--change", "Say hi", "--files", "packages", "--agents", "20", "--no-prd")
        terminal.start(*words, env=terminal_environment(place.environment(server)))
        screen = terminal.wait_for(lambda screen: is_board(screen, 20) and any("asking" in line for line in screen))
        check_board(screen, width, 20)
        held.release = True
        assert terminal.wait_for_end() == 0


class Held:
    """A model that answers when the test lets it: to all, or to the agent of one file."""

    def __init__(self, script: Callable[[Request], Reply], holds: str = "") -> None:
        self.script, self.holds, self.release = script, holds, False

    def __call__(self, request: Request) -> Reply:
        reply = self.script(request)
        is_held = not self.holds or self.holds in request.files
        return Reply(reply.text, until=lambda: self.release) if is_held else reply


# --- questions ------------------------------------------------------------------------------------------------------

TWO = {"good.py": "value = 1\n", "hopeless.py": "value = 2\n"}
HINT = "say the magic word"


def helpless(request: Request) -> Reply:
    return appends(HI)(request) if "good.py" in request.files or HINT in request.text else Reply("I cannot do that.")


@contextmanager
def waiting_question(tmp_path: Path, width: int) -> Iterator[tuple[Place, Terminal]]:
    """A run whose second task waits for a person, at a terminal that asks."""
    place = make_place(tmp_path, TWO)
    with ModelServer(helpless) as server, open_terminal(place.repo, width) as terminal:
        words = ("--change", "Say hi", "--files", *TWO, "--agents", "2", "--no-prd")
        terminal.start(*words, env=terminal_environment(place.environment(server)))
        terminal.wait_for("decide later")
        yield place, terminal


@pytest.mark.parametrize("width", WIDTHS)
def test_question_has_a_line_for_each_choice(tmp_path: Path, width: int) -> None:
    with waiting_question(tmp_path, width) as (_, terminal):
        screen = terminal.screen()
        start = next(n for n, line in enumerate(screen) if "needs your decision" in line)
        choices = [line.split("  ")[1].split()[0] for line in screen[start:] if line.startswith("  ")]
        assert choices == ["r", "s", "a", "t", "Enter", "?"], screen
        terminal.press("?", "Enter")
        screen = terminal.wait_for(lambda screen: any("aider-orchestrator resolve 2" in line for line in screen))
        assert "from any terminal:" in " ".join(" ".join(screen).split())
        terminal.press("r " + HINT, "Enter")
        assert terminal.wait_for_end() == 0


def test_decision_from_another_terminal_counts_at_once(tmp_path: Path) -> None:
    with waiting_question(tmp_path, 80) as (place, terminal):
        terminal.press("a half typed answ")
        stamp = next((place.repo / ".aider_logs").glob("run_*.jsonl")).stem.removeprefix("run_")
        done = place.run("resolve", stamp, "2", "--retry", HINT)
        assert done.code == 0, done.err
        assert terminal.wait_for_end() == 0
        shown = terminal.everything()
        assert any("Decided elsewhere: Task 2 is tried again." in line for line in shown), shown
        assert (place.repo / "hopeless.py").read_text().endswith(HI + "\n")
        again = place.run("resolve", stamp, "2", "--retry", HINT)
        assert again.code != 0 and again.out == ""
        assert "a person had it retried, from another terminal. It is complete" in again.err


def test_question_gives_way_to_a_task_that_is_added(tmp_path: Path) -> None:
    with waiting_question(tmp_path, 80) as (place, terminal):
        done = place.run("add", "latest", f"{HINT} in good.py", "--files", "good.py", "--link", "1")
        assert done.code == 0, done.err
        logs = place.repo / ".aider_logs"
        ended = '"attempt_ended"'
        wait_until(lambda: any(ended in log.read_text() for log in logs.glob("agent3_*.jsonl")), what="its end")
        assert place.run("cancel", "latest").code == 0
        assert terminal.wait_for_end() == 143
        assert any("Decided elsewhere: Task 3 is added" in line for line in terminal.everything())


@pytest.mark.parametrize("width", (60, 80))
def test_what_is_left_for_later_ends_with_exit_code_5(tmp_path: Path, width: int) -> None:
    """`status` says who waits while the question stands. At the end, nothing but commands and paths is too long."""
    with waiting_question(tmp_path, width) as (place, terminal):
        [waiting] = json.loads(place.run("status", "--json").out)["waiting"]
        assert waiting["agent"] == "agent2" and waiting["commands"]["take"].endswith(" 2 --take")
        assert f"agent2 waits for you: {waiting['question']}\n" in place.run("status").out
        terminal.press("Enter")
        assert terminal.wait_for_end() == 5
        lines = terminal.everything(joined=True)
        shown = lines[next(n for n, line in enumerate(lines) if line.startswith("1 of 2 tasks")) :]
        for line in shown:
            is_whole = line.lstrip().startswith(("aider-orchestrator ", "git ")) or len(line.split()) <= 2
            assert len(line) <= width or is_whole, line
        assert waiting["commands"]["retry"] in map(str.strip, shown)
        assert f"git diff {place.git('rev-parse', 'HEAD^')[:12]}" in " ".join(shown)
        [summary] = [json.loads(path.read_text()) for path in (place.repo / ".aider_logs").glob("summary_*.json")]
        assert 0 < summary["waited_seconds"] < summary["seconds"]
        assert "waiting for you" in " ".join(shown)


@pytest.mark.parametrize("width", WIDTHS)
def test_board_of_a_resumed_run(tmp_path: Path, width: int) -> None:
    """What earlier sessions did is shown with its files."""
    place = make_place(tmp_path, TWO)
    held = Held(appends(HI), holds="hopeless.py")
    with ModelServer(held) as server:
        env = terminal_environment(place.environment(server))
        with open_terminal(place.repo, width) as terminal:
            terminal.start("--change", "Say hi", "--files", *TWO, "--agents", "2", "--no-prd", env=env)
            terminal.wait_for(lambda screen: any("accepted" in line for line in screen))
            terminal.press("C-c")
            assert terminal.wait_for_end() == 130
        with open_terminal(place.repo, width) as terminal:
            terminal.start("resume", env=env)
            screen = terminal.wait_for(lambda screen: is_board(screen, 2) and any("asking" in line for line in screen))
            check_board(screen, width, 2)
            row = next(line for line in screen if line.startswith("agent1"))
            assert "accepted" in row and "good.py" in row, screen
            held.release = True
            assert terminal.wait_for_end() == 0


def test_ctrl_c_at_a_question_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    """The display ends before the closing words, which go to stdout, wherever that is."""
    place, out = make_place(tmp_path, TWO), tmp_path / "out.txt"
    with ModelServer(helpless) as server, open_terminal(place.repo, 80) as terminal:
        words = ("--change", "Say hi", "--files", *TWO, "--agents", "2", "--no-prd")
        terminal.start(*words, env=terminal_environment(place.environment(server)), stdout=out)
        terminal.wait_for("decide later")
        terminal.press("C-c")
        assert terminal.wait_for_end() == 130
        assert out.read_text().startswith("Stopped by Ctrl-C")
        assert not is_board(terminal.screen())
        assert terminal.tmux("display-message", "-p", "#{cursor_flag}").strip() == "1"


def test_all_waiting_tasks_are_asked_about_before_any_goes_on(tmp_path: Path) -> None:
    files = {f"hopeless{n}.py": "value = 1\n" for n in (1, 2)}
    place = make_place(tmp_path, files)
    with ModelServer(helpless) as server, open_terminal(place.repo, 80) as terminal:
        words = ("--change", "Say hi", "--files", *files, "--agents", "2", "--no-prd")
        terminal.start(*words, env=terminal_environment(place.environment(server)))
        terminal.wait_for("agent1 (hopeless1.py) needs your decision")
        asked = server.count()
        terminal.press(f"r {HINT}", "Enter")
        terminal.wait_for("agent2 (hopeless2.py) needs your decision")
        assert server.count() == asked
        terminal.press(f"r {HINT}", "Enter")
        assert terminal.wait_for_end() == 0


def test_task_with_nothing_to_do_is_no_question(tmp_path: Path) -> None:
    """A folder's file that needs no change, at a terminal that would ask about a failed task."""
    place = make_place(tmp_path, {"shop/__init__.py": "", "shop/cart.py": "cart = 1\n", "shop/tax.py": "tax = 1\n"})
    no_tax = no_edits()

    def respond(request: Request) -> Reply:
        return no_tax(request) if "shop/tax.py" in request.files else appends(HI)(request)

    with ModelServer(respond) as server, open_terminal(place.repo, 80) as terminal:
        words = ("--change", "Say hi", "--files", "shop", "--agents", "2", "--no-prd")
        terminal.start(*words, env=terminal_environment(place.environment(server)))
        assert terminal.wait_for_end() == 0
        assert server.count() == 2
        assert "All 2 tasks are complete (1 had nothing to do)" in "\n".join(terminal.everything())
