"""A pytest plugin that writes down which tests there were and what became of each. PYTEST_DONT_REWRITE

Loaded by PYTEST_PLUGINS in every gate. Only the outermost pytest is recorded: one that the tests start themselves must
not add its tests to ours. With GATE_CONTROL only the test of that name is run, with GATE_ONLY those in that file.

Nothing here may fail a test run: what goes wrong leaves no record, and then nothing is known.
"""

import json
import os
from contextlib import suppress

import pytest

NAME, LOADED_BY = "gate_roll", "PYTEST_PLUGINS"
BOOK, CONTROL, ONLY = (os.environ.get("GATE_" + word, "") for word in ("ROLL", "CONTROL", "ONLY"))


class OutcomeRecorder:
    """The outcome of each test by its name."""

    def __init__(self):
        self.tests = {}

    def pytest_runtest_logreport(self, report):
        with suppress(Exception):
            name, outcome, before = report.nodeid, report.outcome, self.tests.get(report.nodeid)
            if hasattr(report, "wasxfail"):
                outcome = "expected"
            if before != "failed" and (outcome != "passed" or report.when == "call"):
                self.tests[name] = outcome

    def pytest_deselected(self, items):
        with suppress(Exception):
            for item in items:
                self.tests.setdefault(item.nodeid, "deselected")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session, exitstatus):
        with suppress(Exception), open(BOOK, "a", encoding="utf-8") as book:
            book.write(json.dumps({"runner": "pytest", "tests": self.tests, "code": int(exitstatus)}) + "\n")


class ItemFilter:
    """Only some tests are run, whatever else would choose among them."""

    @pytest.hookimpl(hookwrapper=True)
    def pytest_collection_modifyitems(self, items):
        found = list(items)
        yield
        items[:] = [item for item in found if is_chosen(item)]


def is_chosen(item):
    if CONTROL:
        return getattr(item, "originalname", item.name) == CONTROL or item.name == CONTROL
    return item.nodeid in chosen()


def chosen():
    with open(ONLY, encoding="utf-8") as file:
        return set(file.read().splitlines())


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    with suppress(Exception):
        if CONTROL or ONLY:
            config.pluginmanager.register(ItemFilter(), "gate_choice")
        else:
            # Neither the workers of xdist nor a pytest that a test starts are to record anything.
            others = [name for name in os.environ.get(LOADED_BY, "").split(",") if name not in ("", NAME)]
            os.environ[LOADED_BY] = ",".join(others)
            os.environ.pop("GATE_ROLL", None)
        if BOOK and not hasattr(config, "workerinput"):
            config.pluginmanager.register(OutcomeRecorder(), "gate_roll_of_this_run")
