"""The tiers of tests, and NO_SKIPS=1, with which CI lets no test be skipped. What a tier leaves out is not skipped."""

import os
from pathlib import Path

import hypothesis
import pytest

from tests.support.tiers import TIERS, group_of, has_no_test_of, is_selected


def pytest_addoption(parser: pytest.Parser) -> None:
    default = "soak" if os.environ.get("SOAK") == "1" else "all"
    parser.addoption("--tier", choices=TIERS, default=default, help="which tests: see CONTRIBUTING.md (default: all)")


def pytest_configure(config: pytest.Config) -> None:
    too_slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile("any load", deadline=None, suppress_health_check=too_slow)
    hypothesis.settings.load_profile("any load")
    config.addinivalue_line("markers", "thorough: not everyday; `make test-all` runs it")
    config.addinivalue_line("markers", "soak: too long for CI; `make soak` runs it")
    config.addinivalue_line("markers", "cold: about processes, so that each run starts a fork server of its own")
    if config.getoption("--tier") == "soak":
        os.environ["SOAK"] = "1"  # before a test module reads it
    elif config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        from tests.support import warm

        warm.start_for_workers()


@pytest.fixture(autouse=True)
def cold_fork_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("cold"):
        from tests.support import warm

        monkeypatch.setattr(warm, "shared", False)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    is_module = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    return True if is_module and has_no_test_of(config.getoption("--tier"), collection_path) else None


@pytest.hookimpl(tryfirst=True)  # before xdist writes the groups into the ids by which it spreads the tests
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    selected = [item for item in items if is_selected(config.getoption("--tier"), item)]
    config.hook.pytest_deselected(items=list(set(items) - set(selected)))
    alone: list[pytest.Item] = []
    grouped: list[pytest.Item] = []
    for item in selected:
        if group := group_of(item):
            item.add_marker(pytest.mark.xdist_group(group))
        (grouped if group else alone).append(item)
    # What is long begins first, so that no worker is left with it at the end.
    items[:] = [*grouped, *alone]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("NO_SKIPS") == "1" and exitstatus == 0 and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
