"""Clones whose test set-up is broken before any change: the work is delivered, paid for once, and the first sentence
says what could not be checked."""

import html
import os
import shutil
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from tests.support.broken import CHANGE, PYTEST, SET_UPS
from tests.support.edits import knows
from tests.support.load import LONGEST
from tests.support.modelserver import ModelServer
from tests.support.runs import Ran, assert_clean, make_place

EVERYDAY = (
    "conftest imports what is not installed",
    "an option of a plugin that is not installed",
    "a dependency of one test file is missing",
    "a service that all tests need",
    "pytest is not installed",
    "npm's script names a tool that is not installed",
    "a command that is not installed",
    "other paths, times and seeds in each run",
    "pytest, named, with a conftest that imports what is not installed",
)
IGNORED = {".gitignore": "__pycache__/\n.aider_logs/\n"}


def path_without(folder: Path, hidden: Collection[str]) -> str:
    """All tools, pytest too, but for these."""
    folder.mkdir()
    for place in (str(Path(sys.executable).parent), *os.environ["PATH"].split(os.pathsep)):
        for tool in Path(place).glob("*") if Path(place).is_dir() else ():
            if tool.name not in hidden and not (folder / tool.name).is_symlink():
                (folder / tool.name).symlink_to(tool)
    return str(folder)


def run(
    tmp_path: Path, files: Mapping[str, str], edits: Mapping[str, str], *words: str, hidden: Collection[str] = ()
) -> tuple[Ran, int]:
    """What the run came to, and how often the model was asked. The model makes these edits."""
    place = make_place(tmp_path, dict(files) | IGNORED)
    tools = path_without(tmp_path / "bin", hidden)
    with ModelServer(knows(edits)) as server:
        asked = ("--change", "Add a tax", "--no-prd", "--retries", "3", "--files", *edits, *words)
        return place.run(*asked, server=server, PATH=tools, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"), server.count()


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name", [name if name in EVERYDAY else pytest.param(name, marks=pytest.mark.soak) for name in SET_UPS]
)
def test_broken_setup_delivers_good_work_and_names_unchecked_parts(name: str, tmp_path: Path) -> None:
    broken = SET_UPS[name]
    if broken.needs and shutil.which(broken.needs) is None:
        pytest.skip(f"there is no {broken.needs} here")
    words = ["--test-cmd", broken.command] if broken.command else []
    words += ["--gate-timeout", str(broken.timeout)] if broken.timeout < LONGEST else []
    ran, asked = run(tmp_path, broken.files, dict([CHANGE]), *words, hidden=broken.hidden)
    assert (ran.code, asked) == (0, 1), ran.out + ran.err
    path, after = CHANGE
    assert (ran.place.repo / path).read_text() == after
    first = ran.out.splitlines()[0]
    if broken.verified:
        assert first.endswith(f"verified by the tests, but for {broken.old} that failed before.")
    else:
        assert "verified" not in first and ran.summary["verified"] != "tests"
        assert ("not checked by tests: " in first and broken.why in first) or not broken.why
        assert broken.why in "".join(ran.summary["unchecked"])
    page = (ran.logs / f"report_{ran.summary['timestamp']}.html").read_text()
    assert first == ran.summary["verdict"] and first in html.unescape(page)
    assert_clean(ran)
    if name == "a command that is not installed":
        assert ran.err.index("nope-tox is not found here") < ran.err.index("agent1: started"), "before anything is paid"


@pytest.mark.thorough
def test_a_change_that_breaks_the_set_up_is_not_delivered(tmp_path: Path) -> None:
    ran, _ = run(tmp_path, PYTEST, {"conftest.py": "import nope_dep\n"}, "--retries", "0")
    assert ran.code == 1 and "pytest failed: " in ran.out and "No module named 'nope_dep'" in ran.out, ran.out
    assert (ran.place.repo / "conftest.py").read_text() == ""


@pytest.mark.thorough
def test_a_change_that_repairs_the_set_up_is_verified_by_what_it_changed(tmp_path: Path) -> None:
    files = PYTEST | {"conftest.py": "import nope_dep\n"}
    ran, asked = run(tmp_path, files, {"conftest.py": "# Nothing is shared.\n"})
    words = "verified by tests that the agents changed: conftest.py."
    assert (ran.code, asked) == (0, 1) and ran.out.splitlines()[0].endswith(words), ran.out


@pytest.mark.thorough
def test_two_tasks_on_a_base_that_cannot_be_checked(tmp_path: Path) -> None:
    files = PYTEST | {"conftest.py": "import pytest_httpbin\n", "other.py": "x = 1\n"}
    after = dict([CHANGE]) | {"other.py": "x = 2\n"}
    ran, asked = run(tmp_path, files, after, "--agents", "2")
    assert (ran.code, asked) == (0, 2), ran.out + ran.err
    assert "not checked by tests: pytest could not start: No module named 'pytest_httpbin'" in ran.out
    assert {path: (ran.place.repo / path).read_text() for path in after} == after
