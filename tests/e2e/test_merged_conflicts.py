"""Edits that git cannot merge: what tests prove is kept without a model call; the rest goes back to its author."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.edits import say
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place, Ran, make_place

pytestmark = pytest.mark.thorough
HUB = """\
from enum import Enum

from app import first


class Page(Enum):
    FIRST = "first"


ROUTES = {
    "/first": first.show,
}
NAMES = [
    "first",
]
SEEN = []


def register(name):
    SEEN.append(name)


register("first")
"""
CHANGES = "# Changes\n\n## Unreleased\n\n- The first page.\n"
CHECK = """\
from pathlib import Path

from app import hub

names = ["first", *sorted(path.stem for path in Path("app").glob("page*.py"))]
assert sorted(hub.SEEN) == sorted(hub.NAMES) == sorted(page.value for page in hub.Page) == names, hub.SEEN
assert {route: show() for route, show in hub.ROUTES.items()} == {f"/{name}": name for name in names}
"""
# What a task adds after which line of the hub.
ADDITIONS = (
    ("from app import first\n", "from app import {0}\n"),
    ('    FIRST = "first"\n', '    {1} = "{0}"\n'),
    ('    "/first": first.show,\n', '    "/{0}": {0}.show,\n'),
    ('    "first",\n', '    "{0}",\n'),
    ('register("first")\n', 'register("{0}")\n'),
)
YOUR_PART = re.compile(r"## Your part\n+.*Add (page\d+)\.")
FILES = {
    "app/__init__.py": "", "app/first.py": 'def show():\n    return "first"\n', "app/hub.py": HUB,
    "CHANGES.md": CHANGES, "check.py": CHECK,
}  # fmt: skip


def plan_of(tasks: int, files: str) -> str:
    lines = ['goal = "More pages"', 'shared = ["app/hub.py", "CHANGES.md"]']
    for n in range(1, tasks + 1):
        brief = json.dumps(f"Add page{n}.")
        lines += ["[[task]]", f"id = 'page{n}'", f"brief = {brief}", f"files = {files.replace('#', str(n))}"]
    return "\n".join(lines)


class PageModel:
    """Adds the page of its task to the hub, its module and the list of changes, in one reply."""

    def __call__(self, request: Request) -> Reply:
        name = YOUR_PART.findall(request.brief)[0]
        hub = request.files["app/hub.py"]
        changed = hub
        for after, line in ADDITIONS:
            changed = changed.replace(after, after + line.format(name, name.upper()))
        parts = [say(request, "app/hub.py", hub, changed)]
        parts += [say(request, f"app/{name}.py", "", f'def show():\n    return "{name}"\n')]
        changes = request.files["CHANGES.md"]
        parts += [say(request, "CHANGES.md", changes, f"{changes}- The page {name}.\n")]
        return Reply("\n\n".join(parts))


def write_plan(place: Place, text: str) -> None:
    place.write({".aider_logs/plans/pages.toml": text, ".aider_logs/.gitignore": "*\n"})


def conflicts_of(done: Ran) -> dict[int, dict[str, Any]]:
    """The last decision about each task's conflict, from the summary."""
    agents = done.summary["agents"].items()
    return {int(name[5:]): agent["conflicts"][-1] for name, agent in agents if agent.get("conflicts")}


def test_ten_tasks_share_a_hub(tmp_path: Path) -> None:
    """Imports, an enum, a table, a list, calls and a list of changes: no task is asked twice, and nothing is lost."""
    place = make_place(tmp_path, FILES)
    write_plan(place, plan_of(10, '["app/hub.py", "app/page#.py", "CHANGES.md"]'))
    with ModelServer(PageModel()) as provider:
        done = place.run("execute", "pages", "--max-agents", "4", "--test-cmd", "python check.py", server=provider)
        assert done.code == 0, done.out
        assert provider.count() == 10
    decided = conflicts_of(done)
    assert sorted(decided) == list(range(2, 11))
    assert all(each["taken"] and each["files"] == ["CHANGES.md", "app/hub.py"] for each in decided.values())
    assert len(place.git("show", "HEAD:CHANGES.md").splitlines()) == len(CHANGES.splitlines()) + 10
    assert "+    PAGE10 = " in place.run("show", "latest", "10").out
    assert "both edits were kept" in done.out


CALC = "def calc(x):\n    return x\n"
TESTS = {
    "add": "def test_add():\n    assert calc(0) == 1\n",
    "double": "def test_double():\n    assert calc(3) - calc(0) == 6\n",
}
STEPS = {"add": "    x = x + 1\n", "double": "    x = x * 2\n"}
OTHER = "Another task changed the same file"


def calc_plan() -> str:
    tasks = (
        f'[[task]]\nid = "{name}"\nbrief = "Do {name}."\nfiles = ["calc.py", "tests/test_{name}.py"]\n'
        for name in TESTS
    )
    return 'goal = "Calculate"\nshared = ["calc.py"]\n' + "".join(tasks)


def calc_model(tests: Mapping[str, str], retried: Callable[[str], str] = str) -> Callable[[Request], Reply]:
    """Inserts the step of its task before the end. `retried`: what it makes of a file with the other one's step."""

    def respond(request: Request) -> Reply:
        name = re.findall(r"## Your part\n+Do (\w+)\.", request.brief)[0]
        before = request.files["calc.py"]
        after = retried(before) if OTHER in request.text else before.replace("    return", f"{STEPS[name]}    return")
        test = f"tests/test_{name}.py"
        parts = [say(request, "calc.py", before, after)] if after != before else []
        if test not in request.files:
            parts.append(say(request, test, "", "from calc import calc\n\n\n" + tests[name]))
        return Reply("\n\n".join(parts))

    return respond


def make_calc(folder: Path) -> Place:
    base = "from calc import calc\n\n\ndef test_base():\n    assert calc(5) > 4\n"
    place = make_place(folder, {"calc.py": CALC, "tests/test_base.py": base, "conftest.py": ""})
    write_plan(place, calc_plan())
    return place


def test_order_that_both_sides_tests_accept_is_taken(tmp_path: Path) -> None:
    place = make_calc(tmp_path)
    with ModelServer(calc_model(TESTS)) as provider:
        done = place.run("execute", "pages", "--test-cmd", "python -m pytest -q", server=provider)
        assert (done.code, provider.count()) == (0, 2), done.out
    [decided] = conflicts_of(done).values()
    assert [bool(each["why_not"]) for each in decided["tried"]] == [True, False], decided
    assert "tests failed" in decided["tried"][0]["why_not"]
    assert place.git("show", "HEAD:calc.py") == CALC.replace(
        "    return", STEPS["double"] + STEPS["add"] + "    return"
    )


def test_merge_that_no_test_notices_goes_back_to_its_author(tmp_path: Path) -> None:
    """Its next attempt begins from the other's work, and is told what the other was to do and did."""
    place, told = make_calc(tmp_path), list[str]()
    tests = TESTS | {"double": "def test_double():\n    assert calc(3) > 0\n"}

    def double_first(text: str) -> str:
        return text.replace(STEPS["add"], STEPS["double"] + STEPS["add"])

    respond = calc_model(tests, double_first)

    def listen(request: Request) -> Reply:
        told.append(request.brief)
        return respond(request)

    with ModelServer(listen) as provider:
        words = ("execute", "pages", "--test-cmd", "python -m pytest -q", "--retries", "1")
        done = place.run(*words, server=provider)
        assert (done.code, provider.count()) == (0, 3), done.out
    assert "no test fails without the edit of agent2" in str(done.summary)
    assert OTHER in told[-1] and "Do add." in told[-1] and "+    x = x + 1" in told[-1] and "<<<<<<< " not in told[-1]
    assert STEPS["double"] in place.git("show", "HEAD:calc.py") and STEPS["add"] in place.git("show", "HEAD:calc.py")
