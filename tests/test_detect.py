"""Which gates a repository has: a table of configurations, and what the user may say about it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestra.errors import SettingsError
from orchestra.gates.detect import TOOLS, RepositoryView, choose_gates, detect_gates
from orchestra.gates.inspection import inspect_repository, make_syntax_gate
from orchestra.model import Gate
from orchestra.settings import Settings, SettingsFile, load_settings
from tests.support.load import within

ALL = {name: name for name in TOOLS}


def package(**content: object) -> dict[str, str]:
    return {"package.json": json.dumps(content)}


def test_script(text: str, **more: object) -> dict[str, str]:
    return package(scripts={"test": text}, **more)


test_script.__test__ = False  # type: ignore[attr-defined]
UNIT = {"tests/test_a.py": "import unittest\n"}
PLAIN = {"tests/test_a.py": "def test_a(): pass\n"}
CASES: dict[str, tuple[dict[str, str], list[str]]] = {
    "nothing": ({"a.py": ""}, []),
    "pytest.ini": ({"pytest.ini": ""}, ["pytest"]),
    "pyproject": ({"pyproject.toml": "[tool.pytest.ini_options]\n"}, ["pytest"]),
    "pyproject, broken": ({"pyproject.toml": "[tool.pytest"}, []),
    "tox.ini": ({"tox.ini": "[pytest]\n"}, ["pytest"]),
    "setup.cfg": ({"setup.cfg": "[tool:pytest]\nx = 1\n"}, ["pytest"]),
    "conftest and tests": ({"conftest.py": "", **PLAIN}, ["pytest"]),
    "conftest without tests": ({"conftest.py": ""}, []),
    "named among the requirements": ({"requirements-dev.txt": "pytest>=8\n", **PLAIN}, ["pytest"]),
    "named in a comment": ({"requirements-dev.txt": "nose # no pytest\n", **PLAIN}, []),
    "named by an extra": (
        {"pyproject.toml": '[project.optional-dependencies]\ntest = ["pytest"]\n', **PLAIN},
        ["pytest"],
    ),
    "named without tests": ({"requirements.txt": "pytest\n"}, []),
    "imported by a test": ({"test_a.py": "import pytest\n"}, ["pytest"]),
    "tests of nobody's": (PLAIN, []),
    "unittest": (UNIT, ["unittest"]),
    "unittest under pytest": ({**UNIT, "pytest.ini": ""}, ["pytest"]),
    "npm": (test_script("jest"), ["npm test"]),
    "npm's default": (test_script('echo "Error: no test specified" && exit 1'), []),
    "npm without a script": (package(name="a"), []),
    "package.json, broken": ({"package.json": "{"}, []),
    "package.json, odd": ({"package.json": '{"scripts": []}'}, []),
    "pnpm": ({**test_script("jest"), "pnpm-lock.yaml": ""}, ["pnpm test"]),
    "yarn": ({**test_script("jest"), "yarn.lock": ""}, ["yarn test"]),
    "the manager that is named": ({**test_script("a", packageManager="pnpm@9"), "yarn.lock": ""}, ["pnpm test"]),
    "go": ({"go.mod": "module a\n", "a_test.go": ""}, ["go test"]),
    "go without tests": ({"go.mod": "module a\n"}, []),
    "cargo": ({"Cargo.toml": ""}, ["cargo test"]),
    "make": ({"Makefile": "all:\n\ntest: all\n\t./t\n"}, ["make test"]),
    "make, double colon": ({"Makefile": "test::\n\t./t\n"}, ["make test"]),
    "make, a variable": ({"Makefile": "test := 1\ntest::= 2\ntests:\n"}, []),
    "make beside pytest": ({"Makefile": "test:\n\tpytest\n", "pytest.ini": ""}, ["pytest"]),
    "two languages": ({**test_script("jest"), "pytest.ini": ""}, ["pytest", "npm test"]),
    "ruff": ({"pyproject.toml": "[tool.ruff]\n"}, ["ruff"]),
    "flake8": ({".flake8": ""}, ["flake8"]),
    "flake8 in setup.cfg": ({"setup.cfg": "[flake8]\n"}, ["flake8"]),
    "mypy": ({"pyproject.toml": "[tool.mypy]\n"}, ["mypy"]),
    "mypy in setup.cfg": ({"setup.cfg": "[mypy]\n"}, ["mypy"]),
    "pyright": ({"pyrightconfig.json": "{}"}, ["pyright"]),
    "tsc": ({"tsconfig.json": "{}"}, ["tsc"]),
    "eslint": ({"eslint.config.mjs": ""}, ["eslint"]),
    "eslint of old": ({".eslintrc.json": ""}, ["eslint"]),
    "eslint in package.json": (package(eslintConfig={}), ["eslint"]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_configured_is_found_and_nothing_else(name: str) -> None:
    texts, gates = CASES[name]
    found = detect_gates(RepositoryView(texts, texts, ALL))
    assert [gate.name for gate in found.gates] == gates and not found.unusable
    nothing = detect_gates(RepositoryView(texts, texts, {}))
    assert not nothing.gates and len(nothing.unusable) >= len(gates)
    assert all("is not installed here" in each.note for each in nothing.unusable)


def test_the_commands() -> None:
    def command(texts: dict[str, str]) -> str:
        return detect_gates(RepositoryView(texts, texts, ALL)).gates[0].command

    assert command(UNIT) == "unittest discover -s tests"
    assert command({**UNIT, "tests/__init__.py": ""}) == "unittest"
    inner = {"src/shop/tests/test_a.py": UNIT["tests/test_a.py"], "src/shop/__init__.py": ""}
    assert command({**inner, "src/shop/tests/__init__.py": ""}) == "unittest discover -s src"
    other_names = {
        "shop/tests/a_test.py": UNIT["tests/test_a.py"],
        "shop/__init__.py": "",
        "shop/tests/__init__.py": "",
    }
    assert command(other_names) == "unittest discover -p '*_test.py'"
    assert command({"mypy.ini": "[mypy]\nfiles = a\n"}) == "mypy"
    assert command({"mypy.ini": "[mypy]\n", "shop/__init__.py": ""}) == "mypy shop"
    assert command({"mypy.ini": "[mypy]\n", "src/shop/__init__.py": ""}) == "mypy src"


def test_missing_node_packages_are_named() -> None:
    texts = test_script("jest", devDependencies={"jest": "30"})
    found = detect_gates(RepositoryView(texts, texts, ALL, packages=False))
    assert not found.gates and "there is no node_modules" in found.unusable[0].note
    alone = test_script("node --test")
    assert detect_gates(RepositoryView(alone, alone, ALL, packages=False)).gates


def test_the_projects_own_tools_come_before_those_on_path(tmp_path: Path) -> None:
    for name in (".venv/bin/python", ".venv/bin/pytest", "node_modules/.bin/tsc", "pytest.ini", "tsconfig.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    files = ["pytest.ini", "tsconfig.json", ".flake8"]
    found = detect_gates(inspect_repository(tmp_path, files, {"PATH": "/nowhere"}))
    own = f"{tmp_path}/.venv/bin/python -m pytest -q --continue-on-collection-errors"
    assert [gate.command for gate in found.gates] == [own, "node_modules/.bin/tsc --noEmit --pretty false"]
    assert [each.note for each in found.unusable] == [
        "flake8 is not used: .flake8 is there, but flake8 is not installed here."
    ]


# --- what the user says ---------------------------------------------------------------------------------------------

FOUND = [
    Gate("syntax", "syntax", "s"),
    Gate("pytest", "tests", "p"),
    Gate("ruff", "lint", "r"),
    Gate("mypy", "types", "m"),
]


@pytest.mark.parametrize(
    ("said", "gates"),
    [
        ({}, ["pytest p", "mypy m", "ruff r", "syntax s"]),
        ({"test_cmd": "t"}, ["tests t", "mypy m", "ruff r", "syntax s"]),
        ({"lint_cmd": "l", "type_cmd": "y"}, ["pytest p", "types y", "lint l", "syntax s"]),
        ({"gate": ("docs=make docs",)}, ["pytest p", "mypy m", "ruff r", "syntax s", "docs make docs"]),
        ({"gate": ("mypy=", "ruff = flake8 a=b")}, ["pytest p", "ruff flake8 a=b", "syntax s"]),
    ],
)
def test_what_the_user_says_comes_first(said: dict[str, str | tuple[str, ...]], gates: list[str]) -> None:
    settings = Settings(**said)  # type: ignore[arg-type]
    assert [f"{gate.name} {gate.command}" for gate in choose_gates(settings, FOUND)] == gates


def test_the_gates_table_of_a_settings_file() -> None:
    settings = load_settings(
        {}, [], [SettingsFile("a.toml", {"gates": {"docs": "make docs", "mypy": False}, "gate": ["x=y"]})]
    )
    assert settings.gate == ("x=y", "docs=make docs", "mypy=")
    for bad in ({"gates": 1}, {"gates": {"a": 1}}, {"gates": {"a": True}}, {"gate": ["x"]}, {"gate": ["=x"]}):
        with pytest.raises(SettingsError):
            load_settings({}, [], [SettingsFile("a.toml", bad)])


# --- syntax ---------------------------------------------------------------------------------------------------------

GOOD = {
    "a.py": "def f():\n    return 1\n",
    "new.py": "match x:\n    case 1: pass\ntype X = int\ny = f'{a['b']}'\n",
    "a.ts": "const a: number = 3;\n",
    "a.go": "package a\nfunc f() {}\n",
    "a.rs": "fn main() {}\n",
    "a.json": '{"a": 1}\n',
    "a.c": "int main(void) { return 0; }\n",
    "a.xyz": "((((\n",
}
BAD = {
    "a.py": "def f(:\n",
    "in dent.py": "def f():\n  x\n y\n",
    "a.ts": "const a: = 3;\n",
    "a.go": "package a\nfunc f( {}\n",
    "a.rs": "fn main( {}\n",
    "a.json": '{"a": 1,\n',
    "a.c": "int main(void) { return 0\n",
}


def test_what_does_not_parse_is_named(tmp_path: Path) -> None:
    for folder, files in (("good", GOOD), ("bad", BAD)):
        (tmp_path / folder).mkdir()
        for name, text in files.items():
            (tmp_path / folder / name).write_text(text)
    [gate] = make_syntax_gate(sys.executable, ["a.py"])
    words = [*gate.command.split(), *(f"good/{name}" for name in GOOD), *(f"bad/{name}" for name in BAD), "gone.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=within())
    assert done.returncode == 1 and not done.stderr
    assert sorted(line.split(":")[0] for line in done.stdout.splitlines()) == sorted(f"bad/{name}" for name in BAD)
    assert make_syntax_gate(sys.executable, ["a.xyz"]) == []
