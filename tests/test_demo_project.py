"""The demo's sample repository: red before the change, green after it, and only when every file of it is in."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.load import within

pytestmark = pytest.mark.thorough

DEMO = Path(__file__).parents[1] / "orchestra" / "demo_project"
COMPILED = "__pycache__"
GREEN = {"passed": 16}
RED = {"failed": 8, "passed": 8}
CHANGED = sorted(
    path.relative_to(DEMO / "after").as_posix()
    for path in (DEMO / "after").rglob("*")
    if path.is_file() and COMPILED not in path.parts
)


def checkout(folder: Path, changed: Iterable[str]) -> Path:
    """The sample as it stands when these files of the change are in."""
    shutil.copytree(DEMO / "before", folder, ignore=shutil.ignore_patterns(COMPILED))
    (folder / "gitignore").rename(folder / ".gitignore")
    for name in changed:
        shutil.copyfile(DEMO / "after" / name, folder / name)
    return folder


def run(folder: Path, *command: str) -> str:
    """What a command prints in that folder, untouched by the settings around the pytest that runs this."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON", "GIT_"))}
    environment = kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=within()).stdout


def outcome(folder: Path) -> dict[str, int]:
    """Pytest's own count, as in its last line: "8 failed, 8 passed in 0.05s"."""
    last_line = run(folder, sys.executable, "-m", "pytest", "-q").splitlines()[-1]
    return {word: int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", last_line)}


@cache
def block() -> dict[str, Any]:
    """The PRD's part for programs: its only JSON block, with which it ends."""
    found = re.findall(r"^```json\n(.*?)^```\n(.*)", (DEMO / "prd.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    [(text, rest)] = found
    assert rest == "", "something follows the PRD's block"
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def test_before_the_change_the_new_tests_fail_and_the_old_ones_pass(tmp_path: Path) -> None:
    assert outcome(checkout(tmp_path / "rock", [])) == RED


def test_after_the_change_all_is_green(tmp_path: Path) -> None:
    assert outcome(checkout(tmp_path / "rock", CHANGED)) == GREEN


@pytest.mark.parametrize("forgotten", CHANGED)
def test_no_file_of_the_change_can_be_left_out(tmp_path: Path, forgotten: str) -> None:
    counted = outcome(checkout(tmp_path / "rock", [name for name in CHANGED if name != forgotten]))
    assert counted.keys() & {"failed", "errors", "error"}, counted


def test_the_tests_leave_nothing_that_git_would_show(tmp_path: Path) -> None:
    rock = checkout(tmp_path / "rock", CHANGED)
    run(rock, "git", "init", "--quiet")
    run(rock, "git", "add", "--all")
    assert outcome(rock) == GREEN
    assert (rock / "lighthouse" / COMPILED).is_dir()
    shown = run(rock, "git", "status", "--porcelain").splitlines()
    assert "A  lighthouse/lamp.py" in shown
    assert all(line.startswith("A ") for line in shown), shown


def test_a_night_with_fog_can_be_seen_and_heard(tmp_path: Path) -> None:
    before = run(checkout(tmp_path / "before", []), sys.executable, "-m", "lighthouse")
    after = run(checkout(tmp_path / "after", CHANGED), sys.executable, "-m", "lighthouse")
    assert "04:00  calm; lamp at 6; Patient Heron at 12 knots; cocoa\n" in before
    assert "04:00  calm, fog; lamp at 12; Patient Heron at 6 knots; strong tea; horn: Mooo! Mooo!\n" in after
    assert before.split("04:00")[0].splitlines()[:14] == after.splitlines()[:14], "clear nights have changed"


def test_the_work_is_exactly_the_files_that_change() -> None:
    work = block()["work"]
    assert sorted(item["file"] for item in work) == CHANGED
    assert {item["file"] for item in work if item["new"]} == {
        name for name in CHANGED if not (DEMO / "before" / name).exists()
    }
    assert all(item["do"] for item in work)


def test_every_requirement_is_worked_on_and_can_be_checked() -> None:
    known = [item["id"] for item in block()["requirements"]]
    assert known == ["R1", "R2", "R3", "R4", "R5"]
    assert {name for item in block()["work"] for name in item["requirements"]} == set(known)
    assert all(item["text"] and item["acceptance"] for item in block()["requirements"])


def test_people_and_programs_read_the_same_requirements() -> None:
    prose = (DEMO / "prd.md").read_text("utf-8").split("```json")[0]
    assert re.findall(r"^- \*\*(R\d)\b", prose, re.MULTILINE) == [item["id"] for item in block()["requirements"]]


def test_contracts_are_new_and_kept_and_needed_by_a_neighbour() -> None:
    final = {name: (DEMO / "after" / name).read_text("utf-8") for name in CHANGED}
    for contract in block()["contracts"]:
        home, line = contract["file"], contract["signature"] + ":"
        before = DEMO / "before" / home
        assert line in final[home].splitlines()
        assert not before.exists() or line not in before.read_text("utf-8")
        assert any(contract["name"] + "(" in text for name, text in final.items() if name != home)


@pytest.mark.parametrize("name", ["change.txt", *(f"after/{name}" for name in CHANGED)])
def test_no_text_names_a_file(name: str) -> None:
    """Aider throws an edit away, and asks again, when the reply names another file of the repository."""
    text = (DEMO / name).read_text("utf-8")
    assert not re.findall(r"\S+\.(?:py|md|txt)\b", text)
