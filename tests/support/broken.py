"""Fresh clones whose test set-up is broken, each in another way: what lies in them, and what must be said of it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.load import LONGEST

PY = sys.executable
APP = {"app.py": "def price():\n    return 1\n"}
TESTS = {
    f"tests/test_{name}.py": f"import app\n\ndef test_{name}():\n    assert app.price() == 1\n" for name in ("a", "b")
}
PYTEST = APP | TESTS | {"conftest.py": ""}
CONNECT = "    socket.create_connection(('127.0.0.1', 1), timeout=5)\n"
CHANGE = ("app.py", "def price():\n    return 1\n\n\ndef tax():\n    return 2\n")


@dataclass(frozen=True)
class Broken:
    """`files` of the clone. `why` must be said of the unchecked result; empty if nothing is to be said. `command` is
    given with --test-cmd; otherwise the gate is found. `hidden` are tools that are not installed."""

    files: Mapping[str, str]
    why: str
    command: str = ""
    hidden: tuple[str, ...] = ()
    timeout: float = LONGEST
    verified: bool = False
    old: int = 0  # how many tests failed before
    needs: str = ""  # the program without which it cannot be played
    soak: bool = False  # much like another one


def ini(*lines: str) -> dict[str, str]:
    return {"pytest.ini": "\n".join(("[pytest]", *lines, ""))}


def script(text: str, **more: str) -> dict[str, str]:
    entries = ", ".join([f'"scripts": {{"test": "{text}"}}', *(f'"{key}": {value}' for key, value in more.items())])
    return {"package.json": f"{{{entries}}}\n"}


def tests_that(text: str) -> dict[str, str]:
    return dict.fromkeys(TESTS, text)


NOISY = """
import os, random, sys, tempfile, time, uuid
print("Random seed:", random.randrange(10**9))
print("run", uuid.uuid4(), "began", time.time_ns())
print("error: no licence for", tempfile.mkdtemp(prefix="job"), "worker", os.getpid(), "port", random.randrange(9999))
print("cannot open cache /home/ci/.cache/%s/x.db" % "".join(random.choices("ghijkl", k=9)))
sys.exit(1)
"""

SET_UPS: dict[str, Broken] = {
    # pytest, found in the repository
    "conftest imports what is not installed": Broken(
        PYTEST | {"conftest.py": "import pytest_httpbin\n"}, "pytest could not start: No module named 'pytest_httpbin'"
    ),
    "a compiled part of the package is not built": Broken(
        PYTEST
        | {"fast/__init__.py": "from .core import run\n", "fast/core.py": "from fast import _fast\n\nrun = _fast.run\n"}
        | tests_that("import fast\n\ndef test_x():\n    pass\n"),
        "pytest could run no test: cannot import name '_fast' from partially initialized module 'fast'",
    ),
    "conftest raises": Broken(
        PYTEST | {"conftest.py": "raise RuntimeError('no database')\n"},
        "pytest could not start: RuntimeError: no database",
    ),
    "conftest exits": Broken(
        PYTEST | {"conftest.py": "import sys\nsys.exit(3)\n"}, "pytest failed and named no test: exit code 3"
    ),
    "conftest ends the process as if all were well": Broken(
        PYTEST | {"conftest.py": "import os\nos._exit(0)\n"}, "pytest ran no test"
    ),
    "conftest fails when the session begins": Broken(
        PYTEST | {"conftest.py": "def pytest_sessionstart(session):\n    raise OSError('no server')\n"},
        "OSError: no server",
        soak=True,
    ),
    "an option of a plugin that is not installed": Broken(
        PYTEST | ini("addopts = --cov=app --nope=3"),
        "pytest could not start: unrecognized arguments: --cov=app --nope=3",
    ),
    "a plugin that is required": Broken(
        PYTEST | ini("required_plugins = pytest-nope>=3"),
        "pytest could not start: Missing required plugins: pytest-nope",
    ),
    "a plugin that is named": Broken(
        PYTEST | ini("addopts = -p nope_plugin"),
        "pytest could not start: No module named 'nope_plugin'",
        soak=True,
    ),
    "a newer pytest is required": Broken(
        PYTEST | ini("minversion = 99.0"),
        "pytest could not start: 'minversion' requires pytest-99.0",
        soak=True,
    ),
    "a broken pytest.ini": Broken(
        PYTEST | {"pytest.ini": "addopts = -q\n[pytest\n"}, "pytest could not start: pytest.ini:1: "
    ),
    "a broken pyproject.toml": Broken(
        PYTEST | {"pyproject.toml": "[tool.pytest.ini_options\nx = 1\n"},
        "pytest could not start: pyproject.toml: ",
        soak=True,
    ),
    "no test": Broken(APP | ini(), "pytest ran no test"),
    "all tests are skipped": Broken(
        PYTEST | tests_that("import pytest\n\n@pytest.mark.skip\ndef test_x():\n    pass\n"),
        "pytest ran no test",
        soak=True,
    ),
    "a dependency of all tests is missing": Broken(
        PYTEST | tests_that("import requests_mock\n\ndef test_x():\n    pass\n"),
        "pytest could run no test: No module named 'requests_mock'",
    ),
    "a dependency of one test file is missing": Broken(
        PYTEST | {"tests/test_c.py": "import requests_mock\n\ndef test_x():\n    pass\n"}, "", verified=True, old=1
    ),
    "tests of another Python's syntax": Broken(
        PYTEST | tests_that("print 'hello'\n"), "pytest could run no test: SyntaxError: Missing parentheses"
    ),
    "tests of another Python's library": Broken(
        PYTEST | tests_that("from collections import Mapping\n\ndef test_x():\n    pass\n"),
        "pytest could run no test: cannot import name 'Mapping' from 'collections'",
    ),
    "a fixture of a plugin that is not installed": Broken(
        PYTEST | tests_that("def test_x(mocker):\n    pass\n"),
        "pytest could run no test: fixture 'mocker' not found",
        soak=True,
    ),
    "a service that all fixtures need": Broken(
        PYTEST | {"conftest.py": f"import pytest, socket\n\n@pytest.fixture(autouse=True)\ndef db():\n{CONNECT}"},
        "pytest could run no test: ConnectionRefusedError: [Errno 111] Connection refused",
    ),
    "a service that all tests need": Broken(
        PYTEST | tests_that(f"import socket\n\ndef test_x():\n{CONNECT}"), "none of the 2 tests passes"
    ),
    "a service that one test needs": Broken(
        PYTEST | {"tests/test_c.py": f"import socket\n\ndef test_x():\n{CONNECT}"},
        "",
        verified=True,
        old=1,
        soak=True,
    ),
    "tests that hang": Broken(
        PYTEST | tests_that("import time\n\ndef test_x():\n    time.sleep(3600)\n"),
        "pytest did not end in time",
        timeout=3.0,
    ),
    "tests that are killed": Broken(
        PYTEST | tests_that("import os, signal\n\ndef test_x():\n    os.kill(os.getpid(), signal.SIGSEGV)\n"),
        "pytest was killed by signal 11",
    ),
    "pytest is not installed": Broken(PYTEST, "pytest is not installed here", hidden=("pytest",)),
    # others, found in the repository
    "a dependency of all unittests is missing": Broken(
        APP | {"test_a.py": "import unittest\nimport nope_dep\n"},
        "unittest could run no test: No module named 'nope_dep'",
    ),
    "npm's script names a tool that is not installed": Broken(
        APP | script("nope-jest --ci"), "npm test could not start: nope-jest: not found", needs="npm"
    ),
    "npm's script needs a module that is not installed": Broken(
        APP | script("node run.js") | {"run.js": "require('nope-chai');\n"},
        "npm test could not start: Cannot find module 'nope-chai'",
        needs="npm",
    ),
    "tests of node need a module that is not installed": Broken(
        APP | script("node --test") | {"a.test.js": "require('nope-chai');\n"},
        "npm test could run no test: Cannot find module 'nope-chai'",
        needs="npm",
        soak=True,
    ),
    "node_modules is missing": Broken(
        APP | script("jest", devDependencies='{"jest": "30"}'),
        "the packages of package.json are not installed here",
        needs="npm",
    ),
    "npm has no test": Broken(APP | script('echo \\"Error: no test specified\\" && exit 1'), "", needs="npm"),
    "make's target needs a tool that is not installed": Broken(
        APP | {"Makefile": "test:\n\tnope-tox -e py\n"},
        "make test could not start: nope-tox: No such file or directory",
    ),
    "make's target needs what nothing makes": Broken(
        APP | {"Makefile": "test: build/x\n\ttrue\n"},
        "make test could not start: No rule to make target 'build/x'",
        soak=True,
    ),
    "make's target fails at once": Broken(
        APP | {"Makefile": "test:\n\t@exit 3\n"}, "make test failed and named no test: Makefile:2: test: Error 3"
    ),
    "make cannot read its file": Broken(
        APP | {"Makefile": "test:\n    true\n"},
        "make test could not start: missing separator",
        soak=True,
    ),
    "go is not installed": Broken(
        APP | {"go.mod": "module a\n", "a_test.go": "package a\n"}, "go is not installed here", hidden=("go",)
    ),
    "cargo is not installed": Broken(
        APP | {"Cargo.toml": ""}, "cargo is not installed here", hidden=("cargo",), soak=True
    ),
    # named by the user
    "a command that is not installed": Broken(
        APP, "the command could not start: nope-tox: not found", "nope-tox -e py"
    ),
    "a module that is not installed": Broken(
        APP, "the command could not start: No module named 'nope_nox'", f"{PY} -m nope_nox"
    ),
    "a script that is not there": Broken(
        APP, "the command could not start: ./run-tests: not found", "./run-tests", soak=True
    ),
    "npm's default, named": Broken(
        APP | script('echo \\"Error: no test specified\\" && exit 1'),
        "the command failed and named no test: Error: no test specified",
        "npm test",
        needs="npm",
        soak=True,
    ),
    "pytest, named, with a conftest that imports what is not installed": Broken(
        PYTEST | {"conftest.py": "import pytest_httpbin\n"},
        "the command could not start: No module named 'pytest_httpbin'",
        f"{PY} -m pytest -q -p no:cacheprovider",
    ),
    "pytest, named, with a conftest that exits": Broken(
        PYTEST | {"conftest.py": "import sys\nsys.exit(3)\n"},
        "the command failed and named no test: exit code 3, and it printed nothing",
        f"{PY} -m pytest -q -p no:cacheprovider",
    ),
    "words that say nothing": Broken(APP, "the command failed and named no test: hello", "echo hello; exit 3"),
    "other paths, times and seeds in each run": Broken(
        APP | {"noisy.py": NOISY}, "the command failed and named no test: ", f"{PY} noisy.py"
    ),
    "a command that is killed": Broken(APP, "the command was killed by signal 9", "kill -9 $$"),
    "a command that hangs": Broken(APP, "the command did not end in time", "sleep 3600", timeout=2.0, soak=True),
}


def lay(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
