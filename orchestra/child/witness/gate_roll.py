"""A pytest plugin that records the outcome of each test. PYTEST_DONT_REWRITE
Loaded by PYTEST_PLUGINS in every gate. Only the outermost pytest is recorded: one that tests start must not add its
tests to ours. With GATE_CONTROL only the test of that name runs, with GATE_ONLY those in that file.
Nothing here may fail a test run: an error leaves no record, and then nothing is known.
"""

import json
import os
from contextlib import suppress

import pytest

NAME, LOADED_BY = "gate_roll", "PYTEST_PLUGINS"
BOOK, CONTROL, ONLY = (os.environ.get("GATE_" + word, "") for word in ("ROLL", "CONTROL", "ONLY"))


class OutcomeRecorder:
    """The outcome of each test by name."""

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
    """Run only some tests, whatever else would select tests."""

    @pytest.hookimpl(hookwrapper=True)
    def pytest_collection_modifyitems(self, items):
        found = list(items)
        yield
        if CONTROL:
            items[:] = [item for item in found if CONTROL in (item.name, getattr(item, "originalname", ""))]
            return
        with open(ONLY, encoding="utf-8") as file:
            chosen = set(file.read().splitlines())
        items[:] = [item for item in found if item.nodeid in chosen]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    with suppress(Exception):
        if CONTROL or ONLY:
            config.pluginmanager.register(ItemFilter(), "gate_choice")
        else:
            # Neither xdist's workers nor a pytest that a test starts may record.
            others = [name for name in os.environ.get(LOADED_BY, "").split(",") if name not in ("", NAME)]
            os.environ[LOADED_BY] = ",".join(others)
            os.environ.pop("GATE_ROLL", None)
        if BOOK and not hasattr(config, "workerinput"):
            config.pluginmanager.register(OutcomeRecorder(), "gate_roll_of_this_run")
