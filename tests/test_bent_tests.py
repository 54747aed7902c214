"""Ways to make a failing change look tested, and honest changes to tests: real runners on real trees."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.bending import Bench, Said, said_of
from tests.support.bent import (
    ATTACKS,
    BASE,
    HONEST,
    IN_PROCESS,
    INSTALLED,
    NEEDS,
    PYTEST,
    RIGHT_OF,
    RUNNER_BASES,
    Attack,
    attack,
    bends,
    product_of,
)


def judged(tmp_path: Path, one: Attack) -> Said:
    return said_of(Bench(tmp_path), one.base, one.change, one.gate)


@pytest.mark.thorough(but=("the failing test is edited", "conftest makes all pass"))
@pytest.mark.parametrize("name", ATTACKS)
def test_a_failing_change_is_not_verified_by_the_tests(name: str, tmp_path: Path) -> None:
    found = judged(tmp_path, ATTACKS[name])
    assert not found.verified, found.printed


def test_the_change_of_all_attacks_fails(tmp_path: Path) -> None:
    assert judged(tmp_path, attack({})).why


def runner_of(name: str) -> str:
    return name.partition(":")[0] if name.partition(":")[0] in RUNNER_BASES else "pytest"


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.soak) if runner_of(name) in INSTALLED else name for name in HONEST],
)
def test_an_honest_change_to_tests_is_accepted_with_the_right_words(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    one = HONEST[name]
    found = said_of(
        bench_of(runner_of(name), tmp_path, request), one.base or BASE, one.change, one.gate, one.words, one.owned
    )
    assert found.judged is not None, found.why + found.printed
    assert (found.judged.changed, found.judged.wrote, found.judged.bent) == (one.changed, one.wrote, "")
    assert found.verified is not (bool(one.changed) or one.wrote), found.judged


# --- each runner ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """Jest, Vitest and Mocha from the registry, kept for the next time; those who have no network do without."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aider-orchestrator-tests" / "runners"
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "jest@30", "vitest@3", "mocha@11"]
        if shutil.which("npm") is None or subprocess.run(command, cwd=folder, timeout=400).returncode:
            pytest.skip("jest, vitest and mocha cannot be installed here")
        (folder / "done").write_text("")
    return folder / "node_modules"


def bench_of(runner: str, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    if runner in NEEDS and shutil.which(NEEDS[runner]) is None:
        pytest.skip(f"there is no {NEEDS[runner]} here")
    installed = request.getfixturevalue("node_modules") if runner in INSTALLED else None
    return Bench(tmp_path, installed=installed)


def slow(runner: str) -> object:
    return pytest.param(runner, marks=pytest.mark.soak) if runner in INSTALLED else runner


@pytest.mark.thorough(but="pytest")
@pytest.mark.parametrize("runner", [slow(runner) for runner in RUNNER_BASES])
def test_an_untouched_runner_verifies_and_reports_our_control_test(
    runner: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    base, gate = RUNNER_BASES[runner]
    bench, product = bench_of(runner, tmp_path, request), product_of(base)
    found = said_of(bench, base, {product: RIGHT_OF[product]}, gate, owned=(product,))
    assert found.judged is not None, found.why + found.printed
    assert found.verified and not found.judged.remarks, found.judged
    assert found.judged.runner == {"make": "pytest"}.get(runner, runner)
    assert bench.ran[-1] == "control" and found.outcome.reading.counts.passed == 2


BENDS = [(runner, name) for runner in RUNNER_BASES for name in bends(runner)]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("runner", "name"),
    [pytest.param(*pair, marks=pytest.mark.soak) if pair[0] in INSTALLED else pair for pair in BENDS],
)
def test_a_bent_runner_verifies_nothing(runner: str, name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    base, gate = RUNNER_BASES[runner]
    found = said_of(bench_of(runner, tmp_path, request), base, bends(runner)[name], gate)
    print(
        "@@",
        runner,
        name,
        "|",
        found.why,
        "|",
        found.judged and (found.judged.changed, found.judged.lost, found.judged.bent),
    )
    assert not found.verified, found.printed


# --- product code in the tests' own process -------------------------------------------------------------------------

# These are no way through what runs the tests: the product itself answers a test falsely.
GETS_THROUGH = {"equals everything", "knows that it is tested", "patches its own test's code"}


@pytest.mark.thorough
@pytest.mark.parametrize("name", IN_PROCESS)
def test_what_product_code_can_do_to_tests_in_its_own_process(name: str, tmp_path: Path) -> None:
    found = said_of(Bench(tmp_path), BASE, {"app.py": IN_PROCESS[name]}, PYTEST, owned=("app.py",))
    assert found.verified is (name in GETS_THROUGH), (found.why, found.judged, found.printed)
