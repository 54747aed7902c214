"""Gates whose set-up is broken before any change: good work passes them, and what could not be checked is named. Real
runners on real trees."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from orchestra.gates.causes import is_own_module
from orchestra.gates.compare import Comparison, compare_readings, noise_between, why_unproven
from orchestra.gates.detect import DetectedGates, choose_gates, detect_gates, remaining_unusable
from orchestra.gates.inspection import inspect_repository, missing_program
from orchestra.gates.reading import read_output, why_not_started
from orchestra.gates.run import GateContext, GateOutcome, run_gate
from orchestra.model import Gate
from orchestra.settings import Settings
from tests.support.broken import APP, CHANGE, NOISY, PY, PYTEST, SET_UPS, TESTS, Broken, lay
from tests.support.load import LONGEST

TOOLS = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
ENV = {"PATH": TOOLS, "LANG": "C.UTF-8", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


class Clone:
    """A repository, in which gates run on the files as they are and as a change makes them."""

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        self.checkout, self.files, self.runs = folder / "checkout", dict(files), folder / "runs"
        lay(self.checkout, files)
        subprocess.run(["git", "init", "-q"], cwd=self.checkout, env=ENV, check=True)

    def find(self, settings: Settings, hidden: tuple[str, ...] = ()) -> tuple[list[Gate], DetectedGates]:
        seen = inspect_repository(self.checkout, list(self.files), ENV)
        detected = detect_gates(replace(seen, tools={k: v for k, v in seen.tools.items() if k not in hidden}))
        unusable = remaining_unusable(settings, detected.unusable)
        return choose_gates(settings, detected.gates), DetectedGates(detected.gates, unusable)

    def run(
        self, gate: Gate, change: Mapping[str, str], timeout: float = LONGEST, planned: Iterable[str] = ()
    ) -> GateOutcome:
        """Each run has a folder of its own, as the program does it."""
        tree = self.runs / f"gate-{len(list(self.runs.glob('*')))}" / "tree"
        files = self.files | dict(change)
        lay(tree, files)
        (tree / ".git").write_text(f"gitdir: {self.checkout}/.git\n")
        place, output = GateContext(tree, self.checkout, list(files), list(planned)), tree.parent / "output.txt"
        return asyncio.run(run_gate(gate, place, env=ENV, output=output, timeout=timeout, scrub=str))

    def check(self, gate: Gate, change: Mapping[str, str], timeout: float = LONGEST) -> tuple[GateOutcome, Comparison]:
        """As `Gating` does it: the base is asked if the change fails, and both again if there is something new."""
        first = self.run(gate, change, timeout, change)
        if not first.failing:
            return first, Comparison()
        base = self.run(gate, {}, timeout, change)
        said = compare_readings(gate, first.reading, base.reading, base_files=base.files)
        if said.new:
            noise = noise_between(base.reading, self.run(gate, {}, timeout, change).reading)
            second = self.run(gate, change, timeout, change).reading
            said = compare_readings(
                gate, first.reading, base.reading, second=second, base_files=base.files, noise=noise
            )
        return first, said


def marked(name: str) -> object:
    return pytest.param(name, marks=pytest.mark.soak) if SET_UPS[name].soak else name


@pytest.mark.thorough(but="conftest imports what is not installed")
@pytest.mark.parametrize("name", [marked(name) for name in SET_UPS])
def test_good_work_passes_a_broken_setup_that_names_what_is_missing(name: str, tmp_path: Path) -> None:
    broken = SET_UPS[name]
    if broken.needs and shutil.which(broken.needs) is None:
        pytest.skip(f"there is no {broken.needs} here")
    clone = Clone(tmp_path, broken.files)
    gates, detected = clone.find(Settings(test_cmd=broken.command), broken.hidden)
    reasons, proven, old = [one.why for one in detected.unusable], False, 0
    for gate in gates:
        outcome, said = clone.check(gate, dict([CHANGE]), broken.timeout)
        assert not said.new, outcome.output.read_text()
        why = why_unproven(outcome, said)
        reasons, proven, old = [*reasons, *filter(None, [why])], proven or not why, old + len(said.old) * (not why)
    assert broken.why in "; ".join(reasons) and bool(reasons) == bool(broken.why)
    assert (proven, old) == (broken.verified, broken.old)


# --- what a change does to a gate -----------------------------------------------------------------------------------

FOUND = Gate("pytest", "tests", f"{PY} -m pytest -q --continue-on-collection-errors -p no:cacheprovider")
NAMED = Gate("tests", "tests", f"{PY} -m pytest -q -p no:cacheprovider", named=True)
NAMED_TOO = pytest.param(NAMED, marks=pytest.mark.soak, id="named")
BOTH = pytest.mark.parametrize("gate", [pytest.param(FOUND, id="found"), NAMED_TOO])
BREAKS = {
    "a conftest that cannot be imported": {"conftest.py": "import nope\n"},
    "a conftest that exits": {"conftest.py": "import sys\nsys.exit(3)\n"},
    "an unknown option": {"pytest.ini": "[pytest]\naddopts = --nope\n"},
    "tests that cannot be imported": dict.fromkeys(TESTS, "import nope\n"),
    "one file that cannot be imported": {"tests/test_a.py": "import nope\n"},
    "no tests any more": dict.fromkeys(TESTS, "\n"),
    "killed": {"conftest.py": "import os\nos.kill(os.getpid(), 9)\n"},
    "a failing test": {"app.py": "def price():\n    return 2\n"},
}


@pytest.mark.thorough
@BOTH
@pytest.mark.parametrize("name", BREAKS)
def test_a_gate_that_the_change_breaks_is_not_turned_off(name: str, gate: Gate, tmp_path: Path) -> None:
    outcome, said = Clone(tmp_path, PYTEST).check(gate, BREAKS[name])
    assert said.new and not said.unknown and not said.why, outcome.output.read_text()


REPAIRS = {
    "conftest": (PYTEST | {"conftest.py": "import nope\n"}, {"conftest.py": "\n"}),
    "options": (PYTEST | {"pytest.ini": "[pytest]\naddopts = --nope\n"}, {"pytest.ini": "[pytest]\n"}),
    "dependency": (PYTEST | dict.fromkeys(TESTS, "import nope\n"), TESTS),
    "no tests": (APP | {"pytest.ini": "[pytest]\n"}, TESTS),
}


@pytest.mark.thorough
@BOTH
@pytest.mark.parametrize("name", REPAIRS)
def test_change_that_repairs_the_setup_is_accepted(name: str, gate: Gate, tmp_path: Path) -> None:
    files, change = REPAIRS[name]
    outcome, said = Clone(tmp_path / "good", files).check(gate, change)
    assert (outcome.reading.counts.passed, said, why_unproven(outcome, said)) == (2, Comparison(), "")
    # Some tests fail now: nothing tells since when.
    bad = change | {"tests/test_c.py": "def test_c():\n    assert 0\n"}
    outcome, said = Clone(tmp_path / "bad", files).check(gate, bad)
    assert not said.new and said.unknown == {"tests/test_c.py::test_c"}
    assert why_unproven(outcome, said).startswith(
        "1 of its 3 tests fail, and nothing tells whether they did before, because"
    )


IMPORTS = ("from app import reset", "import app\nreset = app.reset", "from shop.reset import reset")


@pytest.mark.thorough
@BOTH
@pytest.mark.parametrize("line", [*IMPORTS[1:], pytest.param(IMPORTS[0], marks=pytest.mark.soak)])
def test_tests_of_what_is_still_to_be_written_are_held_against_the_change(
    line: str, gate: Gate, tmp_path: Path
) -> None:
    """Their import fails on the base, but the module is the project's own: that is no broken set-up."""
    files = APP | {"conftest.py": "", "test_reset.py": f"{line}\n\ndef test_reset():\n    assert reset() == 3\n"}
    place, clone = "shop/reset.py" if "shop" in line else "app.py", Clone(tmp_path, files)
    wrong, said = clone.check(gate, {place: "def reset():\n    return 2\n"})
    assert said.new == {"test_reset.py::test_reset"}, wrong.output.read_text()
    right, said = clone.check(gate, {place: "def reset():\n    return 3\n"})
    assert not said.new and why_unproven(right, said) == ""
    none, said = clone.check(gate, {place: "x = 1\n"})
    assert not said.new and why_unproven(none, said), "it failed so before"


@pytest.mark.thorough
def test_a_new_test_file_that_needs_what_others_lack_is_put_down_to_the_machine(tmp_path: Path) -> None:
    lacking = "import requests_mock\n\ndef test_x():\n    pass\n"
    clone = Clone(tmp_path, PYTEST | {"tests/test_c.py": lacking})
    outcome, said = clone.check(FOUND, {"tests/test_new.py": lacking})
    assert not said.new and said.old == {"tests/test_c.py", "tests/test_new.py"}, outcome.output.read_text()
    # Not if it is missing nowhere else, nor where tests ran before.
    assert clone.check(FOUND, {"tests/test_new.py": "import nope\n"})[1].new == {"tests/test_new.py"}
    assert clone.check(FOUND, {"tests/test_a.py": lacking})[1].new == {"tests/test_a.py"}


@pytest.mark.thorough
def test_new_test_file_of_a_package_that_is_not_built_is_put_down_to_the_machine(tmp_path: Path) -> None:
    clone = Clone(tmp_path, SET_UPS["a compiled part of the package is not built"].files)
    _, said = clone.check(FOUND, {"tests/test_new.py": "import fast\n\ndef test_new():\n    pass\n"})
    assert not said.new and "_fast" in said.why
    # A private module that has a file, or is to get one, is the project's own code.
    assert is_own_module("fast._fast", ["fast/_fast.py"]) and not is_own_module("fast._fast", ["fast/core.py"])
    assert is_own_module("fast.core", ["fast/__init__.py"]) and is_own_module("_fast", ["_fast.py"])


@pytest.mark.thorough(but="one of many")
@pytest.mark.parametrize("name", ["one of many", "all"])
def test_a_new_failure_beside_files_that_cannot_be_collected(name: str, tmp_path: Path) -> None:
    broken = {"tests/test_c.py": "import requests_mock\n"}
    clone = Clone(tmp_path, PYTEST | broken if name == "one of many" else APP | {"conftest.py": ""} | broken)
    _, said = clone.check(FOUND, {"app.py": "def price():\n    return 2\n"})
    assert said.new == ({"tests/test_a.py::test_a", "tests/test_b.py::test_b"} if name == "one of many" else set())


# --- by what is printed ---------------------------------------------------------------------------------------------


def test_a_new_line_of_failure_is_found_among_noise(tmp_path: Path) -> None:
    gate = Gate("tests", "tests", f"{PY} noisy.py", named=True)
    clone = Clone(tmp_path, APP | {"noisy.py": NOISY})
    worse = NOISY.replace("sys.exit(1)", "print('error: the price is wrong')\nsys.exit(1)")
    outcome, said = clone.check(gate, {"noisy.py": worse})
    assert said.new == {"error: the price is wrong"}, outcome.output.read_text()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("before", "after", "new"),
    [
        ("exit 3", "exit 3", True),  # it has nothing to say but that it does not pass, as `grep -q`
        ("exit 3", "exit 4", True),
        ("echo hello; exit 3", "echo hello; exit 3", False),
        ("echo checked 12 files; exit 3", "echo checked 13 files; exit 3", False),
        ("echo hello; exit 3", "echo hello; echo price.py is bad; exit 3", True),
        ("echo 2 failed; exit 1", "echo 3 failed; exit 1", True),
        ("echo 2 failed; echo 41 passed; exit 1", "echo 2 failed; echo 44 passed; exit 1", False),
        ("echo error: a; exit 1", "echo error: b; exit 1", True),
        ("kill -9 $$", "exit 1", True),
        ("exit 0", "exit 1", True),
        ("exit 1", "exit 0", False),
    ],
)
def test_a_named_gate_is_compared_by_what_it_prints(before: str, after: str, new: bool, tmp_path: Path) -> None:
    gate = Gate("tests", "tests", "sh check.sh", named=True)
    _, said = Clone(tmp_path, {"check.sh": before + "\n"}).check(gate, {"check.sh": after + "\n"})
    assert bool(said.new) is new


def test_a_checker_that_was_found_and_cannot_start_is_dropped_too() -> None:
    usage = read_output("ruff failed\n  Cause: Failed to parse pyproject.toml\n", 2)
    assert (
        why_not_started(Gate("ruff", "lint", ""), usage)
        == "ruff could not start: Cause: Failed to parse pyproject.toml"
    )
    assert why_not_started(Gate("docs", "command", "", named=True), usage) == ""
    found = read_output("a.py:1:1: F401 unused\n", 1)
    assert why_not_started(Gate("ruff", "lint", ""), found) == ""


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("nope-tox -e py", "nope-tox"),
        ("CI=1 nope-tox", "nope-tox"),
        ("sh -c nope", ""),
        ("./nope", ""),
        ("cd x && nope", ""),
        ("$RUNNER x", ""),
        ("'", ""),
        ("", ""),
    ],
)
def test_a_command_that_is_not_there_is_known_at_once(command: str, missing: str) -> None:
    assert missing_program(command, os.environ) == missing


def test_every_set_up_has_a_reason_or_is_verified() -> None:
    assert len(SET_UPS) >= 40
    assert all(broken.why or broken.verified or name == "npm has no test" for name, broken in SET_UPS.items())
    assert isinstance(next(iter(SET_UPS.values())), Broken)
