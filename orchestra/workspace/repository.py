"""What is known about the user's repository before anything is paid: its state and its files."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orchestra.errors import RepositoryError
from orchestra.settings import mask_value
from orchestra.workspace.git import LOST, Git, commit_identity, git_message, lost_content_error, split_nul, top_level

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
    """A work tree and the commit where the run starts. `branch` is empty on a detached HEAD."""

    root: Path
    git: Git
    branch: str
    base: str
    unborn: bool
    dirty: tuple[str, ...]
    shallow: bool = False

    async def entries(self) -> dict[str, Entry]:
        """Return the files of the base commit. Refuse a repository that lacks their contents."""
        found, bad = {}, []
        code, out, err = await self.git.attempt("ls-tree", "-r", "-z", "--long", self.base)
        if code:
            raise RepositoryError(f"git cannot read {self.base[:12]}: {git_message(err)}.", hint=LOST)
        for line in split_nul(out):
            about, _, path = line.partition("\t")
            mode, _, blob, size = about.split()
            found[path] = Entry(path, mode, blob, int(size) if size.isdigit() else 0)
            bad += [path] if size == "BAD" else []
        if bad:
            raise lost_content_error(bad)
        return found

    async def is_ignored(self, path: str) -> bool:
        # This command knows no literal pathspecs; "./" keeps a name from being read as a pattern.
        return await self.git.with_env(GIT_LITERAL_PATHSPECS="0").ok("check-ignore", "-q", "--", f"./{path}")

    async def ignored_paths(self, folders: Sequence[str]) -> list[str]:
        """Return ignored paths; a wholly ignored folder by its name alone."""
        if not folders:
            return []
        words = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory", "--", *folders)
        return [path for path in await self.git.paths(*words) if not path.startswith(".aider")]

    def entry_kind(self, path: str) -> Literal["link", "folder", "file", ""]:
        """Return what is under this name in the user's work tree."""
        location = self.root / path
        if not path_exists(location):
            return ""
        return "link" if location.is_symlink() else "folder" if location.is_dir() else "file"


def is_empty_folder(folder: Path) -> bool:
    """Whether the folder has only hidden files, such as .env, and is in no repository."""
    try:
        return all(path.name.startswith(".") for path in folder.iterdir()) and top_level(folder) is None
    except OSError:
        return False


async def init_repository(folder: Path) -> None:
    code, _, err = await Git(folder).attempt("init", "--quiet")
    if code:
        raise RepositoryError(f"git could not make a repository of {folder}: {err.decode('utf-8', 'replace').strip()}.")


async def open_repository(start: Path) -> Repository:
    if not (path_exists(start) and start.is_dir()):
        raise RepositoryError(f"{start} is not a folder.")
    git = Git(start)
    code, out, err = await git.attempt("rev-parse", "--is-bare-repository", "--show-toplevel")
    if code:
        raise RepositoryError(explain_no_work_tree(start, out, err))
    root = Path(await git.text("rev-parse", "--show-toplevel"))
    try:
        str(root).encode()
    except UnicodeEncodeError:
        raise RepositoryError(f"The path of the repository, {str(root)!r}, is not UTF-8.") from None
    return await read_repository(Git(root), root)


def explain_no_work_tree(start: Path, out: bytes, err: bytes) -> str:
    message = err.decode("utf-8", "replace").strip()
    if "not a git repository" in message:
        return f"{start} is not in a git repository. Run `git init` there first."
    if out.startswith(b"true"):
        return f"{start} is a bare repository: agents need a work tree. Clone it and run there."
    if out.startswith(b"false"):
        return f"{start} is inside git's own folder: run in the work tree."
    if "dubious ownership" in message:
        return f"{message.splitlines()[0]}. Run git status there for the remedy."
    return f"git cannot work in {start}: {message}."


async def read_repository(git: Git, root: Path) -> Repository:
    git = Git(root, await commit_identity(git))
    branch = (await git.maybe("symbolic-ref", "-q", "HEAD")).removeprefix("refs/heads/")
    base = await git.maybe("rev-parse", "-q", "--verify", "HEAD^{commit}")
    unborn = not base
    if unborn:
        await check_writable(git)
        empty = await git.text("mktree", input=b"")
        base = await git.text("commit-tree", empty, "-m", "Start of the repository")
    words = ("status", "--porcelain=v1", "-z", "--untracked-files=no", "--no-renames", "--ignore-submodules=all")
    changed = await git.paths(*words)
    # Only for display, where a name that is not UTF-8 must not fail.
    dirty = tuple(os.fsencode(line[3:]).decode("utf-8", "replace") for line in changed)
    shallow = await git.maybe("rev-parse", "--is-shallow-repository") == "true"
    return Repository(root, git, branch, base, unborn, dirty, shallow)


async def check_writable(git: Git) -> None:
    """Check that git's folder is writable, because agents' work is stored there."""
    folders = await git.text("rev-parse", "--git-common-dir", "--git-path", "objects", "--git-path", "refs/heads")
    for name in dict.fromkeys(folders.splitlines()):
        folder = git.folder / name
        try:
            if folder.is_dir():  # refs may be stored differently
                tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            hint = "Make it writable, or work in a clone of your own."
            raise RepositoryError(f"{folder} cannot be written to: {error.strerror}.", hint=hint) from None


async def clone_repository(url: str, into: Path) -> Path:
    """Clone a URL into a new folder with the name that git would give it."""
    name = url.rstrip("/").rsplit("/", 1)[-1].rsplit(":", 1)[-1].removesuffix(".git") or "repository"
    target = into / name
    if path_exists(target):
        raise RepositoryError(f"{target} exists: run there, or give its path as --repo.")
    code, _, err = await Git(into).attempt("clone", "--quiet", "--", url, str(target))
    if code:
        lines = err.decode("utf-8", "replace").strip().splitlines() or ["it gave no reason"]
        raise RepositoryError(f"git could not clone {mask_value('repo', url)}: {mask_value('repo', lines[-1])}.")
    return target


def path_exists(path: Path) -> bool:
    """Whether something is there, even a broken link. A name that is too long for the file system is not there."""
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True
