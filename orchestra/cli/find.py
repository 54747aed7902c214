"""Find runs: in the log folder of this repository, and in the store, which may know those of other machines too."""

import contextlib
import difflib
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from orchestra.cli.load import settings_of
from orchestra.conduct.core.where import DATABASE, LOGS, store_key
from orchestra.errors import UsageError
from orchestra.events import Log
from orchestra.journal import jsonl
from orchestra.journal.heal import open_own_store
from orchestra.journal.hold import is_dead
from orchestra.journal.open_store import open_store
from orchestra.journal.store import MARKS, Owner, Run, Store, run_of
from orchestra.report.fold import report_of
from orchestra.report.state import Report
from orchestra.settings import Settings
from orchestra.workspace.git import existing, top_level

LATEST = ("", "latest")


@dataclass(frozen=True)
class Known:
    """A run with the name that its repository has in the store, and the place where it ran if that was another."""

    run: Run
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
class Here:
    """The repository that a command looks at."""

    root: Path
    store: Store
    key: str
    shared: bool

    @property
    def logs(self) -> Path:
        return self.root / LOGS

    @cached_property
    def runs(self) -> list[Known]:
        """All runs, the oldest first."""
        stored = [Known(run, self.key) for run in self.store.runs(self.key)]
        filed = [Known(run, self.key) for run in self.filed({known.name for known in stored})]
        return sorted(stored + filed + self.elsewhere, key=lambda known: (known.run.first.time, known.name))

    def filed(self, stored: set[str]) -> Iterator[Run]:
        """Those that only the files tell of."""
        for stamp in jsonl.stamps(self.logs):
            if stamp not in stored:
                events = jsonl.read_file(self.logs / f"run_{stamp}.jsonl").events
                if marks := [event for event in events if event.kind in MARKS]:
                    yield run_of(marks)

    @cached_property
    def elsewhere(self) -> list[Known]:
        """What other machines or clones ran in this repository: a shared store has it, and its base is here too."""
        others = [key for key in self.store.repositories() if key != self.key] if self.shared else []
        found = [Known(run, key, place(key)) for key in others for run in self.store.runs(key)]
        bases = existing(self.root, [known.base for known in found])
        return [known for known in found if known.base in bases]

    def find(self, name: str) -> Known:
        """The run of this name, or the only one that begins or ends so; the latest where there is none."""
        if not self.runs:
            raise UsageError(f"there are no runs in {self.logs}.")
        if name in LATEST:
            return self.runs[-1]
        found = [known for known in self.runs if known.name == chosen(name, [known.name for known in self.runs])]
        return next((known for known in found if not known.elsewhere), found[-1])

    def log(self, known: Known) -> Log:
        """From the files where they are: they are written first."""
        if not self.has_files(known):
            return Log(tuple(self.store.read(known.key, known.name)))
        return jsonl.read(self.logs, known.name)

    def has_files(self, known: Known) -> bool:
        return not known.elsewhere and (self.logs / f"run_{known.name}.jsonl").exists()

    def report(self, known: Known) -> Report:
        return replace(report_of(self.log(known)), run=known.name)

    def owner(self, known: Known) -> Owner | None:
        """Who is at work on the run. One that was killed on this machine is found dead before its lease is over."""
        found = self.store.owner(known.key, known.name)
        return None if found is None or is_dead(found) else found


def place(key: str) -> str:
    """host:path, which is a shared store's name for a repository; a very long one it knows by its digest only."""
    return "another machine" if key.startswith("sha256:") else key


def chosen(name: str, known: Sequence[str]) -> str:
    """The one run that is meant; a stamp is often the beginning of another, and then the whole of it counts."""
    if name in known:
        return name
    meant = list(dict.fromkeys(one for one in known if one.startswith(name) or one.endswith(name)))
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise UsageError(f"{name!r} may be any of {listed(meant)}.", hint="Say more of it.")
    near = difflib.get_close_matches(name, list(dict.fromkeys(known)), 3)
    raise UsageError(f"there is no run {name!r} here.", hint=f"Near to it: {listed(near)}." if near else latest(known))


def latest(known: Sequence[str]) -> str:
    return f"The latest: {listed(known[-3:])}."


def listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


@contextlib.contextmanager
def looking(given: Namespace, *, new: bool = False) -> Iterator[Here]:
    """The repository of --repo or the current directory, with its store. A store is made only where `new` is wanted."""
    settings, root = place_of(given)
    where = settings.store or root / LOGS / DATABASE
    if new:
        if top_level(root) is None:
            raise UsageError(f"{root} is not in a git repository.")
        jsonl.prepare(root / LOGS)
    nothing = isinstance(where, Path) and not new and not where.exists()
    store = opened("memory://" if nothing else where)
    try:
        yield Here(root, store, store_key(settings, root), bool(settings.store))
    finally:
        store.close()


def opened(where: Path | str, *, whole: bool = False) -> Store:
    """The store. The repository's own one is made anew where its file is damaged."""
    if isinstance(where, str):
        return open_store(where)
    store, healed = open_own_store(where, whole=whole)
    if healed:
        print(f"note: {healed}", file=sys.stderr)
    return store


def place_of(given: Namespace) -> tuple[Settings, Path]:
    flags = [word for name in ("repo", "store") if (value := getattr(given, name)) for word in (f"--{name}", value)]
    settings = settings_of(flags)
    start = Path(settings.repo or ".")
    return settings, top_level(start) or start.absolute()
