"""The program on a Python without aider, such as 3.13: it asks, makes an environment for aider, and uses it."""

import subprocess
from pathlib import Path

import pytest

from orchestra.agents.aider_environment import environment_folder, find_made_python
from tests.e2e.test_plans import Terminal
from tests.support.aider_index import make_empty_path, make_index, make_python_without_aider
from tests.support.load import within
from tests.support.runs import PROGRAM, Place, make_place

pytestmark = pytest.mark.thorough

CHANGE = ("--change", "x", "--files", "a.py", "--no-prd")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_python_without_aider(tmp_path_factory.mktemp("bare") / "venv"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path, {"a.py": "a = 1\n"})


@pytest.fixture
def environ(place: Place, tmp_path: Path) -> dict[str, str]:
    return place.environment(AIDER_BIN="", PATH=make_empty_path(tmp_path / "bin")) | make_index(tmp_path / "index")


def run(python: str, place: Place, environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [python, str(PROGRAM), *words]
    return subprocess.run(
        command, cwd=place.repo, env=environ, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=within()
    )


def test_without_a_terminal_it_says_what_to_give(python: str, place: Place, environ: dict[str, str]) -> None:
    refused = run(python, place, environ, *CHANGE)
    assert refused.returncode == 2 and refused.stderr == (
        "aider-orchestrator: No Python with aider-chat was found. Give --yes, or run `aider-orchestrator doctor --fix`,"
        " to have an environment made for it; or set AIDER_BIN to an aider command.\n"
    )
    checked = run(python, place, environ, "doctor")
    assert checked.returncode == 2
    assert f"No Python with aider-chat was found. An environment for it can be made with {python}." in checked.stdout
    assert not environment_folder(environ).parent.exists()


def test_at_a_terminal_a_no_makes_nothing(python: str, place: Place, environ: dict[str, str]) -> None:
    person = Terminal(place, *CHANGE, env=environ, python=python)
    asked = person.expect("Make it? [y/N]")
    assert str(environment_folder(environ)) in asked.replace("\r\n", "") and python in asked.replace("\r\n", "")
    assert person.leave("n") == 2
    assert not environment_folder(environ).parent.exists()


def test_demo_makes_it_after_a_yes_and_later_commands_use_it(
    python: str, place: Place, environ: dict[str, str]
) -> None:
    person = Terminal(place, "demo", str(place.tmp / "sample"), env=environ, python=python)
    person.expect("Make it? [y/N]")
    person.write("y")
    person.expect("later runs use it.")
    person.expect("After: 16 passed")
    assert person.leave("") == 0
    checked = run(python, place, environ, "doctor")
    assert f"aider-chat 0.86.2, run by {find_made_python(environ)}" in checked.stdout


def test_doctor_fix_with_yes_makes_it_without_a_terminal(
    python: str, place: Place, environ: dict[str, str], tmp_path: Path
) -> None:
    stray = tmp_path / "bin/aider"  # of another version, which is no use
    stray.write_text(f"#!{python}3\n")
    stray.chmod(0o755)
    assert "has no aider-chat. Give --yes" in run(python, place, environ, *CHANGE).stderr
    fixed = run(python, place, environ | {"CI": "true"}, "doctor", "--fix", "--yes")
    assert fixed.returncode == 0, fixed.stdout + fixed.stderr
    assert find_made_python(environ) in fixed.stdout and not (place.repo / ".env").exists()


def test_init_offers_it(python: str, place: Place, environ: dict[str, str]) -> None:
    person = Terminal(place, "init", env=environ, python=python)
    person.expect("Make it? [y/N]")
    person.write("")
    assert "error: No Python with aider-chat was found." in person.expect("A run cannot work here yet")
    person.expect("Model (Enter")
    person.leave("\x03")
