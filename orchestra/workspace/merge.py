"""Combine the agents' commits in the object database, and deliver the result to the user's branch."""

import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestra.workspace.git import Git, git_message, split_nul
from orchestra.workspace.reconcile import ProposedMerge, propose_trees
from orchestra.workspace.repository import Repository
from orchestra.workspace.trees import Trees, temporary_tree

MERGE_TREE = (2, 38)
# Override everything that the user's settings could change about merges.
FAST_FORWARD = ("merge", "--quiet", "--ff-only", "--no-overwrite-ignore", "--no-squash", "--commit", "--no-autostash")


@dataclass(frozen=True)
class MergeResult:
    """The combined tree, or the conflicting files.

    `taken`: the merge that was chosen for a conflict. `proposals`: all that were there to choose from.
    """

    tree: str = ""
    conflicts: tuple[str, ...] = ()
    proposals: tuple[ProposedMerge, ...] = ()
    taken: ProposedMerge | None = None


# Chooses one of the merges that are proposed for a conflict, or none.
ChooseMerge = Callable[[Sequence[ProposedMerge]], ProposedMerge | None]


def leave_conflict(proposals: Sequence[ProposedMerge]) -> None:
    """Choose no merge beyond git's own."""


async def ask_git_version(trees: Trees) -> tuple[int, ...]:
    """Return git's version, asked once."""
    if not trees.git_version:
        found = re.search(r"(\d+)\.(\d+)", await trees.repository.git.text("version"))
        trees.git_version = tuple(map(int, found.groups())) if found else (0, 0)
    return trees.git_version


async def merge_commits(trees: Trees, base: str, ours: str, theirs: str, choose: ChooseMerge) -> MergeResult:
    """Merge commits three-way with a base of our choice, with any git. `choose`: what is taken for a conflict."""
    git = trees.repository.git
    if base == ours:
        return MergeResult(await git.text("rev-parse", f"{theirs}^{{tree}}"))
    if await ask_git_version(trees) >= MERGE_TREE:
        merged = await merge_objects(git, base, ours, theirs)
    else:
        merged = await merge_in_worktree(trees, base, ours, theirs)
    if not merged.conflicts or choose is leave_conflict:
        return merged
    proposals = await propose_trees(trees, base, ours, theirs)
    taken = choose(proposals)
    return MergeResult(taken.tree if taken else "", merged.conflicts, proposals, taken)


async def merge_objects(git: Git, base: str, ours: str, theirs: str) -> MergeResult:
    """Merge by merge-tree. If it would not find this base, temporary commits give it: --merge-base needs git 2.40."""
    sides = [ours, theirs]
    if await git.maybe("merge-base", "--all", *sides) != base:
        root = await git.text("commit-tree", f"{base}^{{tree}}", "-m", "base")
        sides = [await git.text("commit-tree", f"{side}^{{tree}}", "-p", root, "-m", "side") for side in sides]
    code, out, err = await git.attempt("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", *sides)
    if code not in (0, 1):
        raise git.as_error("merge-tree", err)
    tree, *conflicts = split_nul(out)
    return MergeResult(conflicts=tuple(dict.fromkeys(conflicts))) if code else MergeResult(tree)


async def merge_in_worktree(trees: Trees, base: str, ours: str, theirs: str) -> MergeResult:
    """Merge in a worktree of its own, for git before 2.38."""
    async with temporary_tree(trees, f"merge-{theirs[:12]}", ours) as tree:
        code, _, err = await tree.git.attempt("merge-recursive", base, "--", ours, theirs)
        if code not in (0, 1):
            raise tree.git.as_error("merge-recursive", err)
        if code:
            return MergeResult(conflicts=tuple(await tree.git.paths("diff", "--name-only", "--diff-filter=U", "-z")))
        return MergeResult(await tree.git.text("write-tree"))


async def combine_commit(
    trees: Trees, head: str, base: str, commit: str, message: str, choose: ChooseMerge
) -> tuple[str, MergeResult]:
    """Put a task's commit on top of the combination. Return the new head; on a conflict, the old one."""
    merged = await merge_commits(trees, base, head, commit, choose)
    if not merged.tree:
        return head, merged
    if base == head:
        return commit, merged
    git = trees.repository.git
    return await git.commit_tree(merged.tree, head, message), merged


async def rebase_commits(
    trees: Trees, onto: str, head: str, choose: ChooseMerge
) -> tuple[dict[str, str], Sequence[str]]:
    """Put our commits on another base. Return new ones by old ones, or the files of the first conflict."""
    git, made, top = trees.repository.git, dict[str, str](), onto
    for line in (await git.text("rev-list", "--reverse", "--parents", head, f"^{onto}")).splitlines():
        commit, parent = line.split()
        message = await git.text("log", "-1", "--format=%B", commit)
        old_top, (top, merged) = top, await combine_commit(trees, top, parent, commit, message, choose)
        if not merged.tree:
            return {}, merged.conflicts
        if merged.tree == await git.text("rev-parse", f"{old_top}^{{tree}}"):
            top = old_top  # the user has made the same change
        made[commit] = top
    return made, ()


@dataclass(frozen=True)
class Delivery:
    """Whether the user's branch got the result; if not, why, and the command that takes it.

    `moved`: something of the user's prevents it, so a person must decide. `stands`: the branch's present commit, if it
    has new ones. `withheld`: the result must not go anywhere else either.
    """

    applied: bool
    reason: str = ""
    take: str = ""
    moved: bool = False
    withheld: bool = False
    stands: str = ""


async def deliver_result(repository: Repository, result: str, side_branch: str) -> Delivery:
    """Fast-forward the user's branch, only if it has not moved and nothing of the user's is in the way."""
    git, branch = repository.git, f"refs/heads/{repository.branch}"
    take = f"git merge {side_branch}"
    if not repository.branch:
        return Delivery(False, "HEAD is detached", take)
    if await git.maybe("symbolic-ref", "-q", "HEAD") != branch:
        switch = f"git switch {shlex.quote(repository.branch)}"
        return Delivery(False, f"{repository.branch} is no longer checked out", f"{switch} && {take}", moved=True)
    stands = await git.maybe("rev-parse", "-q", "--verify", "HEAD^{commit}")
    if stands == result:
        return Delivery(True)
    if stands != ("" if repository.unborn else repository.base):
        return await moved_branch(repository, stands, take)
    # The user deleted files that the result changes: a merge would bring them back.
    changed = set(await git.paths("diff", "--name-only", "--no-renames", "-z", repository.base, result))
    if missing := [path for path in await git.paths("ls-files", "--deleted", "-z") if path in changed]:
        return blocked_by_files(missing, take, DELETED)
    if repository.unborn:
        # Into a branch without commits, git merges over ignored files; from an empty first commit on, it spares them.
        await git.raw("update-ref", branch, repository.base, "")
    code, out, err = await git.attempt(*FAST_FORWARD, result)
    if code == 0 and await git.text("rev-parse", "HEAD") == result:
        return Delivery(True)
    if repository.unborn:
        await git.attempt("update-ref", "-d", branch, repository.base)
    lines = os.fsdecode(err or out).splitlines()
    files = [line.strip() for line in lines if line.startswith("\t")]
    if files:
        untracked = any("untracked" in line for line in lines if not line.startswith("\t"))
        return blocked_by_files(files, take, UNTRACKED if untracked else UNCOMMITTED)
    reason = git_message((err or out).partition(b"\n")[0])
    return Delivery(False, reason or "git refused the fast-forward", take, moved=True)


async def moved_branch(repository: Repository, stands: str, take: str) -> Delivery:
    """Describe a moved branch. New commits can take the result on top; if old ones are gone, the user must decide."""
    git, base = repository.git, repository.base
    if stands and not repository.unborn and await git.ok("merge-base", "--is-ancestor", base, stands):
        return Delivery(False, f"{repository.branch} has moved during the run", take, moved=True, stands=stands)
    return Delivery(False, f"{repository.branch} was rewritten during the run", take, moved=True)


# What is in the way, and what to do about it first.
UNCOMMITTED = ("your uncommitted changes in {} are in the way", "commit, stash or move those files, then")
UNTRACKED = ("your files that git does not track ({}) are in the way", "commit or move those files, then")
DELETED = ("you have deleted {}, which the result changes", "commit that, or restore it with `git restore`, then")


def blocked_by_files(files: Sequence[str], take: str, what: tuple[str, str]) -> Delivery:
    """Describe the files that keep the branch from moving, and what to do."""
    named = ", ".join(files[:5]) + (" …" if len(files) > 5 else "")
    reason, first = what
    return Delivery(False, reason.format(named), f"{first} {take}", moved=True)


async def diff_numstat(git: Git, old: str, new: str) -> dict[str, tuple[int, int]]:
    """Return lines added and removed by file, as git counts them."""
    counts = {}
    words = ("diff", "--numstat", "-z", "--no-renames", "--no-ext-diff", "--no-textconv", old, new)
    for line in await git.paths(*words):
        added, removed, path = line.split("\t", 2)
        counts[path] = (0, 0) if added == "-" else (int(added), int(removed))
    return counts


async def free_namespace(git: Git, wanted: str) -> str:
    """Return a prefix for our branches that no branch of the user's blocks."""
    name = wanted
    while await git.ok("show-ref", "--verify", "--quiet", f"refs/heads/{name}"):
        name += "-agents"
    return name


async def set_branch(git: Git, branch: str, commit: str) -> None:
    await git.raw("update-ref", f"refs/heads/{branch}", commit)


async def delete_branches(git: Git, branches: Sequence[str]) -> None:
    orders = "".join(f"delete refs/heads/{branch}\n" for branch in branches).encode()
    if (await git.attempt("update-ref", "--stdin", input=orders))[0]:
        for branch in branches:  # one that cannot be deleted must not keep the others
            await git.attempt("update-ref", "-d", f"refs/heads/{branch}")
