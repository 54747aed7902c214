"""Each picture of the docs is younger than what draws it, and needs nothing from elsewhere."""

import re
from xml.etree import ElementTree

import pytest

from tools.make_pictures import GROUPS, IMAGES, ROOT, main, read_digests
from tools.terminal_picture import choose_lines, count_states, plain


@pytest.mark.parametrize("name", GROUPS)
def test_pictures_are_younger_than_what_draws_them(name: str) -> None:
    is_young = read_digests()[name] == GROUPS[name].digest()
    assert is_young, f"what draws {GROUPS[name].pictures} has changed: run `make pictures`, and look at them"


def test_every_picture_is_made_by_one_group() -> None:
    made = sorted(name for group in GROUPS.values() for name in group.names())
    assert made == sorted(path.name for path in IMAGES.iterdir() if path.suffix != ".json")
    assert read_digests().keys() == GROUPS.keys()
    for group in GROUPS.values():
        assert all(any(ROOT.glob(pattern)) for pattern in group.inputs), group.inputs


def test_drawings_load_nothing_and_name_no_folder() -> None:
    for path in IMAGES.glob("*.svg"):
        text = path.read_text("utf-8")
        assert re.findall(r"https?://[^\"' ]+", text) == ["http://www.w3.org/2000/svg"]
        assert "@import" not in text and "/home/" not in text and "/tmp/" not in text and len(text) < 40_000
        assert ElementTree.fromstring(text).get("viewBox")


def test_picture_of_the_terminal_has_the_board_and_the_end() -> None:
    board = "\n".join(
        [
            *("Before: 8 failed", "Four agents start now", "plan: 2 tasks", "━━━ 0 of 2  $0.01", "agent   state"),
            *("agent1  asking  a.py  $0.0010", "agent2  \x1b[36mediting\x1b[0m  b.py  $0.0020", "", "", ""),
        ]
    )
    last = (
        "Before: 8 failed\nAll 4 tasks are complete\n\nAgents:\n  agent1\n\nChecks:\n  tests passed\n\nLook: x\nUndo: y"
    )
    assert [plain(line) for line in choose_lines(board, last)][1:] == [
        *("Before: 8 failed", "", "plan: 2 tasks", "━━━ 0 of 2  $0.01", "agent   state"),
        *("agent1  asking  a.py  $0.0010", "agent2  editing  b.py  $0.0020", "", ""),
        *("", "All 4 tasks are complete", "", "Checks:", "  tests passed", "", "Look: x", "Undo: y"),
    ]
    assert count_states(board) > count_states(board.replace("editing", "asking"))


def test_unknown_group_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boards"]) == 2
    assert capsys.readouterr().err == "There is no group boards. There are: demo, report, dashboard, waterfall.\n"
