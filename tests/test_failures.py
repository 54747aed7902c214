"""What fails, by name: the same whatever the order, the line, the duration and the place; read from real outputs."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestra.gates.readers import Counts, count_tests
from orchestra.gates.reading import Names, clean_lines, new_failures, read_output
from tests.support.load import within

OUTPUTS = Path(__file__).parent / "outputs"
SHOP = "/home/ada/shop"


def failures(output: str, code: int, roots: Sequence[str] = (), *, timed_out: bool = False) -> Names:
    return read_output(output, code, roots=roots, timed_out=timed_out).failing


# --- outputs that were kept -----------------------------------------------------------------------------------------

KEPT: dict[str, tuple[set[str], int | None]] = {
    "jest": ({"a.test.js > top", "a.test.js > outer › inner", "b.test.js > Test suite failed to run"}, 2),
    "mocha": ({"outer > inner fails", "outer > deep > deeper"}, 1),
    "vitest": ({"a.test.mjs > top", "a.test.mjs > outer > inner", "b.test.mjs [ b.test.mjs ]"}, 2),
    "eslint": (
        {"x.js: 'a' is assigned a value but never used no-unused-vars", "x.js: 'b' is not defined no-undef"},
        None,
    ),
    "cargo": ({"src/lib.rs: tests::bad", "tests/foo.rs: outside", "thing: src/lib.rs - f"}, 1),
    "cargo-build": ({"src/lib.rs: error[E0425]: cannot find value `zzz` in this scope"}, None),
    "pyright": ({'a.py: error: Type "int" is not assignable to return type "str"'}, None),
    "go": (
        {
            "example.com/shop/add: TestAdd",
            "example.com/shop/add: TestSub",
            "example.com/shop/add: TestSub/zero_case",
            "example.com/shop/broken: build failed",
            "broken/b.go: undefined: nothing",
        },
        2,
    ),
} | dict.fromkeys(
    ("tsc", "tsc-pretty"),
    (
        {
            "a.ts: error TS2322: Type 'string' is not assignable to type 'number'.",
            "a.ts: error TS2322: Type 'number' is not assignable to type 'string'.",
        },
        None,
    ),
)


@pytest.mark.parametrize("tool", KEPT)
def test_what_a_tool_printed_is_read_into_names(tool: str) -> None:
    output = (OUTPUTS / f"{tool}.txt").read_text("utf-8")
    names, count = KEPT[tool]
    assert failures(output, 1, roots=[SHOP]) == names
    found = count_tests(clean_lines(output, ())).ran
    assert (found is None) is (count is None) and (not count or (found or 0) >= count)


# --- the tools that are here ----------------------------------------------------------------------------------------

PYTEST = {
    "test_a.py": """
import pytest
def test_ok(): pass
def test_bad(): assert 1 == 2
@pytest.mark.parametrize("x", ["a - b", "c d", "e[f]"])
def test_p(x): assert x == ""
class TestK:
    def test_in(self): raise ValueError("x - y")
@pytest.fixture
def boom(): raise RuntimeError("no")
def test_err(boom): pass
def test_log(caplog):
    import logging; logging.getLogger().error("ERROR that - is none")
    print("FAILED at nothing::at_all - is said only"); assert 0
""",
    "test_c.py": "import nothing_here\n",
}
PYTEST_NAMES = {
    *(f"test_a.py::{name}" for name in ("test_bad", "test_err", "test_log", "TestK::test_in")),
    *(f"test_a.py::test_p[{x}]" for x in ("a - b", "c d", "e[f]")),
    "test_c.py",
}
UNITTEST = {
    "test_u.py": '''
import unittest
class A(unittest.TestCase):
    def test_one(self): self.assertEqual(1, 2)
    def test_sub(self):
        """With a docstring."""
        for i in range(2):
            with self.subTest(i=i): self.assertEqual(i, 9)
class B(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise ValueError
    def test_x(self): pass
''',
    "test_v.py": "import nope\n",
}
UNITTEST_NAMES = {
    "test_one (test_u.A.test_one)",
    "test_sub (test_u.A.test_sub) (i=0)",
    "test_sub (test_u.A.test_sub) (i=1)",
    "setUpClass (test_u.B)",
    "test_v (unittest.loader._FailedTest.test_v)",
}
NODE = {
    "a.test.js": """
const {test, describe, it} = require('node:test'); const assert = require('node:assert');
test('top fails', () => { assert.equal(1, 2) });
describe('outer', () => { it('inner fails', () => { assert.equal(1, 3) }); it('fine', () => {}); });
test('skipped', {skip: true}, () => {});
test('later', {todo: true}, () => { assert.equal(1, 2) });
"""
}
LINT = {"a.py": "import os\ndef f(x: int) -> str:\n    return x\nf('a')\nf('b')\n"}
F401 = "a.py: F401 `os` imported but unused"
MYPY = {
    'a.py: error: Incompatible return value type (got "int", expected "str") [return-value]',
    'a.py: error: Argument 1 to "f" has incompatible type "str"; expected "int" [arg-type]',
    'a.py: error: Argument 1 to "f" has incompatible type "str"; expected "int" [arg-type] (2)',
}
PY = sys.executable
ON = "--continue-on-collection-errors -p no:cacheprovider"
QUICK = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
REAL = [
    (PYTEST, f"{PY} -m pytest -q {ON}", PYTEST_NAMES),
    (PYTEST, f"{PY} -m pytest -v --tb=no -p xdist -n 1 {ON}", PYTEST_NAMES),
    (PYTEST, f"{PY} -m pytest --color=yes -ra {ON}", PYTEST_NAMES),
    (PYTEST, f"{PY} -m pytest -q -p no:cacheprovider", {"test_c.py"}),
    (
        PYTEST,
        f"{PY} -m pytest -q -rN {ON}",
        {name.removeprefix("test_a.py::").replace("::", ".") for name in PYTEST_NAMES},
    ),
    (UNITTEST, f"{PY} -m unittest", UNITTEST_NAMES),
    (NODE, "node --test --test-reporter=tap", {"top fails", "outer", "outer > inner fails"}),
    (NODE, "node --test --test-reporter=spec", {"top fails", "inner fails"}),
    (LINT, f"{PY} -m ruff check --no-cache --isolated --select F401", {F401}),
    (LINT, f"{PY} -m ruff check --no-cache --isolated --select F401 --output-format concise", {F401}),
    (LINT, f"{PY} -m mypy --cache-dir=/dev/null --config-file=/dev/null a.py", MYPY),
]


def run(folder: Path, command: str) -> tuple[str, int]:
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"} | QUICK
    # Else it would tidy up after all that ran on this machine before.
    env["PYTEST_DEBUG_TEMPROOT"] = str(folder)
    done = subprocess.run(command, shell=True, cwd=folder, env=env, capture_output=True, timeout=within())
    return (done.stdout + done.stderr).decode("utf-8", "replace"), done.returncode


@pytest.mark.thorough(but="concise")
@pytest.mark.parametrize(("files", "command", "names"), REAL, ids=[case[1].split("/")[-1] for case in REAL])
def test_real_tools_are_read_into_names(tmp_path: Path, files: dict[str, str], command: str, names: set[str]) -> None:
    if command.startswith("node") and shutil.which("node") is None:
        pytest.skip("there is no node here")
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    output, code = run(tmp_path, command)
    assert code and failures(output, code, roots=[str(tmp_path)]) == names
    # Some lines above, in another folder: nothing of it is new.
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name, text in files.items():
        (moved / name).write_text(("//\n" if name.endswith("js") else "\n\n\n") + text)
    again, code = run(moved, command)
    assert failures(again, code, roots=[str(moved)]) == names


# --- what names are for ---------------------------------------------------------------------------------------------


def test_only_what_is_new_counts() -> None:
    base = "".join(f"FAILED test_old.py::test_{n} - assert 0\n" for n in range(7))
    head = "=== short test summary info ===\n"
    before = failures(head + base, 1)
    lines = [*base.splitlines(keepends=True), "FAILED test_new.py::test_it - assert 1\n"]
    random.Random(1).shuffle(lines)
    now = failures(head + "".join(lines), 1)
    assert len(before) == 7 and new_failures(before, now) == {"test_new.py::test_it"}
    assert new_failures(before, failures("7 passed", 0)) == frozenset()


def test_the_exit_code_decides_whether_anything_fails() -> None:
    said = "=== short test summary info ===\nFAILED a.py::b\n"
    assert failures(said, 0) == frozenset()
    assert failures("", 3) == {"exit code 3"}
    assert failures(said, 137) == {"a.py::b", "killed by signal 9"}
    assert failures(said, 143, timed_out=True) == {"a.py::b", "did not end in time"}
    assert failures("", 0, timed_out=True) == {"did not end in time"}


def test_unknown_tool_is_compared_by_stable_lines() -> None:
    one = "start\nError at /tmp/x1/a.c:12: no `f` (0x7ffe01), 12:01:02, took 3.5s\n2 failed, 41 passed\n"
    two = "start\nError at /tmp/y2/a.c:99: no `f` (0x7ffe99), 13:07:59, took 12 ms\n2 failed, 44 passed\n"
    assert failures(one, 1) == failures(two, 1) != frozenset()
    assert new_failures(failures(one, 1), failures(two.replace("2 failed", "3 failed"), 1))
    assert new_failures(failures(one, 1), failures(one.replace("no `f`", "no `g`"), 1))


def test_an_exit_code_alone_cannot_be_put_down_to_the_base() -> None:
    assert new_failures(failures("no", 3), failures("no", 3)) == {"exit code 3"}


def test_the_same_complaint_twice_in_a_file_is_two() -> None:
    once = "a.py:3: error: No such thing  [misc]\n"
    before, now = failures(once, 1), failures(once + once.replace(":3:", ":7:"), 1)
    assert new_failures(before, now) == {"a.py: error: No such thing [misc] (2)"}


@pytest.mark.parametrize(
    ("said", "ran", "passed"),
    [
        ("===== 2 failed, 3 passed, 1 warning in 0.02s =====", 5, 3),
        ("3 passed in 1.20s", 3, 3),
        ("1 failed, 1 xfailed, 1 xpassed, 2 subtests passed, 4 skipped in 75.32s (0:01:15)", 3, 1),
        ("2 skipped in 0.01s", 0, 0),
        ("3 passed tests in 0.5s", 0, 0),
        ("no tests ran in 0.01s", 0, 0),
        ("1 error in 0.10s", 0, 0),
        ("..F.sE                                   [100%]\n=== FAILURES ===\nFAILED a.py::b", 4, 3),
        ("Results (0.05s):\n       2 passed\n       1 failed\n         - a.py:3 test_x", 3, 2),
        ("Ran 0 tests in 0.000s\n\nOK", 0, 0),
        ("Ran 12 tests in 0.000s", 12, 12),
        (
            "FAIL: test_a (A.test_a) (n=1)\nFAIL: test_a (A.test_a) (n=2)\nRan 2 tests in 1s\n\nFAILED (failures=2)",
            2,
            1,
        ),
        ("ERROR: test_m (unittest.loader._FailedTest.test_m)\nRan 1 test in 0.0s\n\nFAILED (errors=1)", 0, 0),
        ("Ran 3 tests in 0.0s\n\nOK (skipped=2, expected failures=1)", 1, 0),
        ("Tests:       2 failed, 1 passed, 3 total", 3, 1),
        ("      Tests  2 failed | 1 passed (3)", 3, 1),
        ("Tests:       0 total", 0, 0),
        ("  1 passing (15ms)\n  2 failing", 3, 1),
        ("# tests 3\n# pass 1\n# fail 2", 3, 1),
        ("ℹ tests 0\nℹ pass 0\nℹ fail 0", 0, 0),
        ("test result: FAILED. 1 passed; 2 failed; 0 ignored", 3, 1),
        ("ok  \texample.com/a\t0.1s\nFAIL\texample.com/b\t0.1s\nFAIL\texample.com/c [build failed]", 2, 1),
        ("?   \texample.com/a\t[no test files]", 0, 0),
        ("all is well", None, None),
    ],
)
def test_how_many_tests_ran_and_passed(said: str, ran: int | None, passed: int | None) -> None:
    assert count_tests(clean_lines(said, ())) == Counts(ran, passed)


def test_failures_are_found_at_the_end_of_megabytes_of_output() -> None:
    output = "not a failure at all: 12:01 /x/y.py:3 [abc] ERROR\n" * 160_000
    assert failures(output + "=== short test summary info ===\nFAILED a.py::b\n", 1) == {"a.py::b"}
