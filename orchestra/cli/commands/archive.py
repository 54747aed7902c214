"""`export` and `import`: a run as one file, for another machine or another clone."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from orchestra import __version__
from orchestra.cli import diffs
from orchestra.cli.command_io import CommandParser, print_plain
from orchestra.cli.find import KnownRun, RunIndex, open_run_index
from orchestra.errors import StoreError, UsageError
from orchestra.journal import run_archive as parcels
from orchestra.journal.run_archive import RunArchive
from orchestra.journal.run_files import files_by_run
from orchestra.report.detail import build_detail
from orchestra.report.fold import fold_events
from orchestra.workspace import leftovers
from orchestra.workspace.git import Git, existing_commits

EXPORT_USAGE = """usage: aider-orchestrator export [RUN] [-o FILE] [--repo PATH] [--store URL]

Write a run (the latest, or RUN) into one file: its events, patches, outputs and summary, and the commits that it made.
Without -o the file is run_RUN.tar.gz in the current directory.
"""
IMPORT_USAGE = """usage: aider-orchestrator import FILE [--repo PATH] [--store URL]

Bring an exported run in, so that `runs`, `status`, `logs`, `show` and `diff` tell of it here. It cannot be resumed
here. Its branches are made here too, if the commit that the run began with is in this repository.
"""


def cmd_export(argv: list[str]) -> int:
    words = CommandParser(EXPORT_USAGE)
    words.add_argument("run", nargs="?", default="")
    words.add_argument("-o", "--output", default="")
    given = words.parse(argv)
    with open_run_index(given) as here, tempfile.TemporaryDirectory(prefix="aider-orchestrator-") as folder:
        known = here.find(given.run)
        target = Path(given.output or f"run_{known.name}.tar.gz")
        parcel = asyncio.run(export_archive(here, known, Path(folder) / parcels.BUNDLE))
        parcels.write_run_archive(target, parcel, __version__)
    open_end = "" if known.run.last else " The run has not ended: this is what it came to so far."
    print_plain(f"{target} has run {known.name}: {len(parcel.events):,} events, {len(parcel.files)} files.{open_end}")
    return 0


async def export_archive(here: RunIndex, known: KnownRun, bundle: Path) -> RunArchive:
    git, events = Git(here.root), list(here.read_log(known).events)
    report, tries = fold_events(events), build_detail(events)
    own = [] if known.elsewhere else await leftovers.list_run_branches(git)
    branches = {branch.name: branch.commit for branch in own if branch.stamp == known.name}
    unborn = known.run.started is not None and known.run.started.unborn
    commits = [*branches.values(), diffs.result_commit(events), *(task.commit for task in report.tasks.values())]
    commits += [attempt.commit for task in report.tasks for attempt in tries.all_attempts(task)]
    here_too = existing_commits(here.root, commits)
    names = {commit: commit for commit in dict.fromkeys(commits) if commit in here_too}
    has = await leftovers.write_bundle(git, names, "" if unborn else report.base, bundle)
    files = [] if known.elsewhere else files_by_run(here.logs).get(known.name, [])
    beside = [path for path in files if path.suffix != ".jsonl" and not path.is_symlink()]
    return RunArchive(known.name, report.base, branches, events, beside, bundle if has else None)


def cmd_import(argv: list[str]) -> int:
    words = CommandParser(IMPORT_USAGE)
    words.add_argument("file", nargs="?", default="")
    given = words.parse(argv)
    if not given.file:
        raise UsageError("say which file to import.", hint="See --help.")
    with tempfile.TemporaryDirectory(prefix="aider-orchestrator-") as folder:
        parcel = parcels.read_run_archive(Path(given.file), Path(folder))
        with open_run_index(given, new=True) as here:
            refuse_known_run(here, parcel.run)
            notes = asyncio.run(import_archive(here, parcel))
    print_plain("\n".join([f"Run {parcel.run} is here now: {len(parcel.events):,} events.", *notes]))
    return 0


def refuse_known_run(here: RunIndex, run: str) -> None:
    if any(known.name == run and not known.elsewhere for known in here.runs) or run in files_by_run(here.logs):
        raise UsageError(f"run {run} is here already: nothing was brought in. To take it away: clean {run}.")


async def import_archive(here: RunIndex, parcel: RunArchive) -> list[str]:
    """The events last, for they make the run known; they go into the store alone, so that nobody resumes it here."""
    notes = await import_commits(here, parcel)
    try:
        for path in parcel.files:
            shutil.copyfile(path, here.logs / path.name)
        here.store.append_events(here.key, parcel.events)
    except (OSError, StoreError) as error:
        for path in parcel.files:
            (here.logs / path.name).unlink(missing_ok=True)
        raise UsageError(f"run {parcel.run} could not be brought in: {error}") from error
    return notes


async def import_commits(here: RunIndex, parcel: RunArchive) -> list[str]:
    """Sentences about what could not be brought in."""
    git = Git(here.root)
    if parcel.bundle is None:
        return []
    if not await leftovers.fetch_bundle(git, parcel.bundle, parcel.run):
        base = parcel.base[:10]
        return [f"Its commits were left out: git could not put them on {base}, so `diff` has nothing to show here."]
    return [note async for note in import_branches(git, parcel)]


async def import_branches(git: Git, parcel: RunArchive) -> AsyncIterator[str]:
    """Branches of this run, never of another, and never over one that is here."""
    for name, commit in parcel.branches.items():
        ref = f"refs/heads/{name}"
        named = leftovers.BRANCH.fullmatch(ref)
        if not (named and named["stamp"] == parcel.run and existing_commits(git.folder, [commit])):
            yield f"Branch {name} was left out: it is none of this run."
        elif await git.ok("show-ref", "--verify", "--quiet", ref):
            yield f"Branch {name} was left as it is here."
        elif not await git.ok("update-ref", ref, commit, ""):
            yield f"Branch {name} was left out: git could not make it."
