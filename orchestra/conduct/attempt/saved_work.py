"""Keep what an attempt leaves: branches, patches, and its agent's output."""

import contextlib
import hashlib
import math
import shutil
from dataclasses import replace
from pathlib import Path

from orchestra import events
from orchestra.conduct.core.context import Context, Run
from orchestra.errors import GitFailed
from orchestra.judge.retry import OBJECTS, ROOM, machine_remedy
from orchestra.model import Judgement, Task
from orchestra.workspace import collect

DIFF_LIMIT = 6_000  # bytes
FULL = 64 << 10  # bytes of free space below which the disk counts as full


async def keep_branch(run: Run, task: int, number: int, commit: str) -> None:
    """Point the task's own branch at the commit."""
    branch = run.context.branch(f"task{task}")
    await run.services.branches.set_branch(branch, commit)
    run.emit(events.BranchKept(branch), task, number)


async def keep_patch(context: Context, task: Task, number: int, old: str, new: str) -> str:
    """Write the difference of two commits to a patch, and return its path relative to the repository."""
    try:
        content = await collect.binary_diff(context.git, old, new) if old != new else b""
    except (GitFailed, OSError):
        return ""
    if not content:
        return ""
    path = context.logs / f"{task.agent}_{context.stamp}_attempt{number}.patch"
    path.write_bytes(content)
    return str(path.relative_to(context.repository.root))


def keep_output(run: Run, task: Task, number: int, output: str) -> Path:
    """Write the agent's output to a file. Return the task's log instead if there was no output or the disk is full."""
    context = run.context
    path = context.logs / f"{task.agent}_{context.stamp}_attempt{number}.out"
    with contextlib.suppress(OSError):
        if output:
            path.write_text(context.secrets.scrub(output), "utf-8")
            return path
    return run.services.journal.agent_log(task.id)


def shorten_diff(diff: bytes) -> str:
    """Cut a diff for the next attempt. The digest of the whole diff tells whether two attempts made the same change."""
    text = diff[:DIFF_LIMIT].decode("utf-8", "replace")
    return text if len(diff) <= DIFF_LIMIT else f"{text}\n(and more: {hashlib.sha256(diff).hexdigest()[:16]})"


def with_crash_remedy(context: Context, crashed: Judgement, log: Path) -> Judgement:
    """Add a remedy to a crash: what to do about the machine, or which file to read."""
    places = (context.folder, context.repository.root)
    fullest = min(places, key=free_disk_space)
    remedy = machine_remedy(crashed.cause) or (ROOM if free_disk_space(fullest) < FULL else "")
    if not remedy:
        path = log.relative_to(context.repository.root)
        return replace(crashed, remedy=f"See {path}; if it happens again, report it as a bug with that file.")
    guessed = next((each for each in places if str(each) in crashed.cause), places[-1])
    location = {ROOM: fullest, OBJECTS: context.repository.root}.get(remedy, guessed)
    return replace(crashed, remedy=remedy.format(place=location), final=True)


def free_disk_space(folder: Path) -> float:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return math.inf
