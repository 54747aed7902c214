"""What is known of the user's repository before anything is paid: where it stands and what it holds."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from orchestra.errors import RepositoryError
from orchestra.workspace.git import Git, identity, split

LINK, SUBMODULE = "120000", "160000"


@dataclass(frozen=True)
class Entry:
    """A tracked file at the base."""

    path: str
    mode: str
    blob: str
    size: int


@dataclass(frozen=True)
class Repository:
    """A work tree and the commit that the run starts from. `branch` is empty on a detached HEAD."""

    root: Path
    common: Path
    git: Git
    branch: str
    base: str
    unborn: bool
    dirty: tuple[str, ...]
    shallow: bool

    async def entries(self) -> dict[str, Entry]:
        """The files of the base commit."""
        found = {}
        for line in split(await self.git.raw("ls-tree", "-r", "-z", "--long", self.base)):
            about, _, path = line.partition("\t")
            mode, _, blob, size = about.split()
            found[path] = Entry(path, mode, blob, int(size) if size != "-" else 0)
        return found

    async def ignored(self, path: str) -> bool:
        return await self.git.ok("check-ignore", "-q", "--", path)


async def open_repository(start: Path) -> Repository:
    if not start.is_dir():
        raise RepositoryError(f"{start} is not a folder.")
    git = Git(start)
    code, out, err = await git.attempt("rev-parse", "--is-bare-repository", "--show-toplevel", "--git-common-dir")
    if code:
        if b"dubious ownership" in err:
            raise RepositoryError(
                err.decode("utf-8", "replace").strip().splitlines()[0] + ".",
                hint="Run git status there for the remedy.",
            )
        if out.startswith(b"true"):
            raise RepositoryError(
                f"{start} is a bare repository: agents need a work tree.", hint="Clone it and run there."
            )
        raise RepositoryError(f"{start} is not in a git repository.", hint="Run `git init` there first.")
    _, top, common = os.fsdecode(out).splitlines()
    root = Path(top)
    return await look(Git(root), root, (start / common).resolve())


async def look(git: Git, root: Path, common: Path) -> Repository:
    who = await identity(git)
    git = Git(root, who)
    branch = (await git.maybe("symbolic-ref", "-q", "HEAD")).removeprefix("refs/heads/")
    base = await git.maybe("rev-parse", "-q", "--verify", "HEAD^{commit}")
    unborn = not base
    if unborn:
        empty = await git.text("mktree", input=b"")
        base = await git.text("commit-tree", empty, "-m", "Start of the repository")
    changed = await git.paths(
        "status", "--porcelain=v1", "-z", "--untracked-files=no", "--no-renames", "--ignore-submodules=all"
    )
    dirty = tuple(line[3:] for line in changed)
    shallow = await git.text("rev-parse", "--is-shallow-repository") == "true"
    return Repository(root, common, git, branch, base, unborn, dirty, shallow)


async def clone(url: str, into: Path) -> Path:
    """Clone a URL into a new folder, named as git would name it."""
    name = url.rstrip("/").rsplit("/", 1)[-1].rsplit(":", 1)[-1].removesuffix(".git") or "repository"
    target = into / name
    if target.exists():
        raise RepositoryError(f"{target} exists already: run there, or give its path as --repo.")
    code, _, err = await Git(into).attempt("clone", "--quiet", url, str(target))
    if code:
        raise RepositoryError(
            f"git could not clone {url}: {err.decode('utf-8', 'replace').strip().splitlines()[-1:] or ['no reason given']}"
        )
    return target


def is_link(path: Path) -> bool:
    try:
        return stat.S_ISLNK(path.lstat().st_mode)
    except OSError:
        return False
