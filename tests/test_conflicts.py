"""Conflicting edits of one file: nothing of either side is ever lost, and what can be merged safely is."""

import ast
import asyncio
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestra.merging.trust import Trust
from orchestra.workspace.merge import combine_commit
from orchestra.workspace.reconcile import ProposedMerge
from orchestra.workspace.repository import open_repository
from orchestra.workspace.trees import Trees
from tests.support.conflicts import Pair, draw
from tests.support.sample import SOAK
from tests.test_merge import User, user

__all__ = ["user"]

COUNT = 200 if SOAK else 30


def imported(user: User, pairs: list[Pair]) -> list[tuple[str, str, str]]:
    """Base, ours and theirs of each pair as commits; made by one git, for there are many."""
    stream: list[bytes] = []

    def commit(mark: int, above: int, files: dict[str, str]) -> None:
        stream.append(f"commit refs/made/{mark}\nmark :{mark}\ncommitter A <a> {mark} +0000\ndata 0\n".encode())
        stream.extend([f"from :{above}\n".encode()] if above else [])
        for name, text in files.items():
            stream.append(f"M 644 inline {name}\ndata {len(text.encode())}\n".encode() + text.encode() + b"\n")

    for n, pair in enumerate(pairs):
        commit(3 * n + 1, 0, {pair.path: pair.base, "other.txt": "other\n"})
        commit(3 * n + 2, 3 * n + 1, {pair.path: pair.ours})
        commit(3 * n + 3, 3 * n + 1, {pair.path: pair.theirs, "other.txt": "changed\n"})
    subprocess.run(["git", "fast-import", "--quiet"], cwd=user.root, input=b"".join(stream), check=True)
    made = dict(
        line.split()[::-1]
        for line in user.git("for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/made").splitlines()
    )
    return [(made[f"{3 * n + 1}"], made[f"{3 * n + 2}"], made[f"{3 * n + 3}"]) for n in range(len(pairs))]


def assert_nothing_lost(pair: Pair, text: str) -> None:
    lines = text.splitlines(keepends=True)
    for side in pair.marks:
        assert set(side) <= set(lines), "a side's own line is lost"
    for line, count in (Counter(pair.base.splitlines(keepends=True)) - Counter(pair.gone)).items():
        assert lines.count(line) >= count, "a line that nobody touched is lost"
    ours, theirs = (Counter(side.splitlines(keepends=True)) for side in (pair.ours, pair.theirs))
    assert not Counter(lines) - (ours + theirs), "a line that nobody wrote"
    if pair.path.endswith(".py"):
        ast.parse(text)


def choose_sure(proposals: Sequence[ProposedMerge]) -> ProposedMerge | None:
    """Choose what needs no test that notices both sides."""
    return next((each for each in proposals if each.trust < Trust.BY_TESTS), None)


@pytest.mark.thorough
def test_pairs_of_edits_lose_nothing_and_mostly_merge(user: User, tmp_path: Path) -> None:
    pairs = [draw(seed) for seed in range(COUNT)]
    commits = imported(user, pairs)
    tally: Counter[str] = Counter()

    async def all_of_them() -> None:
        trees = Trees(await open_repository(user.root), tmp_path / "trees")
        for seed, (pair, (base, ours, theirs)) in enumerate(zip(pairs, commits, strict=True)):
            head, merged = await combine_commit(trees, ours, base, theirs, "Task 2\n", choose_sure)
            about = f"{seed}: {pair.kind}"
            if merged.tree:
                text = user.git("show", f"{head}:{pair.path}") + "\n"
                assert_nothing_lost(pair, text)
                assert user.git("show", f"{head}:other.txt") == "changed"
                assert pair.solvable is not False, f"{about} was merged without asking"
            else:
                assert merged.conflicts == (pair.path,) and head == ours, about
                assert user.git("show", f"{ours}:{pair.path}") + "\n" == pair.ours
                assert user.git("show", f"{theirs}:{pair.path}") + "\n" == pair.theirs
            tally[merged.taken.name if merged.taken else "by git at once" if merged.tree else "asked"] += 1
            tally[f"{'solvable' if pair.solvable else 'not'} {'merged' if merged.tree else 'asked'}"] += 1
        assert not trees.open

    asyncio.run(all_of_them())
    assert len(user.git("worktree", "list").splitlines()) == 1
    assert tally["solvable merged"] >= 0.6 * (tally["solvable merged"] + tally["solvable asked"]), tally
    assert tally["not merged"] == 0, tally
    print(dict(tally))
