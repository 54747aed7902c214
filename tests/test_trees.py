"""A worktree that goes to whoever comes next is as good as a new one."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from orchestra.workspace.repository import open_repository
from orchestra.workspace.trees import Tree, Trees, status
from tests.test_merge import Files, User, user

__all__ = ["user"]

BASE: Files = {"a.py": "a\n", "d/b.py": "b\n", "run.sh": "x:echo\n", ".gitignore": "*.log\n", "crlf.txt": "1\r\n"}
HARM = """
echo more >> a.py; rm -r d; chmod +x a.py; chmod -x run.sh; mkdir -p d/b.py n/e/w; ln -s /etc/passwd n/link
echo x > n/e/w/x; git add n/e/w/x; echo y > x.log; mkdir deep; cd deep; git init -q; echo z > z; cd ..
echo '!x' > n/.gitignore; printf 'ü' > "$(printf 'new\\nline')"; git rm -q --cached crlf.txt
"""


def seen(root: Path) -> dict[str, tuple[int, bytes]]:
    paths = (path for path in root.rglob("*") if path.name != ".git")
    return {
        str(path.relative_to(root)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in paths
    }


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_worktree_taken_over_is_like_a_fresh_one(user: User, tmp_path: Path, elsewhere: bool) -> None:
    base = user.commit(BASE)
    wanted = user.side(base, {"d/b.py": "B\n", "n": "a file\n", "a.py": None}) if elsewhere else base

    async def used() -> tuple[Tree, Tree]:
        trees = Trees(await open_repository(user.root), tmp_path / "trees")
        old, fresh = await trees.add("one", base), await trees.add("fresh", wanted)
        await asyncio.to_thread(subprocess.run, HARM, shell=True, cwd=old.path, check=True)
        trees.leave(old)
        again = await trees.add("two", wanted)
        assert not old.path.exists() and not trees.idle and len(user.git("worktree", "list").splitlines()) == 3
        assert seen(again.path) == seen(fresh.path)
        assert await status(again) == await status(fresh) == {}
        assert await again.git.text("rev-parse", "HEAD") == wanted
        await trees.close()
        return again, fresh

    for tree in asyncio.run(used()):
        assert not tree.path.exists()
    assert len(user.git("worktree", "list").splitlines()) == 1


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
        trees.leave(old)
        again = await trees.add("two", "HEAD")
        assert await status(again) == {} and list(trees.open) == [again.path] and not old.path.exists()
        await trees.close()

    asyncio.run(used())
    assert len(user.git("worktree", "list").splitlines()) == 1
    assert not list((tmp_path / "trees").glob("*/tree"))
