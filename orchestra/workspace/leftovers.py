"""What a run may leave in the repository: worktrees, branches, and commits of imported runs."""

import os
import re
import tempfile
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestra.workspace.git import Git

# Names of a run's branches: BRANCHES/STAMP/task1. A user's branch in the way makes the prefix longer.
BRANCH = re.compile(r"refs/heads/(?P<space>aider-orchestrator(-agents)*)/(?P<stamp>\d{8}_\d{6}(_\d+)?)/.+")
IMPORTED = "refs/aider-orchestrator"
FOLDER = re.compile(r"aider-orchestrator-[a-z0-9_]{8}")


@dataclass(frozen=True)
class RunBranch:
    """A branch of a run. `checked_out`: the worktree on it. `merged`: whether the user's branches contain it."""

    ref: str
    stamp: str
    commit: str
    checked_out: str
    merged: bool

    @property
    def name(self) -> str:
        return self.ref.removeprefix("refs/heads/")

    @property
    def is_of_attempt(self) -> bool:
        """Whether it belongs to one of several attempts at a task, not to the task itself."""
        return re.search(r"/task\d+-\d+$", self.ref) is not None


async def list_run_branches(git: Git) -> list[RunBranch]:
    """List the branches of all runs."""
    found = await list_refs(git, "refs/heads/")
    ours = {ref: named["stamp"] for ref, _, _ in found if (named := BRANCH.fullmatch(ref))}
    theirs = await list_user_tips(git, ours)
    return [
        RunBranch(ref, ours[ref], commit, where, await is_reachable(git, theirs, commit))
        for ref, commit, where in found
        if ref in ours
    ]


async def list_user_tips(git: Git, ours: Container[str]) -> list[str]:
    """List the tips of the user's branches, tags and remotes, and HEAD."""
    everything = await list_refs(git, "refs/heads/", "refs/remotes/", "refs/tags/")
    found = [commit for ref, commit, _ in everything if ref not in ours]
    head = await git.maybe("rev-parse", "-q", "--verify", "HEAD^{commit}")
    on = await git.maybe("symbolic-ref", "-q", "HEAD")
    return [*found, *([head] if head and on not in ours else [])]


async def list_refs(git: Git, *where: str) -> list[tuple[str, str, str]]:
    """List refs: name, object and, if checked out, the worktree."""
    output = await git.maybe("for-each-ref", "--format=%(refname)%00%(objectname)%00%(worktreepath)", *where)
    rows = [line.split("\0") for line in output.split("\n") if line]
    return [(ref, commit, tree) for ref, commit, tree in rows]


async def is_reachable(git: Git, tips: Sequence[str], commit: str) -> bool:
    """Whether a commit is in the history of one of the tips."""
    asked = "\n".join([commit, *(f"^{tip}" for tip in dict.fromkeys(tips))]).encode()
    code, out, _ = await git.attempt("rev-list", "-n", "1", "--stdin", input=asked)
    return code == 0 and not out.strip()


async def list_worktrees(git: Git, folders: Iterable[Path]) -> list[Path]:
    """List this repository's worktrees in these folders."""
    inside = [os.path.realpath(folder) for folder in folders if FOLDER.fullmatch(folder.name)]
    listed = (await git.raw("worktree", "list", "--porcelain")).split(b"\n")
    paths = [Path(os.fsdecode(line[9:])) for line in listed if line.startswith(b"worktree ")]
    return [path for path in paths if any(Path(os.path.realpath(path)).is_relative_to(one) for one in inside)]


def is_run_folder(folder: Path) -> bool:
    """Whether a run made this folder for itself; an event may name any folder."""
    return bool(FOLDER.fullmatch(folder.name)) and folder.is_absolute() and not folder.is_symlink() and folder.is_dir()


async def remove_ref(git: Git, ref: str, commit: str = "") -> bool:
    """Remove a ref; if a commit is given, only if it still points there."""
    return await git.ok("update-ref", "-d", ref, *filter(None, [commit]))


async def list_imported_refs(git: Git) -> list[tuple[str, str]]:
    """List the refs that hold commits of imported runs, each with its run."""
    found = [ref for ref, _, _ in await list_refs(git, f"{IMPORTED}/")]
    return [(ref, ref.removeprefix(f"{IMPORTED}/").split("/")[0]) for ref in found]


async def write_bundle(git: Git, commits: dict[str, str], base: str, target: Path) -> bool:
    """Write commits by name into a bundle, with everything since the base. Return False if there is nothing in it."""
    with tempfile.TemporaryDirectory(prefix="aider-orchestrator-bundle-") as folder:
        # Names of our own, so that the repository's are not touched.
        objects = (git.folder / await git.text("rev-parse", "--git-path", "objects")).resolve()
        apart = git.with_env(GIT_DIR=folder, GIT_ALTERNATE_OBJECT_DIRECTORIES=str(objects))
        kind = await git.maybe("rev-parse", "--show-object-format") or "sha1"
        await apart.raw("init", "--quiet", "--bare", f"--object-format={kind}", folder)
        for name, commit in commits.items():
            await apart.raw("update-ref", f"{IMPORTED}/{name}", commit)
        names = [f"{IMPORTED}/{name}" for name in commits]
        without = [f"^{base}"] if base else []
        if not names or not await apart.text("rev-list", "-n", "1", *names, *without):
            return False
        await apart.raw("bundle", "create", "--quiet", str(target), *names, *without)
        return True


async def fetch_bundle(git: Git, source: Path, stamp: str) -> bool:
    """Import the commits under names that only `clean` of this run removes. Return False if git fails."""
    return await git.ok(
        *("-c", "fetch.fsckObjects=true", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc"),
        *(str(source), f"{IMPORTED}/*:{IMPORTED}/{stamp}/*"),
    )
