"""One worktree per attempt, outside the user's checkout.

They are made and removed one at a time, because git races on them.
A checkout costs as much as the repository is large, so an unspoiled one is moved to the next attempt at the same commit
and reset to what git tracks.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path

from orchestra.errors import GitFailed, RepositoryError
from orchestra.workspace.git import Git, is_tracked
from orchestra.workspace.repository import Repository, path_exists

Signature = tuple[str, int, int, int]
IGNORED = "!!"


@dataclass(frozen=True)
class Tree:
    """A worktree at a commit, and its state when the agent began.

    `before`: what differed from the commit (products of set-up). `files`: those that may be changed, with their modes.
    `index`: whether git's index is the same.
    """

    path: Path
    git: Git
    base: str
    before: dict[str, Signature] = field(default_factory=dict)
    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    index: tuple[int, ...] | None = None

    @property
    def git_folder(self) -> Path:
        """git's own folder for this worktree"""
        return self.path / os.fsdecode((self.path / ".git").read_bytes().removeprefix(b"gitdir: ").rstrip(b"\r\n"))

    def is_full_checkout(self) -> bool:
        """Whether git checks out every file, which a sparse checkout does not."""
        with contextlib.suppress(OSError):
            return not path_exists(self.git_folder / "info" / "sparse-checkout")
        return False

    def index_stamp(self) -> tuple[int, ...] | None:
        """Stamp the index. None if the worktree is not as it should be: then git must look at the files."""
        with contextlib.suppress(OSError):
            found = (self.git_folder / "index").stat()
            return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        return None


@dataclass
class Trees:
    """The worktrees of a run."""

    repository: Repository
    folder: Path
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    open: dict[Path, Tree] = field(default_factory=dict)
    idle: list[Tree] = field(default_factory=list)
    movable: bool = True  # git moves no worktree that has submodules
    removals: set[asyncio.Task[None]] = field(default_factory=set)
    git_version: tuple[int, ...] = ()

    async def add(self, name: str, commit: str) -> Tree:
        # Another run may use a path, or have left there what cannot be deleted.
        paths = (self.folder / folder / "tree" for folder in chain([name], (f"{name}.{n}" for n in count(2))))
        path = next(path for path in paths if path not in self.open and not path_exists(path))
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        # If the worktree is destroyed, git must not take a folder above it for its repository.
        git = self.repository.git.at(path).with_env(GIT_CEILING_DIRECTORIES=str(path.parent))
        tree = Tree(path, git, commit)
        # Registered before it is made: if we are stopped in between, close() must find it.
        self.open[path] = tree
        try:
            # Equal files of another commit may need other line endings, or another filter.
            old = next((old for old in self.idle if old.base == commit), None)
            if not (old and await self.reuse(old, tree)):
                await self.create(tree)
        except BaseException:
            self.discard(tree)
            raise
        return tree

    async def create(self, tree: Tree) -> None:
        words = ("worktree", "add", "--quiet", "--detach", "--no-checkout", str(tree.path), tree.base)
        async with self.lock:
            await self.repository.git.raw(*words)
        # A checkout needs no more of git than this, and several can run at once.
        await tree.git.raw("reset", "--quiet", "--hard", "--no-recurse-submodules")

    async def reuse(self, old: Tree, tree: Tree) -> bool:
        """Whether an old worktree is now in the new one's place, with only what its commit holds."""
        self.idle.remove(old)
        try:
            async with self.lock:
                await self.repository.git.raw("worktree", "move", str(old.path), str(tree.path))
        except (GitFailed, OSError):
            self.movable = False
            self.discard(old)
            return False
        del self.open[old.path]
        try:
            await tree.git.raw("checkout", "--quiet", "--force", "--detach", "--no-recurse-submodules", tree.base)
            await tree.git.raw("clean", "--quiet", "-ffdx")
        except (GitFailed, OSError):
            await self.remove(tree)
            self.open[tree.path] = tree
            return False
        return True

    async def snapshot(self, tree: Tree, paths: Iterable[str], *, provisioned: bool) -> Tree:
        """Record the tree as the agent will find it."""
        before = await tree_status(tree)
        files = {path: found for path in paths if path not in before and (found := content_and_mode(tree.path / path))}
        # A set-up command may have staged something.
        return Tree(tree.path, tree.git, tree.base, before, files, None if provisioned else tree.index_stamp())

    def release(self, tree: Tree) -> None:
        """Give an unspoiled worktree back, in which only Aider has run, which just writes files."""
        if self.movable and tree.is_full_checkout():
            self.idle.append(Tree(tree.path, tree.git, tree.base))
        else:
            self.discard(tree)

    async def remove(self, tree: Tree) -> None:
        async with self.lock:
            is_removed = await self.repository.git.remove_worktree(tree.path)
            await asyncio.to_thread(shutil.rmtree, tree.path, ignore_errors=True)
            if not is_removed:  # git does not accept an emptied worktree; it removes a missing one from its list
                await self.repository.git.remove_worktree(tree.path)
        self.open.pop(tree.path, None)

    def discard(self, tree: Tree) -> None:
        """Remove it later: its path is not used again."""
        removal = asyncio.create_task(self.remove(tree))
        self.removals.add(removal)
        removal.add_done_callback(self.removals.discard)

    async def close(self) -> None:
        # One that cannot be removed must not keep the others.
        await asyncio.gather(*self.removals, return_exceptions=True)
        for tree in list(self.open.values()):
            with contextlib.suppress(OSError):
                await self.remove(tree)


async def provision_tree(tree: Tree, repository: Repository, copies: Sequence[str], links: Sequence[str]) -> None:
    """Bring in what git does not track."""
    for name in (*copies, *links):
        relative = path_inside(repository.root, name)
        source, target = repository.root / relative, tree.path / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        if name in links:
            target.symlink_to(source.resolve())
        elif source.is_dir():
            await asyncio.to_thread(shutil.copytree, source, target, symlinks=True)
        else:
            await asyncio.to_thread(shutil.copy2, source, target)


def check_provisions(root: Path, copies: Sequence[str], links: Sequence[str], keys: Sequence[str]) -> None:
    """Refuse provisions that leave the repository, block tracked paths, or carry a key to agents."""
    places = [path_inside(root, name) for name in (*copies, *links)]
    for relative in places:
        path = root / relative
        if not (path_exists(path) and (path.is_file() or path.is_dir())):
            raise RepositoryError(f"{relative}: there is no such file or folder in {root} to bring into the worktrees.")
        if is_tracked(root, str(relative)):
            raise RepositoryError(f"{relative}: git tracks it (or files in it), so every worktree has it already.")
        if any(relative != other and relative.is_relative_to(other) for other in places) or places.count(relative) > 1:
            raise RepositoryError(f"{relative} is listed twice to be brought into the worktrees.")
    for relative in places:
        whole = relative in places[: len(copies)] or (root / relative).is_file()
        for file in files_under(root / relative) if whole else []:
            content = file.read_bytes()
            if any(key.encode() in content for key in keys):
                raise RepositoryError(f"{file.relative_to(root)} holds one of your API keys; agents must not see it.")


def path_inside(root: Path, name: str) -> Path:
    """Return the path relative to the repository's root, inside of which it must be; it may be a link to elsewhere."""
    path = Path(os.path.normpath(root / name))
    real_path = path.parent.resolve() / path.name
    if not real_path.is_relative_to(root) or real_path == root or ".git" in real_path.relative_to(root).parts:
        shown = name or "(an empty name)"
        raise RepositoryError(f"{shown} is not in {root}, so it cannot be brought into the worktrees.")
    return real_path.relative_to(root)


def files_under(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for folder, _, names in os.walk(path):
        yield from (file for name in names if (file := Path(folder, name)).is_file())


async def tree_status(tree: Tree) -> dict[str, Signature]:
    """Return every path that differs from the worktree's commit, ignored ones too, with a stamp of its version."""
    words = ("status", "--porcelain=v1", "-z", "--untracked-files=all", "--ignored=matching", "--no-renames")
    # Inside of a submodule, git would obey settings that an agent can have written there.
    lines = await tree.git.paths(*words, "--ignore-submodules=dirty")
    return {line[3:]: file_signature(line[:2], tree.path / line[3:]) for line in lines}


def file_signature(code: str, path: Path) -> Signature:
    with contextlib.suppress(OSError):
        found = os.lstat(path)
        return (code, found.st_mode, found.st_size, found.st_mtime_ns)
    return (code, 0, 0, 0)


def content_and_mode(path: Path) -> tuple[bytes, int] | None:
    try:
        return (path.read_bytes(), path.stat().st_mode) if path.is_file() and not path.is_symlink() else None
    except OSError:
        return None


@contextlib.asynccontextmanager
async def temporary_tree(trees: Trees, name: str, commit: str) -> AsyncIterator[Tree]:
    """Make a worktree for a while."""
    tree = await trees.add(name, commit)
    try:
        yield tree
    finally:
        await trees.remove(tree)
