"""A worktree that goes to whoever comes next is as good as a new one."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from orchestra.errors import GitFailed
from orchestra.workspace.collect import collect_changes, commit_changes
from orchestra.workspace.repository import open_repository
from orchestra.workspace.trees import Tree, Trees, tree_status
from tests.test_merge import Files, User, user

__all__ = ["user"]

BASE: Files = {"a.py": "a\n", "d/b.py": "b\n", "run.sh": "x:echo\n", ".gitignore": "*.log\n", "crlf.txt": "1\r\n"}
HARM = """
echo more >> a.py; rm -r d; chmod +x a.py; chmod -x run.sh; mkdir -p d/b.py n/e/w; ln -s /etc/passwd n/link
echo x > n/e/w/x; git add n/e/w/x; echo y > x.log; mkdir deep; cd deep; git init -q; echo z > z; cd ..
git symbolic-ref HEAD refs/heads/users; echo '!x' > n/.gitignore; git rm -q --cached crlf.txt
printf 'ü' > "$(printf 'new\\nline')"
"""


def seen(root: Path) -> dict[str, tuple[int, bytes]]:
    paths = (path for path in root.rglob("*") if path.name != ".git")
    return {
        str(path.relative_to(root)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in paths
    }


def test_a_worktree_taken_over_is_like_a_fresh_one(user: User, tmp_path: Path) -> None:
    base = user.commit(BASE)
    user.git("branch", "users", user.side(base, {"theirs": "1\n"}))

    async def used() -> tuple[Tree, Tree]:
        trees = Trees(await open_repository(user.root), tmp_path / "trees")
        old, fresh = await trees.add("one", base), await trees.add("fresh", base)
        await asyncio.to_thread(subprocess.run, HARM, shell=True, cwd=old.path, check=True)
        trees.release(old)
        again = await trees.add("two", base)
        assert not old.path.exists() and not trees.idle and len(user.git("worktree", "list").splitlines()) == 3
        assert seen(again.path) == seen(fresh.path)
        assert await tree_status(again) == await tree_status(fresh) == {}
        assert await again.git.text("rev-parse", "HEAD") == base
        await trees.close()
        return again, fresh

    users = user.git("rev-parse", "users")
    for tree in asyncio.run(used()):
        assert not tree.path.exists()
    assert user.git("rev-parse", "users") == users
    assert len(user.git("worktree", "list").splitlines()) == 1


def test_files_are_as_their_own_commit_wants_them(user: User, tmp_path: Path) -> None:
    """What git would not write anew, because it is the same in both commits."""
    base = user.commit(BASE | {"run.bat": "1\n2\n"})
    other = user.commit({".gitattributes": "*.bat text eol=crlf\n"})

    async def used() -> None:
        trees = Trees(await open_repository(user.root), tmp_path / "trees")
        trees.release(await trees.add("one", base))
        tree = await trees.add("two", other)
        assert (tree.path / "run.bat").read_bytes() == b"1\r\n2\r\n"
        await trees.close()

    asyncio.run(used())


def test_one_that_cannot_be_removed_keeps_no_other(user: User, tmp_path: Path) -> None:
    user.commit(BASE)

    async def used() -> None:
        trees = Trees(await open_repository(user.root), tmp_path / "trees")
        tree, *others = [await trees.add(name, "HEAD") for name in ("one", "two", "three")]
        # As when a full machine starts no git.
        trees.removals.add(asyncio.ensure_future(failing()))
        trees.discard(tree)
        for other in others:
            trees.release(other)
        await trees.close()
        assert not trees.open

    async def failing() -> None:
        raise OSError(11, "Resource temporarily unavailable")

    asyncio.run(used())
    assert len(user.git("worktree", "list").splitlines()) == 1


def test_worktree_avoids_existing_paths(user: User, tmp_path: Path) -> None:
    """Such as what a container has written and nobody may delete: git would go to the repository above."""
    user.commit(BASE)
    user.write({"a.py": "uncommitted\n"})
    place = user.root / ".scratch"
    (place / "gate" / "tree").mkdir(parents=True)

    async def used() -> list[Tree]:
        trees = Trees(await open_repository(user.root), place)
        trees.release(await trees.add("one", "HEAD"))
        trees.release(await trees.add("two", "HEAD"))
        made = await asyncio.gather(*(trees.add("gate", "HEAD") for _ in range(4)))
        assert len({tree.path for tree in made}) == 4
        assert [await tree_status(tree) for tree in made] == [{}] * 4
        (made[0].path / ".git").unlink()
        with pytest.raises(GitFailed):
            await made[0].git.raw("reset", "--quiet", "--hard")
        await trees.close()
        return made

    assert not any(tree.path.exists() for tree in asyncio.run(used()))
    assert (user.root / "a.py").read_text() == "uncommitted\n"
    assert len(user.git("worktree", "list").splitlines()) == 1


def test_a_part_of_a_checkout_is_not_handed_on(user: User, tmp_path: Path) -> None:
    user.commit(BASE)
    user.git("sparse-checkout", "set", "--cone", "d")

    async def used() -> None:
        trees = Trees(await open_repository(user.root), tmp_path / "trees")
        trees.release(await trees.add("one", "HEAD"))
        assert not trees.idle
        await trees.close()

    asyncio.run(used())


@pytest.mark.parametrize("link", ["as it is", "relative"])
@pytest.mark.parametrize("who", ["the agent", "the set-up"])
@pytest.mark.parametrize("written", [["a.py"], ["a.py", "d/b.py"]])
def test_only_its_own_files_are_committed(user: User, tmp_path: Path, link: str, who: str, written: list[str]) -> None:
    """Whoever else has staged something, and however the worktree names its place in git's records."""
    base = user.commit(BASE)

    async def work() -> str:
        trees = Trees(await open_repository(user.root), tmp_path / "trees")
        tree = await trees.add("one", base)
        if link == "relative":
            (tree.path / ".git").write_text(f"gitdir: {os.path.relpath(tree.git_folder, tree.path)}\n")
        staging = "echo 1 > other; git add other; git rm -q --cached crlf.txt"
        if who == "the set-up":
            await asyncio.to_thread(subprocess.run, staging, shell=True, cwd=tree.path, check=True)
        tree = await trees.snapshot(tree, ["a.py"], provisioned=who == "the set-up")
        if who == "the agent":
            await asyncio.to_thread(subprocess.run, staging, shell=True, cwd=tree.path, check=True)
        for name in written:
            (tree.path / name).write_text("agent's")
        found = await collect_changes(tree, ["a.py"], {"a.py": 1, "d/b.py": 2})
        made = await commit_changes(tree, found, "m\n", base)
        await trees.close()
        return made

    made = asyncio.run(work())
    # A new file of the agent's is part of its work, staged or not.
    assert user.git("diff", "--name-only", base, made) == ("a.py\nother" if who == "the agent" else "a.py")
    assert user.git("show", f"{made}:a.py") + "\n" == "agent's\n"


@pytest.mark.parametrize("harm", ["rm .git", "echo 'gitdir: /nowhere' > .git", "rm -rf ../tree", "submodule"])
def test_one_that_cannot_be_taken_over_is_replaced(user: User, tmp_path: Path, harm: str) -> None:
    base = user.commit(BASE)
    if harm == "submodule":
        user.git("update-index", "--add", "--cacheinfo", f"160000,{base},module")
        user.git("commit", "-q", "-m", "module")

    async def used() -> None:
        trees = Trees(await open_repository(user.root), tmp_path / "trees")
        old = await trees.add("one", "HEAD")
        if harm != "submodule":
            await asyncio.to_thread(subprocess.run, harm, shell=True, cwd=old.path, check=True)
        trees.release(old)
        again = await trees.add("two", "HEAD")
        assert await tree_status(again) == {} and not trees.idle
        await trees.close()

    asyncio.run(used())
    assert len(user.git("worktree", "list").splitlines()) == 1
    assert not list((tmp_path / "trees").glob("*/tree"))
