"""Scenarios of the checks: what they are worth, what failed before, who broke it, and what does not fit together."""

from orchestra.plan.draft import Draft, PlanItem
from orchestra.plan.toml_file import format_draft
from tests.support.broken import CHANGE as TAX
from tests.support.broken import SET_UPS
from tests.support.edits import appends, edit_from_to, knows, search_replace
from tests.support.modelserver import Reply, Request
from tools.corpus.stage import Stage, scenario

PYTEST = "python -m pytest -q -p no:cacheprovider"
OLD = "".join(f"def test_old_{n}():\n    assert {n} < 0\n" for n in range(3))
FLAKY = """
import os, pathlib
def test_flaky():
    seen = pathlib.Path(os.environ["SEEN"])
    assert seen.exists() or not pathlib.Path("a.py").read_text().endswith("hi\\n") or seen.write_text("")
"""
FILES = {
    "a.py": "a = 1\n",
    "b.js": "let b = 1;\n",
    "test_old.py": OLD,
    "test_new.py": "def test_new():\n    assert 'hi' not in open('b.js').read()\n" + FLAKY,
}
HI = appends("# hi")
JOB = ("--change", "Say hi", "--no-prd", "--test-cmd", PYTEST)


def seen(stage: Stage) -> dict[str, str]:
    return {"SEEN": str(stage.tmp / "seen")}


@scenario
def failed_before_and_flaky(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(HI, *JOB, "--files", "a.py", **seen(stage))


@scenario
def file_that_does_not_parse(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(HI, *JOB, "--agents", "2", "--files", "a.py", "b.js", **seen(stage))


@scenario
def gate_fails_for_all(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(HI, *JOB[:3], "--test-cmd", "! grep -q hi a.py", "--files", "a.py", "--retries", "1")


@scenario
def gate_that_hangs(stage: Stage) -> None:
    stage.begin(FILES)
    words = ("--test-cmd", "grep -q hi a.py && sleep 60; true", "--gate-timeout", "2", "--files", "a.py")
    stage.play(HI, *JOB[:3], *words)


@scenario
def gates_of_ones_own(stage: Stage) -> None:
    stage.begin(FILES)
    words = ("--gate", "lint=true", "--gate", "types=grep -q hi a.py", "--gate", "old=exit 1")
    stage.play(HI, *JOB[:3], *words, "--files", "a.py")


# --- what the tests are worth ---------------------------------------------------------------------------------------

APP = "def price():\n    return 1\n"
TEST = "import app\n\n\ndef test_price():\n    assert app.price() == 1\n"
SHOP = {"app.py": APP, "tests/test_app.py": TEST, "pytest.ini": "[pytest]\npythonpath = .\n"}
RAISE = ("--change", "Raise the price", "--no-prd", "--agents", "1", "--test-cmd", PYTEST, "--files", "app.py")
WRONG = {"app.py": "def price():\n    return 9\n"}
MORE = {"app.py": f"{APP}\n\ndef tax():\n    return 2\n"}
NEW = "import app\n\n\ndef test_tax():\n    assert app.tax() == 2\n\n\ndef test_old():\n    assert app.price() == 1\n"
ALWAYS = """import pytest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    outcome.get_result().outcome = "passed"
"""
SKIPPED = "import pytest\n" + TEST.replace("def test", "@pytest.mark.skip\ndef test")


def change_shop(stage: Stage, change: dict[str, str], *words: str, files: dict[str, str] = SHOP) -> None:
    stage.begin(files)
    said = "\n".join(edit_from_to(path, files.get(path, ""), text) for path, text in change.items())
    stage.play(lambda request: Reply(said), *RAISE, *words)


@scenario
def tests_changed(stage: Stage) -> None:
    change_shop(stage, WRONG | {"tests/test_app.py": TEST.replace("== 1", "== 9")})


@scenario
def tests_changed_under_strict(stage: Stage) -> None:
    change_shop(stage, WRONG | {"tests/test_app.py": TEST.replace("== 1", "== 9")}, "--strict")


@scenario
def tests_bent(stage: Stage) -> None:
    change_shop(stage, WRONG | {"conftest.py": ALWAYS})


@scenario
def tests_bent_though_required(stage: Stage) -> None:
    change_shop(stage, WRONG | {"conftest.py": ALWAYS}, "--require-tests")


@scenario
def tests_lost(stage: Stage) -> None:
    other = {"tests/test_more.py": "def test_more():\n    assert True\n"}
    change_shop(stage, WRONG | {"tests/test_app.py": SKIPPED}, files=SHOP | other)


@scenario
def tests_new(stage: Stage) -> None:
    change_shop(stage, MORE | {"tests/test_tax.py": NEW}, "--strict", "--require-tests")


@scenario
def tests_first_of_a_project(stage: Stage) -> None:
    base = {path: text for path, text in SHOP.items() if not path.startswith("tests/")}
    change_shop(stage, MORE | {"tests/test_app.py": TEST}, files=base)


@scenario
def tests_untouched(stage: Stage) -> None:
    change_shop(stage, MORE)


@scenario
def tests_required_and_missing(stage: Stage) -> None:
    stage.begin({"app.py": APP})
    stage.play(HI, *RAISE[:5], "--files", "app.py", "--require-tests")


def broken(stage: Stage, name: str) -> None:
    """A set-up that cannot run its tests before any change."""
    trouble = SET_UPS[name]
    stage.begin(dict(trouble.files) | {".gitignore": "__pycache__/\n.aider_logs/\n"})
    words = ["--test-cmd", trouble.command] if trouble.command else []
    stage.play(
        knows({TAX[0]: TAX[1]}), "--change", "Add a tax", "--no-prd", "--retries", "3", "--files", TAX[0], *words,
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
    )  # fmt: skip


@scenario
def unusable_tests(stage: Stage) -> None:
    broken(stage, "conftest imports what is not installed")


@scenario
def unusable_command_of_the_users(stage: Stage) -> None:
    broken(stage, "a command that is not installed")


@scenario
def unusable_make(stage: Stage) -> None:
    broken(stage, "make's target fails at once")


# --- who broke it ---------------------------------------------------------------------------------------------------

PARTS = {f"part{n}.py": f"value = {n}\nready = False\n" for n in range(6)}
BETTER = {path: text.replace("False", "True") for path, text in PARTS.items()}
TOGETHER = "import part2, part4\ndef test_not_both():\n    assert not (part2.ready and part4.ready)\n"
READY = ("--change", "Be ready", "--no-prd", "--test-cmd", PYTEST, "--agents", "6")


@scenario
def two_that_break_it_together(stage: Stage) -> None:
    """And one that needs the one of them that is held back."""
    stage.begin(PARTS | {"test_parts.py": TOGETHER})
    items = [
        PlanItem(f"t{n}", f"Part {n}", "Be ready", (path,), needs=("t2",) * (n == 5)) for n, path in enumerate(PARTS)
    ]
    (stage.home / "six.toml").write_text(format_draft(Draft("Be ready", task=tuple(items)), "six"))
    stage.play(knows(BETTER, set()), "execute", str(stage.home / "six.toml"), "--test-cmd", PYTEST, "--agents", "6")


@scenario
def guilty_one_tries_again(stage: Stage) -> None:
    stage.begin(PARTS | {"test_parts.py": "import part2\ndef test_two():\n    assert part2.value == 2\n"})
    good = knows(BETTER, set())

    def respond(request: Request) -> Reply:
        if "part2.py" in request.files and "Earlier attempts" not in request.text:
            return Reply(search_replace("part2.py", PARTS["part2.py"], "value = 3\nready = True\n"))
        return good(request)

    stage.play(respond, *READY, "--retries", "3", "--files", *PARTS)


@scenario
def only_right_together(stage: Stage) -> None:
    whole = "import part0, part1\ndef test_all():\n    assert part0.ready == part1.ready\n"
    stage.begin(PARTS | {"test_parts.py": whole})
    stage.play(knows(BETTER, set()), *READY, "--retries", "1", "--files", *PARTS)


@scenario
def nothing_is_left_to_blame(stage: Stage) -> None:
    """It fails whichever is left out."""
    stage.begin({path: PARTS[path] for path in ("part0.py", "part1.py")})
    check = "! grep -q True part0.py part1.py"
    stage.play(
        knows(BETTER, set()), *READY[:3], "--test-cmd", check, "--files", "part0.py", "part1.py", "--agents", "2"
    )


# --- what does not fit together -------------------------------------------------------------------------------------


def with_a_file_of_all(content: str) -> str:
    return search_replace("shared.py", "", content)


@scenario
def conflict_of_two_tasks(stage: Stage) -> None:
    """Both make a file that nobody has: the second one's does not fit on the first one's."""
    stage.begin({path: PARTS[path] for path in ("part0.py", "part1.py")})

    def respond(request: Request) -> Reply:
        mine = "part0.py" if "part0.py" in request.files else "part1.py"
        return Reply(HI(request).text + "\n" + with_a_file_of_all(f"made_by = '{mine}'\n"))

    stage.play(respond, *READY[:3], "--files", "part0.py", "part1.py", "--agents", "2")


@scenario
def conflict_that_is_tried_again(stage: Stage) -> None:
    stage.begin({path: PARTS[path] for path in ("part0.py", "part1.py")})

    def respond(request: Request) -> Reply:
        mine = "part0.py" if "part0.py" in request.files else "part1.py"
        if "Earlier attempts" in request.text:
            return HI(request)
        return Reply(HI(request).text + "\n" + with_a_file_of_all(f"made_by = '{mine}'\n"))

    stage.play(respond, *READY[:3], "--files", "part0.py", "part1.py", "--agents", "2", "--retries", "2")


READS = ("--test-cmd", "grep -q 'import z' list.py")


@scenario
def both_add_lines_to_one_file(stage: Stage) -> None:
    """A file that nobody owns, edited by two at the same place in ways that go together."""
    stage.begin({path: PARTS[path] for path in ("part0.py", "part1.py")} | {"list.py": "import a\nimport z\n"})

    def respond(request: Request) -> Reply:
        mine = "part0" if "part0.py" in request.files else "part1"
        more = search_replace("list.py", "import a\n", f"import a\nimport {mine}\n")
        return Reply(HI(request).text + "\n" + more)

    stage.play(respond, *READY[:3], "--files", "part0.py", "part1.py", "--agents", "2", *READS)
