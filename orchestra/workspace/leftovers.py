"""What a run may leave in the repository: worktrees, branches, and the commits that an imported run brought."""

import os
import re
import tempfile
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestra.workspace.git import Git

# So runs name their branches: BRANCHES/STAMP/task1. A user's own branch that stands in the way makes it longer.
BRANCH = re.compile(r"refs/heads/(?P<space>aider-orchestrator(-agents)*)/(?P<stamp>\d{8}_\d{6}(_\d+)?)/.+")
OF_ATTEMPT = re.compile(r"/task\d+-\d+$")
IMPORTED = "refs/aider-orchestrator"
FOLDER = re.compile(r"aider-orchestrator-[a-z0-9_]{8}")


@dataclass(frozen=True)
class RunBranch:
    """A branch of a run. `checked_out` is the worktree that stands on it, `merged` whether the user's work has it."""

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
        """Of one of several attempts at a task, and not of the task itself."""
        return bool(OF_ATTEMPT.search(self.ref))


async def list_run_branches(git: Git) -> list[RunBranch]:
    """Those of all runs."""
    found = await list_refs(git, "refs/heads/")
    ours = {ref: named["stamp"] for ref, _, _ in found if (named := BRANCH.fullmatch(ref))}
    theirs = await list_user_tips(git, ours)
    return [
        RunBranch(ref, ours[ref], commit, where, await is_reachable(git, theirs, commit))
        for ref, commit, where in found
        if ref in ours
    ]


async def list_user_tips(git: Git, ours: Container[str]) -> list[str]:
    """What the user's branches, tags and remotes point to, and where HEAD stands."""
    everything = await list_refs(git, "refs/heads/", "refs/remotes/", "refs/tags/")
    found = [commit for ref, commit, _ in everything if ref not in ours]
    head = await git.maybe("rev-parse", "-q", "--verify", "HEAD^{commit}")
    on = await git.maybe("symbolic-ref", "-q", "HEAD")
    return [*found, *([head] if head and on not in ours else [])]


async def list_refs(git: Git, *where: str) -> list[tuple[str, str, str]]:
    """Name, object and, if it is checked out, the worktree."""
    said = await git.maybe("for-each-ref", "--format=%(refname)%00%(objectname)%00%(worktreepath)", *where)
    return [(ref, commit, tree) for line in filter(None, said.split("\n")) for ref, commit, tree in [line.split("\0")]]


async def is_reachable(git: Git, tips: Sequence[str], commit: str) -> bool:
    """Whether one of the tips has this commit in its history."""
    asked = "\n".join([commit, *(f"^{tip}" for tip in dict.fromkeys(tips))]).encode()
    code, out, _ = await git.attempt("rev-list", "-n", "1", "--stdin", input=asked)
    return code == 0 and not out.strip()


async def list_worktrees(git: Git, folders: Iterable[Path]) -> list[Path]:
    """The worktrees of this repository that lie in these folders."""
    inside = [os.path.realpath(folder) for folder in folders if FOLDER.fullmatch(folder.name)]
    listed = (await git.raw("worktree", "list", "--porcelain")).split(b"\n")
    paths = [Path(os.fsdecode(line[9:])) for line in listed if line.startswith(b"worktree ")]
    return [path for path in paths if any(Path(os.path.realpath(path)).is_relative_to(one) for one in inside)]


async def remove_worktree(git: Git, path: Path) -> None:
    """This one and no other, be its folder still there or not."""
    await git.attempt("worktree", "remove", "--force", "--force", str(path))


def is_run_folder(folder: Path) -> bool:
    """Whether this is a folder that a run made for itself, and not just one that an event names."""
    return bool(FOLDER.fullmatch(folder.name)) and folder.is_absolute() and not folder.is_symlink() and folder.is_dir()


async def remove_ref(git: Git, ref: str, commit: str = "") -> bool:
    """With a commit only if it still points there."""
    return await git.ok("update-ref", "-d", ref, *filter(None, [commit]))


async def list_imported_refs(git: Git) -> list[tuple[str, str]]:
    """The names under which the commits of imported runs are held, each with its run."""
    found = [ref for ref, _, _ in await list_refs(git, f"{IMPORTED}/")]
    return [(ref, ref.removeprefix(f"{IMPORTED}/").split("/")[0]) for ref in found]


# --- commits in a file ----------------------------------------------------------------------------------------------


async def write_bundle(git: Git, commits: dict[str, str], base: str, target: Path) -> bool:
    """The commits by name, with all that lies between them and the base. False when there is nothing in that."""
    with tempfile.TemporaryDirectory(prefix="aider-orchestrator-bundle-") as folder:
        # Names of its own, so that the repository's are not touched.
        apart = git.with_env(GIT_DIR=folder, GIT_ALTERNATE_OBJECT_DIRECTORIES=await objects_folder(git))
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


async def objects_folder(git: Git) -> str:
    return str((git.folder / await git.text("rev-parse", "--git-path", "objects")).resolve())


async def fetch_bundle(git: Git, source: Path, stamp: str) -> bool:
    """Bring the commits in, held under names that only `clean` of this run takes away. False when git cannot."""
    return await git.ok(
        *("-c", "fetch.fsckObjects=true", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc"),
        *(str(source), f"{IMPORTED}/*:{IMPORTED}/{stamp}/*"),
    )
