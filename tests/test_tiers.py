"""The tests' own tools: each test is in one tier of CI, waits allow for the load, and virtual time passes at once."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.load import LONGEST, NEVER, load_factor, wait_until, within
from tests.support.tiers import group_of, has_no_test_of, is_selected, is_thorough
from tests.support.virtual_time import run_in_virtual_time


def test_everyday_and_rest_share_no_test_and_are_all_together(request: pytest.FixtureRequest) -> None:
    for item in request.session.items:
        everyday, rest, both = (is_selected(tier, item) for tier in ("everyday", "rest", "all"))
        assert everyday + rest == both, item.nodeid


@pytest.mark.thorough(but="one")
@pytest.mark.parametrize("case", ["one", "two"])
def test_mark_leaves_the_named_cases_everyday(case: str, request: pytest.FixtureRequest) -> None:
    assert is_thorough(request.node) == (case == "two")


@pytest.mark.parametrize("engine", ["sqlite", "mariadb"])
def test_cases_of_a_database_server_are_one_group(engine: str, request: pytest.FixtureRequest) -> None:
    assert group_of(request.node) == (None if engine == "sqlite" else "mariadb")


@pytest.fixture(scope="module")
def costly() -> None: ...


def test_module_fixture_makes_a_group_that_reaches_xdist(costly: None, request: pytest.FixtureRequest) -> None:
    assert group_of(request.node) == "test_tiers"
    is_worker = hasattr(request.config, "workerinput") and request.config.getvalue("loadgroup")
    assert request.node.nodeid.endswith("@test_tiers") == is_worker


def test_modules_are_left_out_by_their_text(tmp_path: Path) -> None:
    whole, some, none = (tmp_path / f"test_{name}.py" for name in ("whole", "some", "none"))
    whole.write_text("pytestmark = pytest.mark.thorough\n")
    some.write_text("@pytest.mark.thorough\ndef test_x(): ...\n")
    none.write_text("def test_x(): ...\n")
    assert [has_no_test_of("everyday", path) for path in (whole, some, none)] == [True, False, False]
    assert [has_no_test_of("rest", path) for path in (whole, some, none)] == [False, False, True]
    assert not any(has_no_test_of(tier, path) for path in (whole, some, none) for tier in ("all", "soak"))


def test_wait_until_returns_what_it_waited_for_and_says_what_never_came() -> None:
    seen = iter([0, "", "there"])
    assert wait_until(lambda: next(seen)) == "there"
    with pytest.raises(AssertionError, match="a miracle"):
        wait_until(lambda: False, "a miracle", seconds=0.01)


def test_deadlines_grow_with_the_load_and_stay_below_what_never_ends() -> None:
    assert load_factor() >= 1 and within(10.0) >= 10.0 and within(1e9) == LONGEST < NEVER


def test_virtual_time_passes_when_nothing_else_can_happen() -> None:
    async def play(clock: Callable[[], float]) -> list[float]:
        async def wake(seconds: float) -> float:
            await asyncio.sleep(seconds)
            return clock()

        return list(await asyncio.gather(wake(3600.0), wake(0.5), wake(0.0)))

    assert run_in_virtual_time(play) == [3600.0, 0.5, 0.0]
