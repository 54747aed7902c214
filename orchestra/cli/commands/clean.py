"""`clean`: take away what runs have left. It shows first, and never touches what is in use or not merged yet."""

import asyncio
import os
import re
import shutil
import sys
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from orchestra.cli.command_io import CommandParser, print_plain, print_raw
from orchestra.cli.find import LATEST, KnownRun, RunIndex, match_run_name, open_run_index
from orchestra.errors import StoreError, UsageError
from orchestra.events import Event, RunResumed, RunStarted
from orchestra.journal import jsonl
from orchestra.journal.ownership import describe_owner, is_owner_dead, machine_identity
from orchestra.journal.run_files import files_by_run
from orchestra.journal.store import Owner, Store
from orchestra.report.phrases import plural
from orchestra.workspace import by_hand, leftovers
from orchestra.workspace.git import Git
from orchestra.workspace.leftovers import RunBranch

USAGE = """usage: aider-orchestrator clean [RUN...] [--older-than 30d] [--keep-failed] [--dry-run] [--yes] [--force]
       [--repo PATH] [--store URL]

Delete what runs have left: worktrees of runs that died, side branches, log files, their events in the store.
All runs of this repository, or those named (in full, or `latest`). It shows first what it would delete, and asks.
A run that somebody is at work on is kept, and so is a branch whose commits are on none of yours. Also called `cleanup`.

  --older-than AGE  only runs that ended (or began, if they never ended) so long ago: 45m, 12h, 30d, 8w
  --keep-failed     only runs that ended with exit code 0
  --dry-run         only show
  --yes             do not ask; needed where there is no terminal
  --force           also delete branches that are not merged
"""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
HOLD = 600_000  # ms in which one run is surely deleted


@dataclass
class RunLeftovers:
    """All that belongs to one run and is to go."""

    name: str
    known: KnownRun | None
    files: list[Path] = field(default_factory=list)
    branches: list[RunBranch] = field(default_factory=list)
    worktrees: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    refs: list[str] = field(default_factory=list)

    def describe(self) -> str:
        size = sum(path.lstat().st_size for path in self.files)
        parts = [f"{plural(len(self.files), 'file')} ({size / 1e6:.1f} MB)"] if self.files else []
        parts += [f"branch {branch.name}" for branch in self.branches]
        parts += [f"worktree {path}" for path in self.worktrees]
        parts += [f"folder {path}" for path in self.folders]
        parts += ["the commits it was imported with"] if self.refs else []
        parts += ["its events in the store"] if self.known else []
        return f"{self.name}  {describe_ending(self.known)}: {', '.join(parts)}"


def cmd_clean(argv: list[str]) -> int:
    words = CommandParser(USAGE)
    words.add_argument("runs", nargs="*", default=[])
    words.add_argument("--older-than", type=parse_age, default=0.0)
    for flag in ("--keep-failed", "--dry-run", "--yes", "--force"):
        words.add_argument(flag, action="store_true")
    given = words.parse(argv)
    with open_run_index(given) as here:
        going, kept = asyncio.run(find_leftovers(here, given))
        lines = [*(one.describe() for one in going), *(f"kept: {why}" for why in kept)]
        print_plain("\n".join(lines or ["There is nothing to clean."]))
        if given.dry_run or not going or not is_deletion_confirmed(given.yes, len(going)):
            return 0
        problems = asyncio.run(delete_leftovers(here, going))
    if problems:
        print_plain("\n".join(problems))
    return 1 if problems else 0


def parse_age(word: str) -> float:
    found = re.fullmatch(r"(\d{1,6})([smhdw])", word)
    if not found:
        raise ArgumentTypeError(f"{word!r} is no age: say 45m, 12h, 30d or 8w")
    return int(found[1]) * UNITS[found[2]]


def is_deletion_confirmed(yes: bool, count: int) -> bool:
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("nothing was deleted: without a terminal to ask on, clean needs --yes.")
    print_raw(f"Delete all this of {plural(count, 'run')}? [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


# --- what is to go --------------------------------------------------------------------------------------------------


async def find_leftovers(here: RunIndex, given: Namespace) -> tuple[list[RunLeftovers], list[str]]:
    """The runs with what of each is to go, and why other things stay."""
    git = Git(here.root)
    files, branches, refs = (
        files_by_run(here.logs),
        await leftovers.list_run_branches(git),
        await leftovers.list_imported_refs(git),
    )
    known = {one.name: one for one in reversed(here.runs) if not one.elsewhere or one.name in given.runs}
    known |= {one.name: one for one in here.runs if not one.elsewhere}
    names = sorted({*known, *files, *(branch.stamp for branch in branches)})
    kept, going = list[str](), list[RunLeftovers]()
    for name in select_runs(given, names, known, kept):
        one = known.get(name)
        if one and (owner := here.find_owner(one)):
            kept.append(f"{name}, since {describe_owner(owner)} is at work on it")
            continue
        taken = by_hand.list_lent(here.logs, name)
        if taken and not given.force:
            kept.append(f"{name}, since you have work of it in {taken[0]} (--force deletes that too)")
            continue
        leaving = RunLeftovers(name, one)
        if not (one and one.elsewhere):
            leaving.files = files.get(name, [])
            mine = [branch for branch in branches if branch.stamp == name]
            leaving.branches = list(deletable_branches(mine, given.force, has_succeeded(one), kept))
            leaving.refs = [ref for ref, stamp in refs if stamp == name]
            folders = worktree_folders(here, one) if one else []
            leaving.worktrees = [*await leftovers.list_worktrees(git, folders), *taken]
            leaving.folders = [folder for folder in folders if leftovers.is_run_folder(folder)]
        if one or leaving.files or leaving.branches:
            going.append(leaving)
    return going, kept


def select_runs(given: Namespace, names: list[str], known: dict[str, KnownRun], kept: list[str]) -> Iterator[str]:
    asked = list(dict.fromkeys(resolve_run_name(name, names, known) for name in given.runs)) or names
    since = time.time() - given.older_than
    young = [name for name in asked if given.older_than and last_activity(name, known.get(name)) > since]
    failed = [name for name in asked if given.keep_failed and not has_succeeded(known.get(name)) and name not in young]
    kept += [f"{plural(len(young), 'run')} younger than that"] if young else []
    kept += [f"{plural(len(failed), 'run')} that did not end with exit code 0"] if failed else []
    yield from (name for name in asked if name not in young and name not in failed)


def resolve_run_name(name: str, names: list[str], known: dict[str, KnownRun]) -> str:
    """In full: where the run that is meant is gone already, the beginning of its name may be that of another."""
    if name in LATEST and known:
        return max(known.values(), key=lambda one: one.run.first.time).name
    if name not in names and (meant := match_run_name(name, names)):
        raise UsageError(f"there is no run {name!r} here.", hint=f"To clean {meant}, give its whole name.")
    return name


def last_activity(name: str, known: KnownRun | None) -> float:
    """Seconds since 1970. Of a run that only its files or branches tell of, its name says when it began."""
    if known:
        return (known.run.last or known.run.first).time / 1000
    try:
        return time.mktime(time.strptime(name[:15], "%Y%m%d_%H%M%S"))
    except (ValueError, OverflowError):
        return time.time()


def has_succeeded(known: KnownRun | None) -> bool:
    return bool(known and known.run.ended and known.run.ended.exit_code == 0)


def describe_ending(known: KnownRun | None) -> str:
    if known is None:
        return "without events"
    return f"exit {known.run.ended.exit_code}" if known.run.ended else "not ended"


def deletable_branches(branches: Iterable[RunBranch], force: bool, done: bool, kept: list[str]) -> Iterator[RunBranch]:
    """`done`: the run has all that was asked for, so that attempts of which a better one was kept may go."""
    for branch in branches:
        if branch.checked_out:
            kept.append(f"branch {branch.name}, since it is checked out in {branch.checked_out}")
        elif not (branch.merged or force or (done and branch.is_of_attempt)):
            kept.append(f"branch {branch.name}, since none of your branches has its commits (--force deletes it)")
        else:
            yield branch


def worktree_folders(here: RunIndex, known: KnownRun) -> list[Path]:
    """Where the run had its worktrees, if it ran in this very repository: an event may name any folder."""
    events: Iterable[Event] = here.store.read_events(known.key, known.name, kinds=(RunStarted.kind, RunResumed.kind))
    if not events and here.has_files(known):
        events = jsonl.read_run_log(here.logs, known.name).events
    if known.run.started is None or known.run.started.repository != str(here.root):
        return []
    begun = [event.payload for event in events if isinstance(event.payload, RunStarted | RunResumed)]
    return [Path(session.folder) for session in begun if session.folder]


# --- going ----------------------------------------------------------------------------------------------------------


async def delete_leftovers(here: RunIndex, going: list[RunLeftovers]) -> list[str]:
    """Sentences about what could not be deleted. The file by which a run is found goes last."""
    git, problems = Git(here.root), list[str]()
    for one in going:
        key = one.known.key if one.known else here.key
        # Whoever would take the run up now is told that it is not free.
        if holder := own_run(here.store, key, one.name):
            problems.append(f"Run {one.name} was kept: {describe_owner(holder)} has taken it up.")
            continue
        problems += [problem async for problem in delete_git_leftovers(git, one)]
        here.store.delete_run(key, one.name)
        for path in one.files:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                problems.append(f"{path} could not be deleted: {error.strerror}.")
    try:
        here.store.compact()
    except StoreError as error:
        problems.append(f"The store's space could not be given back: {error}")
    return problems


def own_run(store: Store, key: str, run: str) -> Owner | None:
    """Hold the run. Who has it, when it is somebody who lives."""
    me = (f"clean {os.getpid()}", machine_identity(), os.getpid(), HOLD)
    holder = store.acquire_run(key, run, *me)
    if holder is None or not is_owner_dead(holder):
        return holder
    store.release_run(key, run, holder.owner)
    return store.acquire_run(key, run, *me)


async def delete_git_leftovers(git: Git, one: RunLeftovers) -> AsyncIterator[str]:
    for path in one.worktrees:
        await leftovers.remove_worktree(git, path)
    for folder in one.folders:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    for branch in one.branches:
        if not await leftovers.remove_ref(git, branch.ref, branch.commit):
            yield f"Branch {branch.name} was kept: it has moved, or git could not delete it."
    for ref in one.refs:
        await leftovers.remove_ref(git, ref)
