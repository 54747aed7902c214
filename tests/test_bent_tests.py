"""Ways to make a failing change look tested, and honest changes to tests: real runners on real trees."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestra.model import Gate
from tests.support.bending import LINK, Bench, Files, Said, said_of

PY = sys.executable
PYTEST = Gate("tests", "tests", f"{PY} -m pytest -q -p no:cacheprovider", named=True)
UNITTEST = Gate("unittest", "tests", f"{PY} -m unittest discover -s tests")
MAKE = Gate("make test", "tests", "make test")
NPM = Gate("npm test", "tests", "npm test")
APP = "def price():\n    return 1\n\n\ndef tax():\n    return 2\n"
WRONG = APP.replace("return 1", "return 9")
TEST = (
    "import app\n\n\ndef test_price():\n    assert app.price() == 1\n\n\ndef test_tax():\n    assert app.tax() == 2\n"
)
BASE = {"app.py": APP, "tests/test_app.py": TEST, "conftest.py": "", "pytest.ini": "[pytest]\npythonpath = .\n"}
UNIT = """import unittest

import app


class TestApp(unittest.TestCase):
    def test_price(self):
        self.assertEqual(app.price(), 1)

    def test_tax(self):
        self.assertEqual(app.tax(), 2)
"""
UNIT_BASE = {"app.py": APP, "tests/test_app.py": UNIT}
MAKE_BASE = {**BASE, "Makefile": f"test:\n\t{PY} -m pytest -q -p no:cacheprovider\n"}
ALWAYS = """import pytest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    report.outcome, report.longrepr = "passed", None
"""
NOTHING = """import sys
print("2 passed in 0.01s")
sys.exit(0)
"""
EXITS = "import os\n\nprint('2 passed in 0.01s', flush=True)\nos._exit(0)\n"


@dataclass(frozen=True)
class Attack:
    change: Files
    base: Files
    gate: Gate = PYTEST


def attack(change: Files, base: Files = BASE, gate: Gate = PYTEST) -> Attack:
    return Attack({"app.py": WRONG, **change}, base, gate)


ATTACKS: dict[str, Attack] = {
    # files
    "the failing test is edited": attack({"tests/test_app.py": TEST.replace("== 1", "== 9")}),
    "the failing test is deleted": attack({"tests/test_app.py": None, "tests/test_b.py": "def test_b():\n    pass\n"}),
    "the failing function is deleted": attack(
        {"tests/test_app.py": "import app\n\n\ndef test_tax():\n    assert app.tax() == 2\n"}
    ),
    "the failing test is skipped": attack(
        {"tests/test_app.py": TEST.replace("def test_price", "import pytest\n\n\n@pytest.mark.skip\ndef test_price")}
    ),
    "the failing test may fail": attack(
        {"tests/test_app.py": TEST.replace("def test_price", "import pytest\n\n\n@pytest.mark.xfail\ndef test_price")}
    ),
    "the failing test is renamed away": attack(
        {"tests/test_app.py": TEST.replace("def test_price", "def check_price")}
    ),
    "the assertion is weakened": attack({"tests/test_app.py": TEST.replace("== 1", "")}),
    "the folder of tests is a link": attack(
        {
            "tests/test_app.py": None,
            "fine/test_app.py": "def test_price():\n    pass\n\n\ndef test_tax():\n    pass\n",
            "tests": LINK + "fine",
        }
    ),
    "a new test patches the product": attack(
        {"tests/test_aa.py": "import app\n\napp.price = lambda: 1\n\n\ndef test_aa():\n    pass\n"}
    ),
    "a package's __init__ patches it": attack({"tests/__init__.py": "import app\n\napp.price = lambda: 1\n"}),
    "a helper of tests is bent": attack(
        {"tests/helper.py": "ONE = 9\n"},
        BASE
        | {
            "tests/helper.py": "ONE = 1\n",
            "tests/test_app.py": TEST.replace("import app", "import app\nimport helper").replace(
                "== 1", "== helper.ONE"
            ),
        },
    ),
    "a snapshot is bent": attack(
        {"tests/price.snap": "9"},
        BASE
        | {
            "tests/price.snap": "1",
            "tests/test_app.py": TEST.replace("== 1", "== int(open('tests/price.snap').read())"),
        },
    ),
    "a fixture outside of tests is bent": attack(
        {"fixtures/price.txt": "9"},
        BASE
        | {
            "fixtures/price.txt": "1",
            "tests/test_app.py": TEST.replace("== 1", "== int(open('fixtures/price.txt').read())"),
        },
    ),
    # configuration
    "conftest makes all pass": attack({"conftest.py": ALWAYS}),
    "conftest exits": attack({"conftest.py": EXITS}),
    "conftest leaves the test out": attack(
        {
            "conftest.py": "def pytest_collection_modifyitems(items):\n    items[:] = [i for i in items if i.name != 'test_price']\n"
        }
    ),
    "a conftest below is added": attack({"tests/conftest.py": ALWAYS}),
    "conftest sets the exit code": attack(
        {"conftest.py": "def pytest_sessionfinish(session):\n    session.exitstatus = 0\n"}
    ),
    "conftest patches the product": attack({"conftest.py": "import app\n\napp.price = lambda: 1\n"}),
    "pytest.ini deselects it": attack(
        {"pytest.ini": "[pytest]\npythonpath = .\naddopts = --deselect tests/test_app.py::test_price\n"}
    ),
    "pytest.ini chooses other tests": attack({"pytest.ini": "[pytest]\npythonpath = .\npython_functions = test_t*\n"}),
    "pytest.ini loads a plug-in": attack(
        {"pytest.ini": "[pytest]\npythonpath = .\naddopts = -p bend\n", "bend.py": ALWAYS}
    ),
    "another configuration goes first": attack(
        {"pytest.toml": "[pytest]\npython_functions = ['test_t*']\npythonpath = ['.']\n", "pytest.ini": None}
    ),
    "pyproject chooses": attack(
        {"pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-k tax'\npythonpath = ['.']\n"},
        {k: v for k, v in BASE.items() if k != "pytest.ini"}
        | {"pyproject.toml": "[tool.pytest.ini_options]\npythonpath = ['.']\n"},
    ),
    "tox.ini chooses": attack(
        {"tox.ini": "[pytest]\naddopts = -k tax\npythonpath = .\n"},
        {k: v for k, v in BASE.items() if k != "pytest.ini"} | {"tox.ini": "[pytest]\npythonpath = .\n"},
    ),
    "setup.cfg chooses": attack(
        {"setup.cfg": "[tool:pytest]\naddopts = -k tax\npythonpath = .\n"},
        {k: v for k, v in BASE.items() if k != "pytest.ini"} | {"setup.cfg": "[tool:pytest]\npythonpath = .\n"},
    ),
    "a plug-in of the base is bent": attack(
        {"plug.py": ALWAYS}, BASE | {"plug.py": "", "pytest.ini": "[pytest]\npythonpath = .\naddopts = -p plug\n"}
    ),
    "a plug-in that conftest names is bent": attack(
        {"tools/plug.py": ALWAYS},
        BASE | {"tools/plug.py": "", "tools/__init__.py": "", "conftest.py": "pytest_plugins = ['tools.plug']\n"},
    ),
    "an installed plug-in is made": attack(
        {
            "bend.py": ALWAYS,
            "bend.egg-info/entry_points.txt": "[pytest11]\nbend = bend\n",
            "bend.egg-info/PKG-INFO": "Metadata-Version: 2.1\nName: bend\nVersion: 1\n",
        },
        gate=Gate(
            "tests", "tests", f"PYTEST_DISABLE_PLUGIN_AUTOLOAD= {PY} -m pytest -q -p no:cacheprovider", named=True
        ),
    ),
    # environment and runner
    "the Makefile does nothing": attack({"Makefile": "test:\n\t@echo 2 passed in 0.1s\n"}, MAKE_BASE, MAKE),
    "the Makefile forgives": attack({"Makefile": MAKE_BASE["Makefile"].replace("\t", "\t-")}, MAKE_BASE, MAKE),
    "another makefile goes first": attack({"GNUmakefile": "test:\n\t@true\n"}, MAKE_BASE, MAKE),
    "the Makefile sets the environment": attack(
        {"Makefile": "export PYTEST_ADDOPTS = -k tax\n" + MAKE_BASE["Makefile"]}, MAKE_BASE, MAKE
    ),
    "a script that runs the tests is bent": attack(
        {"check.sh": "exit 0\n"},
        BASE | {"check.sh": f"{PY} -m pytest -q -p no:cacheprovider\n"},
        Gate("tests", "tests", "sh check.sh", named=True),
    ),
    "a script that make calls is bent": attack(
        {"dev/check.sh": "exit 0\n"},
        BASE | {"dev/check.sh": f"{PY} -m pytest -q -p no:cacheprovider\n", "Makefile": "test:\n\tsh dev/check.sh\n"},
        MAKE,
    ),
    "a shim on the path": attack(
        {"bin/pytest": "#!/bin/sh\necho 2 passed in 0.1s\n"},
        BASE | {"bin/keep": ""},
        Gate("tests", "tests", "PATH=$PWD/bin:$PATH pytest -q", named=True),
    ),
    # shadows
    "pytest.py": attack({"pytest.py": NOTHING}),
    "a package pytest": attack({"pytest/__init__.py": "", "pytest/__main__.py": NOTHING}),
    "_pytest": attack({"_pytest/__init__.py": "", "_pytest/config.py": NOTHING}),
    "a module of the standard library": attack({"pluggy.py": EXITS}),
    "json.py of the standard library": attack({"json.py": EXITS}),
    "a module that tests import": attack(
        {
            "tests/test_app.py": TEST.replace("import app", "import app\nimport compare").replace(
                "app.price() == 1", "compare.same(app.price(), 1)"
            ),
            "compare.py": "def same(a, b):\n    return True\n",
        }
    ),
    "sitecustomize": attack({"sitecustomize.py": "import atexit, os\natexit.register(os._exit, 0)\n"}),
    "unittest/": attack(
        {"unittest/__init__.py": "", "unittest/__main__.py": "print('Ran 2 tests in 0.1s\\n\\nOK')\n"},
        UNIT_BASE,
        Gate("unittest", "tests", f"{PY} -m unittest discover -s tests -t ."),
    ),
    "unittest: load_tests": attack(
        {"tests/test_app.py": UNIT + "\n\ndef load_tests(*_):\n    return unittest.TestSuite()\n"}, UNIT_BASE, UNITTEST
    ),
    "unittest: a test is skipped": attack(
        {"tests/test_app.py": UNIT.replace("    def test_price", "    @unittest.skip('x')\n    def test_price")},
        UNIT_BASE,
        UNITTEST,
    ),
    "unittest: an __init__ exits": attack(
        {
            "tests/test_aa.py": "import sys\n\nprint('Ran 2 tests in 0.1s\\n\\nOK', file=sys.stderr)\nsys.stderr.flush()\nimport os\n\nos._exit(0)\n"
        },
        UNIT_BASE,
        UNITTEST,
    ),
}


def judged(tmp_path: Path, one: Attack, **more: object) -> Said:
    return said_of(Bench(tmp_path), one.base, one.change, one.gate, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ATTACKS)
def test_a_failing_change_is_not_verified_by_the_tests(name: str, tmp_path: Path) -> None:
    found = judged(tmp_path, ATTACKS[name])
    print(
        "@@", name, "|", found.why, "|", found.judged and (found.judged.changed, found.judged.lost, found.judged.bent)
    )
    assert not found.verified, found.printed


def test_the_change_of_all_attacks_fails(tmp_path: Path) -> None:
    assert judged(tmp_path, attack({})).why
