"""No file is lost or given twice, for every number of files and agents that the product promises."""

import random
from collections.abc import Callable

import pytest

from orchestra.conduct.planning import divide
from orchestra.model import Prd, TargetFile
from orchestra.plan.partition import partition
from orchestra.plan.sizing import FIXED_TOKENS, Machine, agents_at_once, tasks_needed, tokens_of
from orchestra.plan.targets import Targets
from orchestra.settings import Settings
from tests.support.sample import SOAK

MOST_FILES, MOST_AGENTS = 200, 64
Sizes = Callable[[random.Random], int]
SHAPES: dict[str, Sizes] = {
    "alike": lambda rng: 100,
    "empty": lambda rng: 0,
    "mixed": lambda rng: rng.randint(0, 2_000),
    "one giant": lambda rng: 100_000 if rng.random() < 0.02 else rng.randint(0, 200),
}


def files_of(count: int, size: Sizes) -> list[TargetFile]:
    rng = random.Random(count)
    return [TargetFile(f"{rng.choice('abc')}/file{n}.py", size(rng)) for n in range(count)]


def load(share: list[TargetFile]) -> int:
    return sum(max(file.tokens, 1) for file in share)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_pair_of_files_and_agents(shape: str) -> None:
    """All 12,800 pairs of them; in a quick run with the sizes that are most like life, and some with the others."""
    step = 1 if shape == "mixed" or SOAK else 9
    for count in range(1, MOST_FILES + 1):
        files = files_of(count, SHAPES[shape])
        everything = sorted(file.path for file in files)
        largest = max(max(file.tokens, 1) for file in files)
        for agents in range(1, MOST_AGENTS + 1, step):
            shares = partition(files, agents)
            assert len(shares) == min(count, agents)
            assert all(shares), "nobody is left without a file"
            assert sorted(file.path for share in shares for file in share) == everything
            loads = [load(share) for share in shares]
            assert max(loads) - min(loads) <= largest


def test_files_alike_are_spread_evenly() -> None:
    for count in range(1, MOST_FILES + 1):
        lengths = [len(share) for share in partition(files_of(count, SHAPES["alike"]), 7)]
        assert max(lengths) - min(lengths) <= 1


def test_the_order_of_the_files_does_not_matter() -> None:
    files = files_of(60, SHAPES["mixed"])
    first = partition(files, 7)
    for seed in range(20):
        shuffled = random.Random(seed).sample(files, len(files))
        assert partition(shuffled, 7) == first


def test_shares_read_well() -> None:
    shares = partition(files_of(50, SHAPES["mixed"]), 6)
    for share in shares:
        assert [file.path for file in share] == sorted(file.path for file in share)
    assert [share[0].path for share in shares] == sorted(share[0].path for share in shares)


def test_nothing_to_divide() -> None:
    assert partition([], 3) == []


# --- how many -------------------------------------------------------------------------------------------------------

SMALL, LARGE = Machine(1, 1 << 30), Machine(64, 1 << 40)


@pytest.mark.parametrize(
    ("files", "machine", "exactly", "at_most", "agents"),
    [
        (10, SMALL, 4, 0, 4),
        (3, SMALL, 4, 0, 3),
        (100, SMALL, 64, 0, 64),
        (10, SMALL, 0, 4, 4),
        (2, SMALL, 0, 4, 2),
        (100, SMALL, 0, 0, 8),
        (100, LARGE, 0, 0, 100),
        (100, Machine(64, 350 << 20), 0, 0, 3),
        (100, Machine(1, 0), 0, 0, 1),
    ],
)
def test_agents_at_once(files: int, machine: Machine, exactly: int, at_most: int, agents: int) -> None:
    assert agents_at_once(files, machine, exactly=exactly, at_most=at_most) == agents


def test_work_that_does_not_fit_into_a_context_is_cut_into_waves() -> None:
    usable = 100_000 // 2 - FIXED_TOKENS
    assert tasks_needed(usable, 3, 100_000) == 3
    assert tasks_needed(10 * usable, 3, 100_000) == 10
    assert tasks_needed(10 * usable + 1, 3, 100_000) == 11
    assert tasks_needed(1, 3, 10) == 3
    assert tasks_needed(0, 1, None) == 1


def test_tokens_are_rather_too_many_than_too_few() -> None:
    assert [tokens_of(size) for size in (0, 1, 3, 4, 300)] == [0, 1, 1, 2, 100]


@pytest.mark.parametrize(("count", "agents"), [(1, 1), (8, 6), (5, 64), (200, 64), (63, 64), (64, 63), (200, 1)])
def test_the_plan_gives_each_file_one_owner(count: int, agents: int) -> None:
    files = tuple(files_of(count, SHAPES["mixed"]))
    plan = divide(Settings(change="x", agents=agents), Prd(""), Targets(files), {}, 10_000_000)
    assert plan.agents == len(plan.tasks) == min(count, agents)
    assert sorted(plan.owners) == sorted(file.path for file in files)
    assert sum(len(task.files) for task in plan.tasks) == count
    assert [task.id for task in plan.tasks] == list(range(1, len(plan.tasks) + 1))
