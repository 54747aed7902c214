"""Find runs: in the log folder of this repository, and in the store, which may know those of other machines too."""

import contextlib
import difflib
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from orchestra.cli.load import read_settings
from orchestra.conduct.core.locations import DATABASE, LOGS, store_key
from orchestra.errors import UsageError
from orchestra.events import EventLog
from orchestra.journal import jsonl
from orchestra.journal.open_store import open_store
from orchestra.journal.ownership import is_owner_dead
from orchestra.journal.store import RUN_MARKS, Owner, Store, StoredRun, run_from_marks
from orchestra.journal.store_repair import open_own_store
from orchestra.report.fold import report_from_log
from orchestra.report.state import Report
from orchestra.settings import Settings
from orchestra.workspace.git import existing_commits, top_level

LATEST = ("", "latest")


@dataclass(frozen=True)
class KnownRun:
    """A run with the name that its repository has in the store, and the place where it ran if that was another."""

    run: StoredRun
    key: str
    elsewhere: str = ""

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def base(self) -> str:
        """The commit that it began with."""
        return self.run.started.base if self.run.started else ""


@dataclass(frozen=True)
class RunIndex:
    """The repository that a command looks at."""

    root: Path
    store: Store
    key: str
    shared: bool

    @property
    def logs(self) -> Path:
        return self.root / LOGS

    @cached_property
    def runs(self) -> list[KnownRun]:
        """All runs, the oldest first."""
        stored = [KnownRun(run, self.key) for run in self.store.list_runs(self.key)]
        filed = [KnownRun(run, self.key) for run in self.runs_in_files({known.name for known in stored})]
        return sorted(stored + filed + self.runs_elsewhere, key=lambda known: (known.run.first.time, known.name))

    def runs_in_files(self, stored: set[str]) -> Iterator[StoredRun]:
        """Those that only the files tell of."""
        for stamp in jsonl.list_run_stamps(self.logs):
            if stamp not in stored:
                events = jsonl.read_log_file(self.logs / f"run_{stamp}.jsonl").events
                if marks := [event for event in events if event.kind in RUN_MARKS]:
                    yield run_from_marks(marks)

    @cached_property
    def runs_elsewhere(self) -> list[KnownRun]:
        """What other machines or clones ran in this repository: a shared store has it, and its base is here too."""
        others = [key for key in self.store.list_repositories() if key != self.key] if self.shared else []
        found = [KnownRun(run, key, place_of_key(key)) for key in others for run in self.store.list_runs(key)]
        bases = existing_commits(self.root, [known.base for known in found])
        return [known for known in found if known.base in bases]

    def find(self, name: str) -> KnownRun:
        """The run of this name, or the only one that begins or ends so; the latest where there is none."""
        if not self.runs:
            raise UsageError(f"there are no runs in {self.logs}.")
        if name in LATEST:
            return self.runs[-1]
        found = [
            known for known in self.runs if known.name == match_run_name(name, [known.name for known in self.runs])
        ]
        return next((known for known in found if not known.elsewhere), found[-1])

    def read_log(self, known: KnownRun) -> EventLog:
        """From the files where they are: they are written first."""
        if not self.has_files(known):
            return EventLog(tuple(self.store.read_events(known.key, known.name)))
        return jsonl.read_run_log(self.logs, known.name)

    def has_files(self, known: KnownRun) -> bool:
        return not known.elsewhere and (self.logs / f"run_{known.name}.jsonl").exists()

    def build_report(self, known: KnownRun) -> Report:
        return replace(report_from_log(self.read_log(known)), run=known.name)

    def find_owner(self, known: KnownRun) -> Owner | None:
        """Who is at work on the run. One that was killed on this machine is found dead before its lease is over."""
        found = self.store.run_owner(known.key, known.name)
        return None if found is None or is_owner_dead(found) else found


def place_of_key(key: str) -> str:
    """host:path, which is a shared store's name for a repository; a very long one it knows by its digest only."""
    return "another machine" if key.startswith("sha256:") else key


def match_run_name(name: str, known: Sequence[str]) -> str:
    """The one run that is meant; a stamp is often the beginning of another, and then the whole of it counts."""
    if name in known:
        return name
    meant = list(dict.fromkeys(one for one in known if one.startswith(name) or one.endswith(name)))
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise UsageError(f"{name!r} may be any of {join_first_names(meant)}.", hint="Say more of it.")
    near = difflib.get_close_matches(name, list(dict.fromkeys(known)), 3)
    raise UsageError(
        f"there is no run {name!r} here.", hint=f"Near to it: {join_first_names(near)}." if near else latest(known)
    )


def latest(known: Sequence[str]) -> str:
    return f"The latest: {join_first_names(known[-3:])}."


def join_first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


@contextlib.contextmanager
def open_run_index(given: Namespace, *, new: bool = False) -> Iterator[RunIndex]:
    """The repository of --repo or the current directory, with its store. A store is made only where `new` is wanted."""
    settings, root = settings_and_root(given)
    where = settings.store or root / LOGS / DATABASE
    if new:
        if top_level(root) is None:
            raise UsageError(f"{root} is not in a git repository.")
        jsonl.prepare_log_folder(root / LOGS)
    nothing = isinstance(where, Path) and not new and not where.exists()
    store = open_any_store("memory://" if nothing else where)
    try:
        yield RunIndex(root, store, store_key(settings, root), bool(settings.store))
    finally:
        store.close()


def open_any_store(where: Path | str, *, whole: bool = False) -> Store:
    """The store. The repository's own one is made anew where its file is damaged."""
    if isinstance(where, str):
        return open_store(where)
    store, healed = open_own_store(where, whole=whole)
    if healed:
        print(f"note: {healed}", file=sys.stderr)
    return store


def settings_and_root(given: Namespace) -> tuple[Settings, Path]:
    flags = [word for name in ("repo", "store") if (value := getattr(given, name)) for word in (f"--{name}", value)]
    settings = read_settings(flags)
    start = Path(settings.repo or ".")
    return settings, top_level(start) or start.absolute()
