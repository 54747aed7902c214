"""`export` and `import`: a run as one file, for another machine or another clone."""

import asyncio
import shutil
import tempfile
from argparse import Namespace
from collections.abc import AsyncIterator
from pathlib import Path

from orchestra import __version__
from orchestra.cli.command_io import add_repository_arguments, add_run_argument, print_plain
from orchestra.cli.commands.diff import result_commit
from orchestra.cli.find import KnownRun, RunIndex, open_run_index
from orchestra.cli.parser import CommandParser
from orchestra.errors import StoreError, UsageError
from orchestra.journal import run_archive
from orchestra.journal.jsonl import files_by_run
from orchestra.journal.run_archive import RunArchive
from orchestra.report.detail import build_detail
from orchestra.report.fold import fold_events
from orchestra.workspace import leftovers
from orchestra.workspace.git import Git, existing_commits


def add_export_arguments(parser: CommandParser) -> None:
    add_run_argument(parser)
    add_repository_arguments(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", default="", help="the file to write (default: run_RUN.tar.gz here)"
    )


def cmd_export(arguments: Namespace) -> None:
    """Write a run into one file: its events, patches, outputs and summary, and the commits that it made."""
    with open_run_index(arguments) as index, tempfile.TemporaryDirectory(prefix="aider-orchestrator-") as folder:
        run = index.find(arguments.run)
        target = Path(arguments.output or f"run_{run.name}.tar.gz")
        archive = asyncio.run(export_archive(index, run, Path(folder) / run_archive.BUNDLE))
        run_archive.write_run_archive(target, archive, __version__)
    unfinished = "" if run.run.last else " The run has not ended; later events are not in it."
    print_plain(f"{target} has run {run.name}: {len(archive.events):,} events, {len(archive.files)} files.{unfinished}")


async def export_archive(index: RunIndex, run: KnownRun, bundle: Path) -> RunArchive:
    git, events = Git(index.root), list(index.read_log(run).events)
    report, detail = fold_events(events), build_detail(events)
    run_branches = [] if run.elsewhere else await leftovers.list_run_branches(git)
    branches = {branch.name: branch.commit for branch in run_branches if branch.stamp == run.name}
    unborn = run.run.started is not None and run.run.started.unborn
    commits = [*branches.values(), result_commit(events), *(task.commit for task in report.tasks.values())]
    commits += [attempt.commit for task in report.tasks for attempt in detail.all_attempts(task)]
    existing = existing_commits(index.root, commits)
    names = {commit: commit for commit in dict.fromkeys(commits) if commit in existing}
    has_bundle = await leftovers.write_bundle(git, names, "" if unborn else report.base, bundle)
    files = [] if run.elsewhere else files_by_run(index.logs).get(run.name, [])
    other_files = [path for path in files if path.suffix != ".jsonl" and not path.is_symlink()]
    return RunArchive(run.name, report.base, branches, events, other_files, bundle if has_bundle else None)


def add_import_arguments(parser: CommandParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a file that `export` has written")
    add_repository_arguments(parser)


def cmd_import(arguments: Namespace) -> None:
    """Read an exported run, so that `runs`, `status`, `logs`, `show` and `diff` know it here. It cannot be resumed
    here. Its branches are created if the commit that the run started from is in this repository."""
    with tempfile.TemporaryDirectory(prefix="aider-orchestrator-") as folder:
        archive = run_archive.read_run_archive(Path(arguments.file), Path(folder))
        with open_run_index(arguments, new=True) as index:
            name = archive.run
            if any(run.name == name and not run.elsewhere for run in index.runs) or name in files_by_run(index.logs):
                hint = f"To delete it: aider-orchestrator clean {name}"
                raise UsageError(f"run {name} is here already; nothing was imported.", hint=hint)
            notes = asyncio.run(import_archive(index, archive))
    print_plain("\n".join([f"Run {archive.run} was imported: {len(archive.events):,} events.", *notes]))


async def import_archive(index: RunIndex, archive: RunArchive) -> list[str]:
    """Import files and commits, then the events, which make the run known. These go into the store only, not into log
    files, because `resume` reads those and the run's work is elsewhere."""
    notes = await import_commits(index, archive)
    try:
        for path in archive.files:
            shutil.copyfile(path, index.logs / path.name)
        index.store.append_events(index.key, archive.events)
    except (OSError, StoreError) as error:
        for path in archive.files:
            (index.logs / path.name).unlink(missing_ok=True)
        raise UsageError(f"run {archive.run} could not be imported: {error}") from error
    return notes


async def import_commits(index: RunIndex, archive: RunArchive) -> list[str]:
    """Import the commits and branches. Return a sentence about each that could not be imported."""
    git = Git(index.root)
    if archive.bundle is None:
        return []
    if not await leftovers.fetch_bundle(git, archive.bundle, archive.run):
        base = archive.base[:10]
        return [f"Its commits were left out: git could not put them on {base}, so `diff` has nothing to show here."]
    return [note async for note in import_branches(git, archive)]


async def import_branches(git: Git, archive: RunArchive) -> AsyncIterator[str]:
    """Create the branches of this run, and no others, unless they exist."""
    for name, commit in archive.branches.items():
        ref = f"refs/heads/{name}"
        match = leftovers.BRANCH.fullmatch(ref)
        if not (match and match["stamp"] == archive.run and existing_commits(git.folder, [commit])):
            yield f"Branch {name} was left out: it is not one of this run."
        elif await git.ok("show-ref", "--verify", "--quiet", ref):
            yield f"Branch {name} was left as it is here."
        elif not await git.ok("update-ref", ref, commit, ""):
            yield f"Branch {name} was left out: git could not create it."
