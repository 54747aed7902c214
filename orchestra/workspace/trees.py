"""One worktree per attempt, outside the user's checkout, made and removed one at a time because git races on them."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestra.errors import RepositoryError
from orchestra.workspace.git import Git, split
from orchestra.workspace.repository import Repository

Signature = tuple[str, int, int, int]
IGNORED = "!!"


@dataclass(frozen=True)
class Tree:
    """A worktree at a commit. `before` is what already differed from that commit when the agent came: set-up products."""

    path: Path
    git: Git
    base: str
    before: dict[str, Signature] = field(default_factory=dict)


@dataclass
class Trees:
    """The worktrees of a run."""

    repository: Repository
    folder: Path
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    open: dict[Path, Tree] = field(default_factory=dict)

    async def add(self, name: str, commit: str) -> Tree:
        path = self.folder / name / "tree"
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        async with self.lock:
            await self.repository.git.raw("worktree", "add", "--quiet", "--detach", str(path), commit)
        tree = Tree(path, self.repository.git.at(path), commit)
        self.open[path] = tree
        return tree

    async def remove(self, tree: Tree) -> None:
        self.open.pop(tree.path, None)
        async with self.lock:
            await asyncio.to_thread(shutil.rmtree, tree.path, ignore_errors=True)
            await self.repository.git.attempt("worktree", "prune", "--expire=now")

    async def close(self) -> None:
        for tree in list(self.open.values()):
            await self.remove(tree)


async def furnish(tree: Tree, repository: Repository, copies: Sequence[str], links: Sequence[str]) -> None:
    """Bring in what git does not track."""
    for name in (*copies, *links):
        source, target = repository.root / name, tree.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name in links:
            target.symlink_to(source.resolve())
        elif source.is_dir():
            await asyncio.to_thread(shutil.copytree, source, target, symlinks=True, dirs_exist_ok=True)
        else:
            await asyncio.to_thread(shutil.copy2, source, target)


def check_furniture(root: Path, names: Sequence[str], keys: Sequence[str]) -> None:
    """Refuse what would leave the repository or carry a key into an agent's sight."""
    for name in names:
        path = root / name
        if not path.exists():
            raise RepositoryError(f"{name}: there is no such file or folder in {root} to bring into the worktrees.")
        if not path.resolve().is_relative_to(root) and not path.is_symlink() or name.startswith(("/", "..")):
            raise RepositoryError(f"{name} lies outside the repository.")
        for file in [path] if path.is_file() else []:
            content = file.read_bytes()
            if any(key.encode() in content for key in keys):
                raise RepositoryError(f"{name} holds one of your API keys; agents must not see it.")


async def status(tree: Tree) -> dict[str, Signature]:
    """Every path that differs from the worktree's commit, ignored ones too, with what tells one version from the next."""
    lines = split(
        await tree.git.raw(
            "status", "--porcelain=v1", "-z", "--untracked-files=all", "--ignored=matching", "--no-renames"
        )
    )
    return {line[3:]: signature(line[:2], tree.path / line[3:]) for line in lines}


def signature(code: str, path: Path) -> Signature:
    try:
        found = os.lstat(path)
    except OSError:
        return (code, 0, 0, 0)
    return (code, found.st_mode, found.st_size, found.st_mtime_ns)


async def with_before(tree: Tree) -> Tree:
    """The tree as the agent will find it, remembered."""
    return Tree(tree.path, tree.git, tree.base, await status(tree))


@contextlib.asynccontextmanager
async def passing(trees: Trees, name: str, commit: str) -> AsyncIterator[Tree]:
    """A worktree for a while."""
    tree = await trees.add(name, commit)
    try:
        yield tree
    finally:
        await trees.remove(tree)
