"""What is laid over one another without a merge is what a merge would have made, or it is not laid at all."""

import asyncio
import random
from pathlib import Path

import pytest

from orchestra.workspace.layers import CombinedPaths, Layer, apply_layers, read_layers
from orchestra.workspace.merge import combine_commit, leave_conflict, merge_commits
from orchestra.workspace.repository import open_repository
from orchestra.workspace.trees import Trees
from tests.support.sample import SOAK
from tests.test_merge import Files, User, user

__all__ = ["user"]

ROUNDS = 200 if SOAK else 6
NAMES = ["A", "a", "b", "d/a", "d/b", "d/e/a", 'o"d\\d', "new\nline", "ü", " blank ", "-dash", "e"]
BASE: Files = {name: f"{name!r}\n" * 20 for name in NAMES[1:10]}


def random_change(rng: random.Random, number: int) -> Files:
    """Mostly edits and new files; now and then a file goes, moves, turns into a folder or becomes executable."""
    files: Files = {}
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice([*NAMES, f"n{number}", f"d/n{number}", "d/e/f/g", "n", "n/x", "n/y/z"])
        files[name] = rng.choice(("", "x:")) + f"{name!r}\n" * 19 + rng.choice((f"{number}\n", ""))
    odd = rng.choice(["a", "d/a", "d/e/a"]) if rng.random() < 0.12 else ""
    if odd:
        files = {odd: None} | ({f"moved{number}": BASE[odd]} if rng.random() < 0.7 else {})
    return files


def fits(files: Files) -> bool:
    """No file may be another one's folder in one commit."""
    return not any(f"{a}/" in b for a in files for b in files)


@pytest.mark.thorough
def test_a_layer_is_laid_only_where_a_merge_would_make_the_same(user: User, tmp_path: Path) -> None:
    base, rng, laid = user.commit(BASE), random.Random(7), 0
    for _ in range(ROUNDS):
        changes = [change for n in range(8) if fits(change := random_change(rng, n))]
        commits = [user.side(base, change) for change in changes]
        # As git has it on macOS and Windows; its trees know better.
        user.git("config", "core.ignoreCase", "true")
        laid += asyncio.run(compare(user, tmp_path, base, commits))
        user.git("config", "--unset", "core.ignoreCase")
    assert laid > ROUNDS
    assert user.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert user.git("fsck", "--strict", "--no-dangling") == ""


async def compare(user: User, tmp_path: Path, base: str, commits: list[str]) -> int:
    trees = Trees(await open_repository(user.root), tmp_path / "trees")
    git, head, ground, laid = trees.repository.git, base, CombinedPaths(), 0
    known = await read_layers(git, [(commit, base) for commit in commits])
    for number, commit in enumerate(commits):
        merged = await merge_commits(trees, base, head, commit, leave_conflict)
        if ground.can_apply(known[commit]):
            (top,) = await apply_layers(git, head, [(known[commit], f"Task {number}\n")])
            assert await git.text("rev-parse", f"{top}^{{tree}}") == merged.tree, user.git("show", "--raw", commit)
            head, laid = top, laid + 1
        elif merged.tree:
            head, _ = await combine_commit(trees, head, base, commit, f"Task {number}\n", leave_conflict)
        else:
            continue
        ground.add(known[commit])
    return laid


def test_layers_make_the_same_commits_as_git_does(user: User, tmp_path: Path) -> None:
    base = user.commit(BASE)
    commits = [user.side(base, {name: f"x:{n}\n"}) for n, name in enumerate(NAMES)]
    message = 'Änder "it"\n\nfrom x\ndata 3\n\nTask: 1\n'

    async def both() -> tuple[str, list[str]]:
        repository = await open_repository(user.root)
        trees, head = Trees(repository, tmp_path / "trees"), base
        for commit in commits:
            head, _ = await combine_commit(
                trees, head, base, commit, message if head != base else "change\n", leave_conflict
            )
        known = await read_layers(repository.git, [(commit, base) for commit in commits])
        wanted = [(known[commit], message) for commit in commits]
        return head, [commits[0], *await apply_layers(repository.git, commits[0], wanted[1:])]

    stacked, laid = asyncio.run(both())
    shape = ("log", "--format=%T %an %ae %cn %ce %B", "--raw", "--no-renames")
    assert user.git(*shape, laid[-1]) == user.git(*shape, stacked)
    assert user.git("rev-list", "--reverse", laid[-1]).splitlines() == [base, *laid]


def test_ignored_submodule_is_still_a_change(user: User) -> None:
    modules = '[submodule "m"]\n\tpath = m\n\turl = ./m\n\tignore = all\n'
    first = user.commit(BASE | {".gitmodules": modules})
    user.git("update-index", "--add", "--cacheinfo", f"160000,{first},m")
    user.git("commit", "-q", "-m", "module")
    base = user.git("rev-parse", "HEAD")
    user.git("update-index", "--cacheinfo", f"160000,{base},m")
    user.git("commit", "-q", "-m", "moved")

    async def known() -> Layer:
        head = user.git("rev-parse", "HEAD")
        return (await read_layers((await open_repository(user.root)).git, [(head, base)]))[head]

    found = asyncio.run(known())
    assert found.files == {"m": (b"160000", base.encode())} and not found.plain


def test_files_and_folders_of_one_name_are_left_to_a_merge() -> None:
    def layer(*names: str) -> Layer:
        return Layer(dict.fromkeys(names, (b"100644", b"")))

    ground = CombinedPaths()
    ground.add(layer("n/x", "m"))
    assert ground.can_apply(layer("n/y", "o", "mm"))
    for name in ("n/x", "n", "m/x", "m/x/y", "m"):
        assert not ground.can_apply(layer("o", name)), name
    ground.add(Layer({}, plain=False))
    assert not ground.can_apply(layer("o"))
