"""No file is lost or given twice, the shares are even, what belongs together stays together, and how many there are."""

import random
from collections.abc import Callable, Sequence

import pytest

from orchestra.division.coupling import Coupling, Evidence
from orchestra.division.partition import (
    Level,
    cut_weight,
    heap_capacity,
    heap_loads,
    pack_greedily,
    partition,
    shake_heaps,
)
from orchestra.division.shares import (
    AgentsWanted,
    DividedFiles,
    attach_markers,
    check_complete,
    divide_as_assigned,
    divide_files,
    drop_oversized,
    explain_task_count,
    is_marker,
    merge_groups,
    parse_assignment,
    together_groups,
)
from orchestra.errors import PlanError
from orchestra.model import Contract, Prd, TargetFile
from orchestra.plan.sizing import (
    FIXED_TOKENS,
    AgentBound,
    Machine,
    bound_agents,
    tasks_needed,
    tokens_of_size,
    usable_tokens,
)
from tests.support.sample import SOAK

Sizes = Callable[[random.Random], int]
SHAPES: dict[str, Sizes] = {
    "alike": lambda dice: 100,
    "empty": lambda dice: 0,
    "mixed": lambda dice: dice.randint(0, 2_000),
    "one giant": lambda dice: 100_000 if dice.random() < 0.02 else dice.randint(0, 200),
    "like life": lambda dice: int(dice.lognormvariate(6, 1.2)),
}
COUNTS = (*range(2, 14), 29, 77, 200, *((1_000, 4_000, 10_000) if SOAK else ()))
PARTS = (2, 3, 5, 8, 16, 64)


def drawn(count: int, shape: str) -> tuple[list[int], list[dict[int, int]]]:
    """Weights and a graph with clusters in it."""
    dice = random.Random(count)
    weights = [SHAPES[shape](dice) for _ in range(count)]
    graph: list[dict[int, int]] = [{} for _ in range(count)]
    for n in range(count):
        for _ in range(4):
            other = (n + dice.randint(1, 9)) % count if dice.random() < 0.8 else dice.randrange(count)
            if other != n:
                graph[n][other] = graph[other][n] = dice.randint(1, 1_000)
    return weights, graph


@pytest.mark.thorough
@pytest.mark.parametrize("shape", SHAPES)
def test_partition_has_every_file_once_and_no_empty_heap(shape: str) -> None:
    for count in COUNTS:
        weights, graph = drawn(count, shape)
        for parts in PARTS if SOAK else (2, 5, 16) if count < 30 else (4,):
            heaps = partition(weights, graph, parts)
            heavy = [max(weight, 1) for weight in weights]
            shares = heap_loads(heavy, heaps, min(parts, count))
            assert len(heaps) == count and sorted(set(heaps)) == list(range(min(parts, count)))
            # Where files are few and large nothing may fit into 1.1 of the mean: then as well as plain packing does.
            fair = max(
                sum(heavy) * 1.1 / len(shares), max(heavy), max(heap_loads(heavy, pack_greedily(heavy, parts), parts))
            )
            assert max(shares) <= fair, (count, parts, shares)


def test_the_bound_is_what_was_promised_wherever_files_are_small() -> None:
    for count in (50, 120):
        weights, graph = drawn(count, "alike")
        for parts in (2, 5):
            shares = heap_loads(weights, partition(weights, graph, parts), parts)
            assert max(shares) <= 1.1 * sum(weights) / parts


def test_clusters_are_found() -> None:
    """Eight groups that hardly know one another, given in a mixed order: nothing but the weak bands is cut."""
    dice = random.Random(8)
    members = list(range(96))
    dice.shuffle(members)
    group = {n: at // 12 for at, n in enumerate(members)}
    graph: list[dict[int, int]] = [{} for _ in members]
    for n in members:
        for other in members:
            if n < other and (group[n] == group[other] or dice.random() < 0.02):
                graph[n][other] = graph[other][n] = 100 if group[n] == group[other] else 1
    for parts in (2, 4, 8):
        heaps = partition([10] * len(members), graph, parts)
        weak = sum(1 for n, bands in enumerate(graph) for other in bands if n < other and group[n] != group[other])
        assert cut_weight(graph, heaps) <= weak


def test_files_are_exchanged_where_no_single_one_may_move() -> None:
    """Two full heaps, each with a ball that belongs to the other: to move one alone would be too heavy."""
    inside = {0: 0, 1: 0, 2: 0, 3: 1, 4: 1, 5: 1}
    graph: list[dict[int, int]] = [{other: 9 for other in inside if other != n and inside[other] == inside[n]}
                                   for n in inside]  # fmt: skip
    level = Level([10] * 6, graph, [])
    heaps = shake_heaps(level, [0, 0, 1, 0, 1, 1], 2, 30, random.Random(1), 50)
    assert heaps[0] == heaps[1] == heaps[2] != heaps[3] == heaps[4] == heaps[5]


def test_shaking_never_makes_it_worse_nor_too_heavy() -> None:
    for count, shape in ((29, "like life"), (77, "mixed"), (200, "one giant")):
        weights, graph = drawn(count, shape)
        weights = [max(weight, 1) for weight in weights]
        for parts in (2, 5, 16):
            cap, before = heap_capacity(weights, parts), pack_greedily(weights, parts)
            after = shake_heaps(Level(weights, graph, []), before, parts, cap, random.Random(1), 100)
            assert cut_weight(graph, after) <= cut_weight(graph, before) and all(
                0 < load <= cap for load in heap_loads(weights, after, parts)
            )


def test_nothing_fits_better_than_it_can() -> None:
    assert heap_capacity([10, 10, 10], 2) == 20
    assert heap_capacity([100, 1, 1, 1], 3) == 100
    assert heap_capacity([10] * 100, 4) == 275


# --- the division of files ------------------------------------------------------------------------------------------


def files_of(*tokens: int) -> list[TargetFile]:
    return [TargetFile(f"f{n:02}.py", size) for n, size in enumerate(tokens)]


def divided(
    files: Sequence[TargetFile],
    groups: Sequence[Sequence[str]] = (),
    *,
    commits: Sequence[tuple[str, ...]] = (),
    exactly: int = 0,
    most: int = 99,
    context: int | None = None,
) -> DividedFiles:
    found = Evidence(commits)
    coupling = Coupling([file.path for file in files], found)
    want = AgentsWanted(exactly, AgentBound(min(most, len(files)), "the number of files"), context)
    return divide_files(files, groups, coupling, want)


def owners(found: DividedFiles) -> dict[str, int]:
    return {file.path: n for n, share in enumerate(found.shares) for file in share}


def test_the_order_of_the_files_does_not_matter() -> None:
    files = [TargetFile(f"{n % 5}/f{n}.py", n * 37 % 900) for n in range(60)]
    first = divided(files, exactly=7)
    for seed in range(5):
        assert divided(random.Random(seed).sample(files, len(files)), exactly=7) == first
    assert [share[0].path for share in first.shares] == sorted(share[0].path for share in first.shares)


def test_files_that_must_stay_together_do() -> None:
    files = files_of(*[100] * 12)
    found = owners(divided(files, [["f00.py", "f11.py"], ["f11.py", "f05.py"]], exactly=4))
    assert found["f00.py"] == found["f11.py"] == found["f05.py"]
    assert len(set(found.values())) == 4


def test_groups_that_share_a_file_are_one() -> None:
    assert merge_groups("abcde", [["a", "c"], ["d", "c"]]) == [["a", "c", "d"], ["b"], ["e"]]


def test_a_group_that_no_agent_can_take_is_refused() -> None:
    limit = usable_tokens(100_000)
    with pytest.raises(PlanError, match=r"^f00\.py, f01\.py must stay together, but are about .* more than the"):
        divided(files_of(limit - 10, 11, 5), [["f00.py", "f01.py"]], context=100_000)


def test_a_file_larger_than_an_agent_works_on_well_is_sent_alone() -> None:
    limit = usable_tokens(100_000)
    found = divided(files_of(limit + 1, 10, 10, 10), most=2, context=100_000)
    assert [len(share) for share in found.shares] == [1, 3]
    assert found.notes == (
        f"f00.py: about {limit + 1:,} tokens, more than the {limit:,} that an agent works on well; it is sent alone.",
    )


def test_a_file_larger_than_the_context_is_refused() -> None:
    with pytest.raises(PlanError, match=r"f00\.py: about 100,001 tokens, more than the whole context of the model"):
        divided(files_of(100_001, 10), context=100_000)


@pytest.mark.parametrize("exactly", [0, 2])
def test_each_share_fits_into_the_context(exactly: int) -> None:
    limit = usable_tokens(100_000)
    files = files_of(*[limit * 6 // 10] * 7)
    found = divided(files, most=2, exactly=exactly, context=100_000)
    assert len(found.shares) == 7 and found.agents == 2
    assert all(sum(file.tokens for file in share) <= limit for share in found.shares)


# --- how many -------------------------------------------------------------------------------------------------------

PAIRS = [(f"f{n:02}.py", f"f{n + 1:02}.py") for n in range(0, 8, 2)]
EVERYTHING = [tuple(f"f{n:02}.py" for n in range(8))] * 20


def test_fewer_agents_where_more_would_cut_most_of_what_changes_together() -> None:
    found = divided(files_of(*[100] * 8), commits=EVERYTHING)
    assert len(found.shares) == 1
    assert found.notes == (
        "8 agents would cut 100% of what usually changes together; 1 is better here. --agents 8 asks for exactly 8.",
    )


def test_as_few_as_needed_and_no_fewer() -> None:
    found = divided(files_of(*[100] * 8), commits=PAIRS * 5)
    assert [[file.path for file in share] for share in found.shares] == [list(pair) for pair in PAIRS]
    assert found.notes[0].startswith("8 agents would cut 100% of what usually changes together; 4 is better here.")


def test_exactly_so_many_are_so_many() -> None:
    found = divided(files_of(*[100] * 8), commits=EVERYTHING, exactly=8)
    assert (len(found.shares), found.agents, found.cut, found.notes) == (8, 8, 1.0, ())


def test_another_number_of_tasks_is_explained() -> None:
    limit = usable_tokens(100_000)
    assert explain_task_count(0, 3, None) == explain_task_count(3, 3, None) == ""
    assert explain_task_count(3, 1, None) == "--agents 3 makes 1 task: there is nothing more to divide."
    many = f"--agents 2 makes 5 tasks, 2 at once: in fewer, one would exceed the {limit:,} tokens that one agent "
    assert explain_task_count(2, 5, 100_000) == many + "works on well with this model."


def test_markers_go_to_the_agent_that_has_the_most_of_their_folder() -> None:
    shares = [("a/x.py", "b/p.py"), ("b/q.py", "b/r.py"), ("b/sub/s.py",)]
    files = tuple(tuple(TargetFile(path, 9) for path in share) for share in shares)
    markers = [TargetFile(path) for path in ("a/__init__.py", "b/__init__.py", "b/sub/py.typed", "empty.txt")]
    found = attach_markers(DividedFiles(files, 3, None, 0), markers)
    assert [[file.path for file in share[len(old) :]] for share, old in zip(found.shares, files, strict=True)] == [
        *(["a/__init__.py", "empty.txt"], ["b/__init__.py"], ["b/sub/py.typed"])
    ]


@pytest.mark.parametrize(
    ("file", "marker"),
    [
        (TargetFile("a/__init__.py"), True),
        (TargetFile("a/__init__.py", 20), True),
        (TargetFile("a/__init__.py", 200), False),
        (TargetFile("a/py.typed", 2), True),
        (TargetFile("a/notes.md"), True),
        (TargetFile("a/notes.md", 2), False),
        (TargetFile("a/__init__.py", required=True), False),
        (TargetFile("a/__init__.py", new=True), False),
    ],
)
def test_what_a_marker_is(file: TargetFile, marker: bool) -> None:
    assert is_marker(file) == marker


def test_little_history_decides_nothing() -> None:
    found = divided(files_of(*[100] * 8), commits=EVERYTHING[:9])
    assert (len(found.shares), found.cut, found.commits) == (8, None, 9)


SMALL, LARGE = Machine(1, 1 << 30), Machine(64, 1 << 40)


@pytest.mark.parametrize(
    ("sizes", "machine", "at_most", "agents"),
    [
        ([100] * 10, SMALL, 4, 4),
        ([100] * 2, SMALL, 4, 2),
        ([100] * 100, SMALL, 0, 8),
        ([100] * 100, LARGE, 0, 8),
        ([8_000] * 100, LARGE, 0, 97),
        ([8_000] * 100, Machine(64, 350 << 20), 0, 3),
        ([100] * 100, Machine(1, 0), 0, 1),
        ([50_000, 100, 100, 100], LARGE, 0, 2),
        ([0, 0, 0], LARGE, 0, 3),
    ],
)
def test_the_most_agents_that_are_of_use(sizes: list[int], machine: Machine, at_most: int, agents: int) -> None:
    found = bound_agents(sizes, machine, at_most=at_most).agents
    assert found == agents or (agents == 97 and 90 <= found <= 100)


def test_work_that_does_not_fit_into_a_context_is_cut_into_waves() -> None:
    usable = 100_000 // 2 - FIXED_TOKENS
    assert tasks_needed(usable, 100_000) == 2
    assert tasks_needed(usable * 10 // 11, 100_000) == 1
    assert tasks_needed(10 * usable, 100_000) == 11
    assert tasks_needed(0, None) == 1


def test_tokens_are_rather_too_many_than_too_few() -> None:
    assert [tokens_of_size(size) for size in (0, 1, 3, 4, 300)] == [0, 1, 1, 2, 100]


# --- what the user says ---------------------------------------------------------------------------------------------

PATHS = ["a.py", "b.py", "src/c.py", "src/d.py", "src/D.py"]


def test_groups_by_globs_contracts_and_case() -> None:
    prd = Prd("", contracts=(Contract("x", "", together=("a.py", "src/c.py", "gone.py")),))
    found, notes = together_groups(["*.py", "src"], prd, PATHS)
    assert found[:2] == [["a.py", "b.py"], ["src/c.py", "src/d.py", "src/D.py"]]
    assert found[2:] == [["a.py", "src/c.py"], ["src/D.py", "src/d.py"]]
    assert notes == ["src/D.py and src/d.py differ only in case: one agent gets them."]


def test_a_pattern_that_keeps_nothing_together() -> None:
    with pytest.raises(PlanError, match=r"^--together \*\.rs: none of the 5 files to change matches\.$"):
        together_groups(["*.rs"], Prd(""), PATHS)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", r"this is not JSON"),
        ("[]", r"it must hold a list of files for each agent"),
        ('{"agent1": []}', r"it must hold a list of files for each agent"),
        ('{"agent1": "a.py"}', r"it must hold a list of files for each agent"),
        ('[["a.py"], ["b.py", "a.py"]]', r"a\.py is there twice; a file has one owner\."),
        ('[["a.py", "b.py", "src/c.py"]]', r"no agent gets src/d\.py, src/D\.py, which the change is about\."),
        ('[["a.py", "b.py", "src/c.py", "src/d.py", "src/D.py", "z"]]', r"z is not among the files to change\."),
    ],
)
def test_assignments_that_are_wrong(text: str, sentence: str) -> None:
    with pytest.raises(PlanError, match=rf"^--assign who\.json: .*{sentence}"):
        check_complete("who.json", parse_assignment("who.json", text), PATHS)


def test_an_assignment_is_kept_as_it_is() -> None:
    shares = parse_assignment("w", '{"agent1": ["f01.py"], "agent2": ["f02.py", "f00.py"]}')
    found = divide_as_assigned(files_of(1, 2, 3), shares, Evidence(), 0, None)
    assert [[file.path for file in share] for share in found.shares] == [["f01.py"], ["f00.py", "f02.py"]]
    assert found.agents == 2


def test_a_folder_may_hold_a_file_that_no_prompt_can() -> None:
    """Only named by a folder it is left out and told; named itself it is refused."""
    files = [TargetFile("log.md", 200_000), TargetFile("a.py", 10)]
    kept, notes = drop_oversized(files, 128_000)
    assert kept == files[1:]
    assert notes == [
        "log.md is left out: it is about 200,000 tokens, more than the whole context of the model (128,000)."
    ]
    assert drop_oversized(files, None) == (files, [])
    named = [TargetFile("log.md", 200_000, required=True)]
    assert drop_oversized(named, 128_000) == (named, [])
