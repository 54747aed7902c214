"""Find runs: in the log folder of this repository, and in the store, which may have runs of other machines."""

import contextlib
import difflib
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from orchestra.cli.load import read_settings
from orchestra.conduct.core.locations import DATABASE, LOGS, store_key
from orchestra.errors import AmbiguousRun, UsageError
from orchestra.events import Event, EventLog
from orchestra.journal import jsonl
from orchestra.journal.open_store import open_own_store, open_store
from orchestra.journal.ownership import is_owner_dead
from orchestra.journal.store import RUN_MARKS, Owner, Store, StoredRun, run_from_marks
from orchestra.settings import Settings
from orchestra.wording import join_some
from orchestra.workspace.git import existing_commits, top_level

LATEST = ("", "latest")


@dataclass(frozen=True)
class KnownRun:
    """A run, the key of its repository in the store, and the machine and path if it ran elsewhere."""

    run: StoredRun
    key: str
    elsewhere: str = ""

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def base(self) -> str:
        """The commit that it started from."""
        return self.run.started.base if self.run.started else ""


@dataclass(frozen=True)
class RunIndex:
    """The runs of one repository."""

    root: Path
    store: Store
    key: str
    shared: bool

    @property
    def logs(self) -> Path:
        return self.root / LOGS

    @cached_property
    def runs(self) -> list[KnownRun]:
        """All runs, the oldest first: those of the store, and those that only log files have."""
        runs = self.store.list_runs(self.key)
        stored = {run.name for run in runs}
        for stamp in jsonl.list_run_stamps(self.logs):
            if stamp not in stored:
                events = jsonl.read_log_file(self.logs / f"run_{stamp}.jsonl").events
                if marks := [event for event in events if event.kind in RUN_MARKS]:
                    runs.append(run_from_marks(marks))
        known = [*(KnownRun(run, self.key) for run in runs), *self.runs_elsewhere]
        return sorted(known, key=lambda run: (run.run.first.time, run.name))

    @cached_property
    def runs_elsewhere(self) -> list[KnownRun]:
        """The runs of other machines or clones in a shared store whose base commit is in this repository."""
        others = [key for key in self.store.list_repositories() if key != self.key] if self.shared else []
        # A key is host:path, or of a very long one only the digest.
        places = {key: "another machine" if key.startswith("sha256:") else key for key in others}
        runs = [KnownRun(run, key, place) for key, place in places.items() for run in self.store.list_runs(key)]
        bases = existing_commits(self.root, [run.base for run in runs])
        return [run for run in runs if run.base in bases]

    def find(self, name: str) -> KnownRun:
        """Return the run of this name, or the only one that starts or ends with it; the latest without a name."""
        if not self.runs:
            raise UsageError(f"there are no runs in {self.logs}.")
        if name in LATEST:
            return self.runs[-1]
        full_name = match_run_name(name, [run.name for run in self.runs])
        matches = [run for run in self.runs if run.name == full_name]
        return next((run for run in matches if not run.elsewhere), matches[-1])

    def read_log(self, run: KnownRun) -> EventLog:
        """Read the events from the files, which are written first, else from the store."""
        if not self.has_files(run):
            return EventLog(tuple(self.store.read_events(run.key, run.name)))
        return jsonl.read_run_log(self.logs, run.name)

    def read_task_log(self, run: KnownRun, task: int) -> Sequence[Event]:
        """Read the events of one task, which have a file of their own."""
        if not self.has_files(run):
            return [event for event in self.store.read_events(run.key, run.name) if event.task == task]
        path = self.logs / f"agent{task}_{run.name}.jsonl"
        return jsonl.read_log_file(path).events if path.is_file() and not path.is_symlink() else ()

    def has_files(self, run: KnownRun) -> bool:
        return not run.elsewhere and (self.logs / f"run_{run.name}.jsonl").exists()

    def find_owner(self, run: KnownRun) -> Owner | None:
        """Return the process that works on the run. One killed here does not count, even before its lease ends."""
        owner = self.store.run_owner(run.key, run.name)
        return None if owner is None or is_owner_dead(owner) else owner


def match_run_name(name: str, names: Sequence[str]) -> str:
    """Return the only name that starts or ends with `name`. An exact match wins, as one stamp may start another."""
    if name in names:
        return name
    matches = list(dict.fromkeys(known for known in names if known.startswith(name) or known.endswith(name)))
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise AmbiguousRun(f"{name!r} is ambiguous: {join_some(matches, 5)}.", hint="Use more of the name.")
    near = difflib.get_close_matches(name, list(dict.fromkeys(names)), 3)
    hint = f"Similar: {join_some(near)}." if near else f"The latest: {join_some(names[-3:])}."
    raise UsageError(f"there is no run {name!r} here.", hint=hint)


@contextlib.contextmanager
def open_run_index(arguments: Namespace, *, new: bool = False) -> Iterator[RunIndex]:
    """Open the runs of --repo or the current directory, with the store. Only `new` creates a store."""
    settings, root = settings_and_root(arguments)
    location = settings.store or root / LOGS / DATABASE
    if new:
        if top_level(root) is None:
            raise UsageError(f"{root} is not in a git repository.")
        jsonl.prepare_log_folder(root / LOGS)
    missing = isinstance(location, Path) and not new and not location.exists()
    store = open_any_store("memory://" if missing else location)
    try:
        yield RunIndex(root, store, store_key(settings, root), bool(settings.store))
    finally:
        store.close()


def open_any_store(location: Path | str, *, whole: bool = False) -> Store:
    """Open the store. A damaged file of the repository's store is created again from the logs."""
    if isinstance(location, str):
        return open_store(location)
    store, repair_note = open_own_store(location, whole=whole)
    if repair_note:
        print(f"note: {repair_note}", file=sys.stderr)
    return store


def settings_and_root(arguments: Namespace) -> tuple[Settings, Path]:
    settings = read_settings({"repo": arguments.repo or None, "store": arguments.store or None})
    start = Path(settings.repo or ".")
    return settings, top_level(start) or start.absolute()
