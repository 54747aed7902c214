"""Check commits that come from elsewhere: they must stand on the base and change only what they may."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from orchestra.judge.manifests import manifest_reader
from orchestra.judge.permit import Permit
from orchestra.workspace.git import Git, existing_commits

NO_FILE = "000000"
REGULAR = (NO_FILE, "100644", "100755")


class FileChange(NamedTuple):
    path: str
    mode: str
    before: str
    after: str


async def explain_bad_commits(
    git: Git, base: str, commits: Collection[str], others: Mapping[str, int], permit: Permit
) -> str:
    """Return in a sentence why the commits cannot be used; empty if they can. `others`: the files of other tasks, with
    the task."""
    if missing := set(commits) - set(existing_commits(git.folder, sorted(commits))):
        return f"Its commit {min(missing)[:12]} is missing."
    asked = "\n".join([*sorted(commits), f"^{base}"]).encode()
    lines = [line.split() for line in (await git.text("rev-list", "--parents", "--stdin", input=asked)).splitlines()]
    known = {line[0] for line in lines} | {base}
    for commit, *parents in lines:
        if len(parents) != 1 or parents[0] not in known:
            return f"Its commit {commit[:12]} does not stand on the plan's base."
    for change in await list_changes(git, [line[0] for line in lines]):
        if why := await explain_bad_change(git, change, others, permit):
            return f"Its work changes {change.path}, {why}."
    return ""


async def list_changes(git: Git, commits: Collection[str]) -> list[FileChange]:
    """List what commits change against their parents."""
    words = ("diff-tree", "--stdin", "-r", "-z", "--no-renames", "--no-commit-id", "--no-abbrev")
    fields = await git.paths(*words, input="".join(f"{commit}\n" for commit in commits).encode())
    changes = []
    for about, path in zip(fields[::2], fields[1::2], strict=True):
        _, mode, before, after, _ = about.removeprefix(":").split(" ")
        changes.append(FileChange(path, mode, before, after))
    return changes


async def explain_bad_change(git: Git, change: FileChange, others: Mapping[str, int], permit: Permit) -> str:
    if change.mode not in REGULAR:
        return "which is no regular file"
    if change.path in others:
        return f"a file of task {others[change.path]}"
    if manifest_reader(change.path) is None:
        contents = (b"", b"")
    else:
        contents = (await read_blob(git, change.before), await read_blob(git, change.after))
    refused = permit.judge_edit(change.path, *contents).refused
    return f"which nobody named ({refused})" if refused else ""


async def read_blob(git: Git, blob: str) -> bytes:
    return await git.raw("cat-file", "blob", blob) if blob.strip("0") else b""
