"""A worktree that is lent to a person, and what they leave in it."""

import os
import shutil
from pathlib import Path

from orchestra.workspace.git import Git

FOLDER = "by-hand"


def lent_path(logs: Path, stamp: str, agent: str) -> Path:
    return logs / FOLDER / f"{stamp}-{agent}"


def list_lent(logs: Path, stamp: str) -> list[Path]:
    """List a run's worktrees that a person has not handed back."""
    return sorted((logs / FOLDER).glob(f"{stamp}-*"))


async def lend_tree(git: Git, path: Path, commit: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    await git.raw("worktree", "add", "--quiet", "--detach", str(path), commit)


async def write_lent_tree(git: Git, path: Path, commit: str) -> str:
    """Write a lent worktree as git's tree, with uncommitted work; empty if unchanged. What git ignores is not work."""
    here = git.at(path)
    index = path.parent / f"{path.name}.index"
    with_index = here.with_env(GIT_INDEX_FILE=str(index))
    try:
        await with_index.raw("read-tree", commit)
        await with_index.raw("add", "--all", ".")
        made = await with_index.text("write-tree")
    finally:
        index.unlink(missing_ok=True)
    return "" if made == await git.text("rev-parse", f"{commit}^{{tree}}") else made


async def remove_lent(git: Git, path: Path) -> None:
    await git.remove_worktree(path)
    shutil.rmtree(path, ignore_errors=True)
    if path.parent.is_dir() and not os.listdir(path.parent):
        path.parent.rmdir()
