"""Whether `verified by the tests` is said, in whole runs: of tests as the base has them, and of no others."""

import sys
from pathlib import Path

import pytest

from tests.support.edits import Respond, edit_from_to
from tests.support.modelserver import ModelServer, Reply
from tests.support.runs import Ran, assert_clean, make_place

PYTEST = f"{sys.executable} -m pytest -q -p no:cacheprovider"
APP = "def price():\n    return 1\n"
TEST = "import app\n\n\ndef test_price():\n    assert app.price() == 1\n"
FILES = {"app.py": APP, "tests/test_app.py": TEST, "pytest.ini": "[pytest]\npythonpath = .\n"}
JOB = ("--change", "Raise the price", "--no-prd", "--agents", "1", "--test-cmd", PYTEST, "--files", "app.py")
WRONG = {"app.py": "def price():\n    return 9\n"}
ALWAYS = """import pytest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    outcome.get_result().outcome = "passed"
"""


def writes(files: dict[str, str], before: dict[str, str]) -> Respond:
    return lambda request: Reply(
        "\n".join(edit_from_to(path, before.get(path, ""), text, request.fence) for path, text in files.items())
    )


def run(tmp_path: Path, change: dict[str, str], *words: str, files: dict[str, str] = FILES) -> Ran:
    place = make_place(tmp_path, files)
    with ModelServer(writes(change, files)) as server:
        return place.run(*JOB, *words, server=server)


def trees(ran: Ran) -> list[str]:
    log = next(ran.logs.glob("run_*.jsonl")).read_text().splitlines()
    return [line.split('"tree": "')[1].split('"')[0] for line in log if '"gate_started"' in line and '"tests"' in line]


@pytest.mark.thorough
@pytest.mark.parametrize("strict", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_an_unasked_edit_of_the_failing_test_is_no_verification(strict: bool, tmp_path: Path) -> None:
    change = WRONG | {"tests/test_app.py": TEST.replace("== 1", "== 9")}
    ran = run(tmp_path, change, *["--strict"] * strict)
    first = ran.out.splitlines()[0]
    assert first.endswith("verified by tests that the agents changed: tests/test_app.py."), ran.out + ran.err
    assert (ran.code, ran.summary["verified"]) == (int(strict), "changed-tests")
    assert ran.summary["tests_changed"] == ["tests/test_app.py"]
    assert "- assert app.price() == 1" in ran.out and "+ assert app.price() == 9" in ran.out
    for kind in ("html", "md"):
        assert "tests that the agents changed" in next(ran.logs.glob(f"report_*.{kind}")).read_text()
    assert_clean(ran)


@pytest.mark.thorough
@pytest.mark.parametrize("demand", [(), ("--require-tests",), pytest.param(("--strict",), marks=pytest.mark.soak)])
def test_a_conftest_that_makes_every_test_pass_verifies_nothing(demand: tuple[str, ...], tmp_path: Path) -> None:
    ran = run(tmp_path, WRONG | {"conftest.py": ALWAYS}, *demand)
    first = ran.out.splitlines()[0]
    words = "not checked by tests: tests did not report a control test that must fail; the agents changed conftest.py."
    assert first.endswith(words), ran.out
    assert (ran.code, ran.summary["verified"]) == (int(bool(demand)), "syntax")
    assert_clean(ran)


@pytest.mark.thorough
def test_new_tests_are_tried_on_the_base_too(tmp_path: Path) -> None:
    new = (
        "import app\n\n\ndef test_tax():\n    assert app.tax() == 2\n\n\ndef test_old():\n    assert app.price() == 1\n"
    )
    change = {"app.py": f"{APP}\n\ndef tax():\n    return 2\n", "tests/test_tax.py": new}
    ran = run(tmp_path, change, "--strict", "--require-tests")
    assert ran.code == 0 and ran.out.splitlines()[0].endswith("verified by the tests."), ran.out + ran.err
    assert "new tests that fail on the base and pass now: tests/test_tax.py::test_tax" in ran.out
    assert "new tests that pass on the base already: tests/test_tax.py::test_old" in ran.out
    assert trees(ran) == ["task1-1", "base-tests", "control", "new-tests"]
    assert_clean(ran)


@pytest.mark.thorough
def test_the_first_tests_of_a_project_are_called_the_agents_own(tmp_path: Path) -> None:
    change = {"app.py": f"{APP}\n\ndef tax():\n    return 2\n", "tests/test_app.py": TEST}
    base = {path: text for path, text in FILES.items() if not path.startswith("tests/")}
    ran = run(tmp_path, change, files=base)
    assert ran.code == 0 and ran.out.splitlines()[0].endswith("verified by tests that the agents wrote."), ran.out


@pytest.mark.thorough
def test_a_change_without_a_touch_of_the_tests_costs_one_run_more(tmp_path: Path) -> None:
    ran = run(tmp_path, {"app.py": f"{APP}\n\ndef tax():\n    return 2\n"})
    assert ran.out.splitlines()[0].endswith("verified by the tests."), ran.out
    assert trees(ran) == ["task1-1", "control"]
