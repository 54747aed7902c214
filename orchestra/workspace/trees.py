"""One worktree per attempt, outside the user's checkout, made and removed one at a time because git races on them.

A checkout costs as much as the repository is large, so one that somebody has left in peace is moved to whoever comes
next for the same commit, and brought back to what git tracks.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from orchestra.errors import GitFailed, RepositoryError
from orchestra.workspace.git import Git, is_tracked, split_nul
from orchestra.workspace.repository import Repository, path_exists

Signature = tuple[str, int, int, int]
IGNORED = "!!"


@dataclass(frozen=True)
class Tree:
    """A worktree at a commit, and what it was when the agent came: `before` is what differed from that commit (set-up
    products), `files` are those it may change with their modes, `index` tells whether git's list of them is the same.
    """

    path: Path
    git: Git
    base: str
    before: dict[str, Signature] = field(default_factory=dict)
    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    index: tuple[int, ...] | None = None

    @property
    def git_folder(self) -> Path:
        """Where git keeps what it knows of this worktree."""
        return self.path / os.fsdecode((self.path / ".git").read_bytes().removeprefix(b"gitdir: ").rstrip(b"\r\n"))

    def is_full_checkout(self) -> bool:
        """Of a sparse checkout, git may leave alone what lies outside of it."""
        try:
            return not path_exists(self.git_folder / "info" / "sparse-checkout")
        except OSError:
            return False

    def index_stamp(self) -> tuple[int, ...] | None:
        """Nothing, where the worktree is not what it should be: then git has to say so."""
        try:
            found = (self.git_folder / "index").stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


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
        path = next(path for path in self.candidate_paths(name) if path not in self.open and not path_exists(path))
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        # If the worktree is destroyed, git must not take what lies above for its repository.
        git = self.repository.git.at(path).with_env(GIT_CEILING_DIRECTORIES=str(path.parent))
        tree = Tree(path, git, commit)
        # Known before it is made: when we are stopped in between, close() must find it.
        self.open[path] = tree
        try:
            # Of another commit, files that are the same might be due with other line ends, or through another filter.
            old = next((old for old in self.idle if old.base == commit), None)
            if not (old and await self.reuse(old, tree)):
                await self.create(tree)
        except BaseException:
            self.discard(tree)
            raise
        return tree

    def candidate_paths(self, name: str) -> Iterator[Path]:
        """The first that is free: somebody else may be at the same, or have left what cannot be deleted."""
        yield self.folder / name / "tree"
        yield from (self.folder / f"{name}.{n}" / "tree" for n in count(2))

    async def create(self, tree: Tree) -> None:
        async with self.lock:
            await self.repository.git.raw(
                "worktree", "add", "--quiet", "--detach", "--no-checkout", str(tree.path), tree.base
            )
        # Git does no more than this for a checkout, and several may do it at once.
        await tree.git.raw("reset", "--quiet", "--hard", "--no-recurse-submodules")

    async def reuse(self, old: Tree, tree: Tree) -> bool:
        """Whether the old one stands in the new one's place, with nothing in it but what its commit holds."""
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
        """The tree as the agent will find it."""
        before = await tree_status(tree)
        files = {path: found for path in paths if path not in before and (found := content_and_mode(tree.path / path))}
        # A set-up command may have staged something.
        return Tree(tree.path, tree.git, tree.base, before, files, None if provisioned else tree.index_stamp())

    def release(self, tree: Tree) -> None:
        """In peace: nothing is at work in it any more, nor has been but Aider, which only writes files."""
        if self.movable and tree.is_full_checkout():
            self.idle.append(Tree(tree.path, tree.git, tree.base))
        else:
            self.discard(tree)

    async def remove(self, tree: Tree) -> None:
        # This one and no other: `git worktree prune` would also forget the user's that lie on a disk not mounted now.
        async with self.lock:
            code, _, _ = await self.repository.git.attempt("worktree", "remove", "--force", "--force", str(tree.path))
            await asyncio.to_thread(shutil.rmtree, tree.path, ignore_errors=True)
            if code:  # a worktree that somebody emptied is none to git; one that is gone it takes off its list
                await self.repository.git.attempt("worktree", "remove", "--force", "--force", str(tree.path))
        self.open.pop(tree.path, None)

    def discard(self, tree: Tree) -> None:
        """Remove it at leisure: nobody will come back to this path."""
        removal = asyncio.create_task(self.remove(tree))
        self.removals.add(removal)
        removal.add_done_callback(self.removals.discard)

    async def close(self) -> None:
        # One that cannot be removed keeps no other.
        await asyncio.gather(*self.removals, return_exceptions=True)
        for tree in list(self.open.values()):
            with contextlib.suppress(OSError):
                await self.remove(tree)


async def provision_tree(tree: Tree, repository: Repository, copies: Sequence[str], links: Sequence[str]) -> None:
    """Bring in what git does not track."""
    for name in (*copies, *links):
        place = path_inside(repository.root, name)
        source, target = repository.root / place, tree.path / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if name in links:
            target.symlink_to(source.resolve())
        elif source.is_dir():
            await asyncio.to_thread(shutil.copytree, source, target, symlinks=True)
        else:
            await asyncio.to_thread(shutil.copy2, source, target)


def check_provisions(root: Path, copies: Sequence[str], links: Sequence[str], keys: Sequence[str]) -> None:
    """Refuse what would leave the repository, stand in the way of what git tracks, or carry a key to the agents."""
    places = [path_inside(root, name) for name in (*copies, *links)]
    for place in places:
        path = root / place
        if not (path_exists(path) and (path.is_file() or path.is_dir())):
            raise RepositoryError(f"{place}: there is no such file or folder in {root} to bring into the worktrees.")
        if is_tracked(root, str(place)):
            raise RepositoryError(f"{place}: git tracks it (or files in it), so every worktree has it already.")
        if any(place != other and place.is_relative_to(other) for other in places) or places.count(place) > 1:
            raise RepositoryError(f"{place} is to be brought into the worktrees twice.")
    for place in places:
        whole = place in places[: len(copies)] or (root / place).is_file()
        for file in files_under(root / place) if whole else []:
            content = file.read_bytes()
            if any(key.encode() in content for key in keys):
                raise RepositoryError(f"{file.relative_to(root)} holds one of your API keys; agents must not see it.")


def path_inside(root: Path, name: str) -> Path:
    """The path as seen from the repository's root, which it must not leave; what it may be is a link to elsewhere."""
    path = Path(os.path.normpath(root / name))
    place = path.parent.resolve() / path.name
    if not place.is_relative_to(root) or place == root or ".git" in place.relative_to(root).parts:
        raise RepositoryError(
            f"{name or '(an empty name)'} is nothing in {root} that could be brought into the worktrees."
        )
    return place.relative_to(root)


def files_under(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for folder, _, names in os.walk(path):
        yield from (file for name in names if (file := Path(folder, name)).is_file())


async def tree_status(tree: Tree) -> dict[str, Signature]:
    """Every path that differs from the worktree's commit, ignored ones too, with what tells its versions apart."""
    lines = split_nul(
        await tree.git.raw(
            "status", "--porcelain=v1", "-z", "--untracked-files=all", "--ignored=matching", "--no-renames"
        )
    )
    return {line[3:]: file_signature(line[:2], tree.path / line[3:]) for line in lines}


def file_signature(code: str, path: Path) -> Signature:
    try:
        found = os.lstat(path)
    except OSError:
        return (code, 0, 0, 0)
    return (code, found.st_mode, found.st_size, found.st_mtime_ns)


def content_and_mode(path: Path) -> tuple[bytes, int] | None:
    try:
        return (path.read_bytes(), path.stat().st_mode) if path.is_file() and not path.is_symlink() else None
    except OSError:
        return None


@contextlib.asynccontextmanager
async def temporary_tree(trees: Trees, name: str, commit: str) -> AsyncIterator[Tree]:
    """A worktree for a while."""
    tree = await trees.add(name, commit)
    try:
        yield tree
    finally:
        await trees.remove(tree)
