"""Which changed files decide the outcome of tests, and which of the base's tests are lost: rules alone."""

import pytest

from orchestra.gates.control import control_files, find_runner, needs_no_plugins
from orchestra.gates.reading import clean_lines
from orchestra.gates.recorded_tests import (
    LostTestNames,
    RecordedTests,
    file_of_test,
    find_lost_tests,
    read_recorded_tests,
)
from orchestra.judge.decisive_files import (
    TreeChange,
    asks_to_remove_test,
    find_decisive_files,
    list_weakened_asserts,
    restore_inline_tests,
    third_party_imports,
)
from orchestra.judge.static_tests import static_tests


def listed(paths: str) -> list[str]:
    return paths.split()


BASE_FILES = ("app.py", "shop/__init__.py", "tests/test_app.py", "pyproject.toml", "package.json", "requirements.txt")
SURE = listed("""
    tests/test_app.py tests/data.json test_app.py shop/app_test.py pkg/app_test.go src/app.test.ts src/__tests__/a.tsx
    spec/a_spec.rb conftest.py shop/conftest.py pytest.ini .coveragerc jest.config.js vitest.config.mts .mocharc.json
    karma.conf.js shop/tests.py src/test/java/ATest.java AppTest.java app.snap __mocks__/fs.js testdata/a.golden
    node_modules/jest/index.js web/node_modules/.bin/jest __pycache__/app.cpython-311.pyc evil.pth go.work
    evil.egg-info/entry_points.txt pytest.py pytest/__init__.py _pytest/config.py json.py random.py unittest/case.py
    src/json.py scripts/json.py bin/pytest pytest jest.cmd bin/node make
    test_utils.py test-setup.js test.js src/spec.ts test-app.mjs phpunit.xml venv/bin/python
""")
DOUBTFUL = listed("""
    Makefile GNUmakefile tox.ini setup.cfg setup.py .npmrc .github/workflows/ci.yml .gitlab-ci.yml .cargo/config.toml
    build.rs
    sitecustomize.py usercustomize.py tsconfig.json vite.config.ts babel.config.js CMakeLists.txt fixtures/a.json
    .env.test     shop/testing.py shop/fakes.py data/expected.json expected_prices.csv
    noxfile.py .envrc pom.xml build.gradle
""")
NEITHER = listed("""
    app.py shop/json.py shop/random.py src/app.ts README.md docs/testing.md shop/latest.py shop/contest.py attest.py
    shop/protest/a.py requirements.txt bin/shop scripts/deploy.sh main.go src/lib.rs index.js data/prices.json
    shop/pytest_like.py
""")


def change_of(*paths: str, **more: object) -> TreeChange:
    return TreeChange({}, dict.fromkeys(paths, b"x"), BASE_FILES, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", SURE)
def test_tests_set_up_and_shims_judge(path: str) -> None:
    assert find_decisive_files(change_of(path)).sure == (path,)


@pytest.mark.parametrize("path", DOUBTFUL)
def test_build_scripts_and_tool_settings_judge_and_may_be_product(path: str) -> None:
    assert find_decisive_files(change_of(path)).doubtful == (path,)


@pytest.mark.parametrize("path", NEITHER)
def test_product_does_not_judge(path: str) -> None:
    assert find_decisive_files(change_of(path)).paths == []


@pytest.mark.parametrize(
    ("path", "before", "after", "judges"),
    [
        ("pyproject.toml", "[project]\ndependencies = []\n", "[project]\ndependencies = ['httpx']\n", False),
        ("pyproject.toml", "", "[tool.pytest.ini_options]\naddopts = '-k x'\n", True),
        ("package.json", '{"dependencies": {}}', '{"dependencies": {"left-pad": "^1.0.0"}}', False),
        ("package.json", '{"scripts": {"test": "jest"}}', '{"scripts": {"test": "true"}}', True),
        ("package.json", "{}", '{"jest": {"testNamePattern": "x"}}', True),
        ("requirements.txt", "", "httpx==1.0\n", False),
    ],
)
def test_a_manifest_judges_if_more_than_its_dependencies_is_changed(
    path: str, before: str, after: str, judges: bool
) -> None:
    change = TreeChange({path: before.encode()}, {path: after.encode()}, BASE_FILES)
    assert find_decisive_files(change).paths == [path] * judges


def test_a_module_that_the_bases_tests_import_is_a_shadow_unless_it_was_asked_for() -> None:
    imported = third_party_imports(["import app, freezer\nfrom shop.cart import x\nfrom helper import y\n"], BASE_FILES)
    assert imported == {"freezer", "helper"}
    assert find_decisive_files(change_of("freezer.py", imported=imported)).sure == ("freezer.py",)
    assert find_decisive_files(change_of("freezer.py", imported=imported, asked=["freezer.py"])).paths == []
    assert find_decisive_files(change_of("json.py", imported=imported, asked=["json.py"])).sure == ("json.py",)


@pytest.mark.parametrize(
    ("path", "commands", "set_up", "judges"),
    [
        ("dev/check.sh", ["sh dev/check.sh"], [], True),
        ("dev/check.sh", ["sh ./dev/check.sh -q"], [], True),
        ("dev/check.sh", ["sh other/dev/check.sh"], [], False),
        ("plug.py", ["pytest -p plug"], [], True),
        ("tools/plug.py", [], ["pytest_plugins = [\n    'tools.plug',\n]"], True),
        ("plug.py", [], ["addopts = -q -p plug"], True),
        ("dev/check.sh", ["cd x && FOO=1 bash -e dev/check.sh"], [], True),
        ("check", ["./check --all"], [], True),
        ("check.py", ["if true; then /x/python -u check.py; fi"], [], True),
        ("app.py", ["grep -q hi app.py && test -f app.py"], [], False),
        ("app.py", [], ["import app\nfiles = 'app.py'"], False),
        ("app.c", ["cc app.c && ./a.out"], [], False),
    ],
)
def test_what_a_command_or_the_set_up_names_judges(
    path: str, commands: list[str], set_up: list[str], judges: bool
) -> None:
    assert find_decisive_files(change_of(path), commands, set_up).doubtful == (path,) * judges


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("Remove test_tax", True),
        ("Please skip the flaky test_tax for now.", True),
        ("Rename `test_tax` to test_vat", True),
        ("Make test_tax pass", False),
        ("Do not delete test_tax", False),
        ("Remove the old code. test_tax must pass", False),
        ("Delete test_taxes", False),
    ],
)
def test_to_name_a_test_is_no_wish_to_take_it_out(words: str, asked: bool) -> None:
    assert asks_to_remove_test(words, "test_tax") is asked


def test_assertions_that_are_gone_are_shown_with_what_came_instead() -> None:
    before = "def test_a():\n    assert f(1) == 2\n    assert g()\n"
    assert list_weakened_asserts(before, before + "\n\ndef test_b():\n    assert h()\n") == []
    assert list_weakened_asserts(before, before.replace("== 2", "")) == ["- assert f(1) == 2", "+ assert f(1)"]
    js = "test('a', () => { expect(f(1)).toBe(2); });\n"
    assert list_weakened_asserts(js, js.replace("toBe(2)", "toBeDefined()"))[0].startswith(
        "- test('a', () => { expect(f(1)).toBe(2)"
    )
    assert len(list_weakened_asserts("".join(f"assert {n}\n" for n in range(50)), "")) == 9


def test_the_tests_in_a_rust_file_are_put_back_below_its_new_code() -> None:
    tests = "#[cfg(test)]\nmod tests {}\n"
    assert restore_inline_tests("a.rs", b"fn a() {}\n" + tests.encode(), b"fn b() {}\n" + tests.encode()) is None
    assert restore_inline_tests("a.rs", b"fn a() {}\n", b"fn b() {}\n") is None
    bent = b"fn b() {}\n#[cfg(test)]\nmod none {}\n"
    assert restore_inline_tests("a.rs", b"fn a() {}\n" + tests.encode(), bent) == b"fn b() {}\n" + tests.encode()


# --- names ----------------------------------------------------------------------------------------------------------


def roll(**tests: str) -> RecordedTests:
    words = {"p": "passed", "f": "failed", "s": "skipped", "x": "expected", "d": "deselected"}
    return RecordedTests({name.replace("__", "["): words[outcome] for name, outcome in tests.items()})


@pytest.mark.parametrize(
    ("base", "now", "lost"),
    [
        (roll(a="p", b="f"), roll(a="p", b="p", c="s"), LostTestNames()),
        (roll(a="p", b="p"), roll(a="p"), LostTestNames(missing=("b",))),
        (roll(a="p", b="p"), roll(a="s", b="d"), LostTestNames(skipped=("a", "b"))),
        (roll(a="p", b="f"), roll(a="x", b="x"), LostTestNames(expected=("a", "b"))),
        (roll(a="s", b="x"), roll(), LostTestNames()),
        (roll(a__1="p", a__2="p"), roll(a__3="p", a__4="p"), LostTestNames()),
        (roll(a__1="p", a__2="p"), roll(a__1="p"), LostTestNames(missing=("a[2",))),
        (roll(a__1="p", a__2="s"), roll(a__1="p"), LostTestNames()),
    ],
)
def test_tests_of_the_base_that_did_not_run_as_there_are_lost(
    base: RecordedTests, now: RecordedTests, lost: LostTestNames
) -> None:
    assert find_lost_tests(base, now) == lost


TAP = """TAP version 13
# Subtest: suite
    # Subtest: inner
    ok 1 - inner
ok 1 - suite
ok 2 - two # SKIP not now
not ok 3 - three # TODO
not ok 4 - four
"""
SPEC = """▶ suite
  ✔ inner (7.8ms)
✔ suite (8.2ms)
﹣ two (0.3ms) # SKIP
✖ three (0.5ms) # TODO
✖ four (0.5ms)
ℹ tests 5
✖ failing tests:
✖ four (0.5ms)
"""
MOCHA = "\n  suite\n    ✔ inner\n    - two\n    1) four\n\n\n  1 passing (5ms)\n  1 pending\n"
CARGO = """     Running unittests src/lib.rs (target/debug/deps/shop-1a2b)
test tests::inner ... ok
test tests::two ... ignored
test tests::four ... FAILED
"""
GO = """=== RUN   TestInner
--- PASS: TestInner (0.00s)
--- SKIP: TestTwo (0.00s)
--- FAIL: TestFour (0.00s)
FAIL\texample.com/shop\t0.1s
"""
PRINTED = {
    "tap": (
        TAP,
        {"suite > inner": "passed", "suite": "passed", "two": "skipped", "three": "expected", "four": "failed"},
    ),
    "spec": (
        SPEC,
        {"suite > inner": "passed", "suite": "passed", "two": "skipped", "three": "expected", "four": "failed"},
    ),
    "tap with hashes": (
        "ok 1 - C\\# (old)\nok 2 - C\\# (new)\nnot ok 3 - Map#get # time=3ms\n"
        "ok 4 - issue #12 # SKIP\nok 5 - F# # TODO x\n",
        {"C\\# (old)": "passed", "C\\# (new)": "passed", "Map#get": "failed", "issue": "skipped", "F#": "expected"},
    ),
    "mocha": (MOCHA, {"suite > inner": "passed", "suite > two": "skipped"}),
    "cargo": (
        CARGO,
        {
            f"src/lib.rs: tests::{name}": how
            for name, how in (("inner", "passed"), ("two", "skipped"), ("four", "failed"))
        },
    ),
    "go": (
        GO,
        {
            f"example.com/shop: {name}": how
            for name, how in (("TestInner", "passed"), ("TestTwo", "skipped"), ("TestFour", "failed"))
        },
    ),
    "vitest": (" ✓ test/app.test.mjs (2 tests | 1 skipped) 3ms\n\n Tests  1 passed | 1 skipped (2)\n", {}),
    "jest": ("PASS test/app.test.js\n  ✓ price (2 ms)\n  ○ skipped tax\n", {"price": "passed", "tax": "skipped"}),
}


@pytest.mark.parametrize("name", PRINTED)
def test_names_and_outcomes_are_read_from_what_is_printed(name: str) -> None:
    printed, tests = PRINTED[name]
    assert read_recorded_tests("", clean_lines(printed, ())).tests == tests


def test_a_torn_record_of_names_is_read_as_far_as_it_goes() -> None:
    good = '{"runner": "pytest", "tests": {"a": "passed"}}'
    assert read_recorded_tests(f'{good}\n[]\n{{"tests": 1}}\n{good[:20]}', ()) == RecordedTests(
        {"a": "passed"}, "pytest"
    )


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("tests/test_app.py::test_a[x/y.py]", "tests/test_app.py"),
        ("test_app.TestApp.test_a", "tests/test_app.py"),
        ("shop.TestApp.test_a", ""),
        ("price", ""),
    ],
)
def test_the_file_of_a_test(name: str, path: str) -> None:
    assert file_of_test(name, BASE_FILES) == path


@pytest.mark.parametrize(
    ("text", "tests"),
    [
        (
            "def test_a(): pass\nclass TestB:\n    def test_c(self): pass\n    def helper(self): pass\n",
            {("", "test_a"), ("TestB", "test_c")},
        ),
        ("import unittest\nclass Shop(unittest.TestCase):\n    def test_c(self): pass\n", {("Shop", "test_c")}),
        ("@pytest.mark.parametrize('x', [1, (2, 'a'), pytest.param(-3)])\ndef test_a(x): pass\n", {("", "test_a")}),
        ("@pytest.mark.parametrize('x', app.CASES)\ndef test_a(x): pass\n", None),
        ("@pytest.mark.skipif(app.OLD, reason='')\ndef test_a(): pass\n", None),
        ("def pytest_generate_tests(metafunc): pass\n", None),
        ("class TestB(Base): pass\n", None),
        ("if app.NEW:\n    def test_a(): pass\n", None),
        ("test_a = make()\n", None),
        ("from shop.cases import *\n", None),
        ("pytestmark = pytest.mark.slow\ndef test_a(): pass\n", None),
        ("def broken(:\n", None),
    ],
)
def test_the_tests_of_a_file_are_plain_or_only_a_run_tells_them(text: str, tests: set[tuple[str, str]] | None) -> None:
    assert static_tests(text) == tests


# --- the control test -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "texts", "runner"),
    [
        ("/x/python -m pytest -q", {}, "pytest"),
        ("python -m unittest discover", {}, "unittest"),
        ("npm test", {"package.json": '{"scripts": {"test": "npm run unit", "unit": "jest --ci"}}'}, "jest"),
        ("pnpm test", {"package.json": '{"scripts": {"pretest": "tsc", "test": "vitest run"}}'}, "vitest"),
        ("yarn test", {"package.json": '{"scripts": {"test": "mocha"}}'}, "mocha"),
        ("npm test", {"package.json": '{"scripts": {"test": "node --import tsx --test"}}'}, "node"),
        ("npm test", {"package.json": '{"scripts": {"test": "sh check.sh"}}'}, ""),
        ("npm test", {"package.json": "broken"}, ""),
        ("make test", {"Makefile": "docs:\n\tpytest docs\n\ntest: unit\n\nunit:\n\tgo test ./...\n"}, "go"),
        ("make test", {"Makefile": "PY = python -m pytest\ntest:\n\t$(PY) -q\n"}, "pytest"),
        ("cargo test --no-fail-fast", {}, "cargo"),
        ("cargo nextest run", {}, "cargo"),
        ("tox", {}, ""),
        ("sh /tmp/pytest-of-ada/check.sh", {}, ""),
        ("/x/bin/pytest -q", {}, "pytest"),
        ("python pytest/run.py", {}, ""),
    ],
)
def test_the_runner_behind_a_command(command: str, texts: dict[str, str], runner: str) -> None:
    assert find_runner(command, texts, RecordedTests()) == runner


def test_a_control_test_for_go_stands_once_in_each_package() -> None:
    texts = {
        "a_test.go": 'package shop\n\nimport "testing"\n',
        "b_test.go": 'package shop_test\n\nimport (\n\t"fmt"\n\t"testing"\n)\n',
        "c/c_test.go": 'package c\n\nimport "testing"\n',
        "d/d_test.go": "package d\n",
    }
    made = control_files("go", "test_control_1", texts)
    assert made.keys() == {"a_test.go", "c/c_test.go"}
    assert "func TesttestXcontrolX1(t *testing.T) {" in made["c/c_test.go"]


def test_control_test_for_cargo_is_one_file_per_package() -> None:
    texts = {
        "Cargo.toml": "[workspace]\n",
        "a/Cargo.toml": "[package]\n",
        "b/Cargo.toml": "[package]\nautotests = false\n",
    }
    assert control_files("cargo", "x", texts).keys() == {"a/tests/x.rs"}


@pytest.mark.parametrize(
    ("command", "configuration", "plain"),
    [
        ("/x/python -m pytest -q -p no:cacheprovider", [""], True),
        ("pytest -q tests/test_a.py", ["[pytest]\npythonpath = ."], True),
        ("pytest --cov", [""], False),
        ("pytest -q", ["addopts = --cov"], False),
        ("pytest -n 4", [""], False),
        ("make test", [""], False),
    ],
)
def test_installed_plugins_are_left_out_only_where_nothing_names_one(
    command: str, configuration: list[str], plain: bool
) -> None:
    assert needs_no_plugins(command, configuration) is plain
