"""`clean`: delete what runs have left. It lists first, and keeps what is in use or not merged."""

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

from orchestra.cli.command_io import add_repository_arguments, print_plain, print_raw
from orchestra.cli.find import LATEST, KnownRun, RunIndex, match_run_name, open_run_index
from orchestra.cli.parser import CommandParser
from orchestra.errors import StoreError, UsageError
from orchestra.events import Event, RunResumed, RunStarted
from orchestra.journal import jsonl
from orchestra.journal.jsonl import files_by_run
from orchestra.journal.ownership import acquire_run, describe_owner
from orchestra.report.phrases import plural
from orchestra.workspace import by_hand, leftovers
from orchestra.workspace.git import Git
from orchestra.workspace.leftovers import RunBranch

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
HOLD = 600.0  # seconds; deleting one run takes less


@dataclass
class RunLeftovers:
    """What belongs to one run and is to be deleted."""

    name: str
    run: KnownRun | None
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
        parts += ["its events in the store"] if self.run else []
        ended = self.run and self.run.run.ended
        ending = "without events" if self.run is None else f"exit {ended.exit_code}" if ended else "not ended"
        return f"{self.name}  {ending}: {', '.join(parts)}"


def add_clean_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", default=[], help="a run by its whole name, or `latest` (default: all runs)"
    )
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        type=parse_age,
        default=0.0,
        help="only runs that ended so long ago (started, if they did not end): 45m, 12h, 30d, 8w",
    )
    for flag, text in (
        ("--keep-failed", "only runs that ended with exit code 0"),
        ("--dry-run", "only list what would be deleted"),
        ("--yes", "do not ask; required without a terminal"),
        ("--force", "also delete branches that are not merged"),
    ):
        parser.add_argument(flag, action="store_true", help=text)
    add_repository_arguments(parser)


def cmd_clean(arguments: Namespace) -> int:
    """Delete what runs have left: worktrees of runs that died, side branches, log files, events in the store. It lists
    first what it would delete, and asks. It keeps a run that a process works on, and a branch that is not merged."""
    with open_run_index(arguments) as index:
        going, kept = asyncio.run(find_leftovers(index, arguments))
        lines = [*(leaving.describe() for leaving in going), *(f"kept: {reason}" for reason in kept)]
        print_plain("\n".join(lines or ["There is nothing to clean."]))
        if arguments.dry_run or not going or not is_deletion_confirmed(arguments.yes, len(going)):
            return 0
        problems = asyncio.run(delete_leftovers(index, going))
    if problems:
        print_plain("\n".join(problems))
    return 1 if problems else 0


def parse_age(word: str) -> float:
    match = re.fullmatch(r"(\d{1,6})([smhdw])", word)
    if not match:
        raise ArgumentTypeError(f"{word!r} is not an age: give 45m, 12h, 30d or 8w")
    return int(match[1]) * UNITS[match[2]]


def is_deletion_confirmed(yes: bool, count: int) -> bool:
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("nothing was deleted: without a terminal to ask on, clean needs --yes.")
    print_raw(f"Delete all this of {plural(count, 'run')}? [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def find_leftovers(index: RunIndex, arguments: Namespace) -> tuple[list[RunLeftovers], list[str]]:
    """Return what is to be deleted, by run, and the reasons for what is kept."""
    git, files = Git(index.root), files_by_run(index.logs)
    branches, refs = await leftovers.list_run_branches(git), await leftovers.list_imported_refs(git)
    runs = {run.name: run for run in reversed(index.runs) if not run.elsewhere or run.name in arguments.runs}
    runs |= {run.name: run for run in index.runs if not run.elsewhere}
    names = sorted({*runs, *files, *(branch.stamp for branch in branches)})
    kept, going = list[str](), list[RunLeftovers]()
    for name in select_runs(arguments, names, runs, kept):
        run = runs.get(name)
        if run and (owner := index.find_owner(run)):
            kept.append(f"{name}, because {describe_owner(owner)} works on it")
            continue
        lent = by_hand.list_lent(index.logs, name)
        if lent and not arguments.force:
            kept.append(f"{name}, because you have work of it in {lent[0]} (--force deletes that too)")
            continue
        leaving = RunLeftovers(name, run)
        if not (run and run.elsewhere):
            leaving.files = [*(consoles_of(index, run) if run else []), *files.get(name, [])]
            run_branches = [branch for branch in branches if branch.stamp == name]
            leaving.branches = list(deletable_branches(run_branches, arguments.force, has_succeeded(run), kept))
            leaving.refs = [ref for ref, stamp in refs if stamp == name]
            folders = worktree_folders(index, run) if run else []
            leaving.worktrees = [*await leftovers.list_worktrees(git, folders), *lent]
            leaving.folders = [folder for folder in folders if leftovers.is_run_folder(folder)]
        if run or leaving.files or leaving.branches:
            going.append(leaving)
    return going, kept


def select_runs(arguments: Namespace, names: list[str], runs: dict[str, KnownRun], kept: list[str]) -> Iterator[str]:
    selected = list(dict.fromkeys(resolve_run_name(name, names, runs) for name in arguments.runs)) or names
    age = arguments.older_than
    young = [name for name in selected if age and last_activity(name, runs.get(name)) > time.time() - age]
    failed = [
        name for name in selected if arguments.keep_failed and not has_succeeded(runs.get(name)) and name not in young
    ]
    kept += [f"{plural(len(young), 'run')} younger than that"] if young else []
    kept += [f"{plural(len(failed), 'run')} that did not end with exit code 0"] if failed else []
    yield from (name for name in selected if name not in young and name not in failed)


def resolve_run_name(name: str, names: list[str], runs: dict[str, KnownRun]) -> str:
    """Require the whole name: after the run was deleted, the start of its name may match another run."""
    if name in LATEST and runs:
        return max(runs.values(), key=lambda run: run.run.first.time).name
    if name not in names and (match := match_run_name(name, names)):
        raise UsageError(f"there is no run {name!r} here.", hint=f"To clean {match}, give its whole name.")
    return name


def last_activity(name: str, run: KnownRun | None) -> float:
    """Return seconds since 1970. Without events, the name of the run says when it started."""
    if run:
        return (run.run.last or run.run.first).time / 1000
    try:
        return time.mktime(time.strptime(name[:15], "%Y%m%d_%H%M%S"))
    except (ValueError, OverflowError):
        return time.time()


def has_succeeded(run: KnownRun | None) -> bool:
    return bool(run and run.run.ended and run.run.ended.exit_code == 0)


def deletable_branches(branches: Iterable[RunBranch], force: bool, done: bool, kept: list[str]) -> Iterator[RunBranch]:
    """`done`: the run is complete, so branches of attempts that lost against a better one may be deleted."""
    for branch in branches:
        if branch.checked_out:
            kept.append(f"branch {branch.name}, because it is checked out in {branch.checked_out}")
        elif not (branch.merged or force or (done and branch.is_of_attempt)):
            kept.append(f"branch {branch.name}, because none of your branches has its commits (--force deletes it)")
        else:
            yield branch


def worktree_folders(index: RunIndex, run: KnownRun) -> list[Path]:
    """Return where the run had its worktrees, if it ran in this repository: an event may name any folder."""
    if run.run.started is None or run.run.started.repository != str(index.root):
        return []
    return [Path(session.folder) for session in read_sessions(index, run) if session.folder]


def consoles_of(index: RunIndex, run: KnownRun) -> list[Path]:
    """Return what the sessions that `serve` started have printed."""
    launches = (session.launch for session in read_sessions(index, run))
    paths = [index.logs / f"console_{launch}.txt" for launch in launches if launch.isalnum()]
    return [path for path in paths if path.is_file()]


def read_sessions(index: RunIndex, run: KnownRun) -> list[RunStarted | RunResumed]:
    """Read how each session of a run began."""
    events: Iterable[Event] = index.store.read_events(run.key, run.name, kinds=(RunStarted.kind, RunResumed.kind))
    if not events and index.has_files(run):
        events = jsonl.read_run_log(index.logs, run.name).events
    return [event.payload for event in events if isinstance(event.payload, RunStarted | RunResumed)]


async def delete_leftovers(index: RunIndex, going: list[RunLeftovers]) -> list[str]:
    """Delete, and return a sentence about each thing that could not be. The file by which a run is found goes last."""
    git, problems = Git(index.root), list[str]()
    for leaving in going:
        key = leaving.run.key if leaving.run else index.key
        # Owning the run keeps others from resuming it meanwhile.
        if owner := acquire_run(index.store, key, leaving.name, f"clean {os.getpid()}", HOLD):
            problems.append(f"Run {leaving.name} was kept: {describe_owner(owner)} has resumed it.")
            continue
        problems += [problem async for problem in delete_git_leftovers(git, leaving)]
        index.store.delete_run(key, leaving.name)
        for path in leaving.files:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                problems.append(f"{path} could not be deleted: {error.strerror}.")
    try:
        index.store.compact()
    except StoreError as error:
        problems.append(f"The space of the store could not be freed: {error}")
    return problems


async def delete_git_leftovers(git: Git, leaving: RunLeftovers) -> AsyncIterator[str]:
    for path in leaving.worktrees:
        await git.remove_worktree(path)
    for folder in leaving.folders:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    for branch in leaving.branches:
        if not await leftovers.remove_ref(git, branch.ref, branch.commit):
            yield f"Branch {branch.name} was kept: it has moved, or git could not delete it."
    for ref in leaving.refs:
        await leftovers.remove_ref(git, ref)
