"""The store: a copy of the events for other terminals and machines, and the owners of runs and files.
The JSONL files are written first and stay authoritative; `append_events` restores lost events from them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from orchestra.events import Event, Json, RunEnded, RunResumed, RunStarted

# The kinds that mark the sessions of a run. An index contains them: to change them takes a step of the schema.
RUN_MARKS = (RunStarted.kind, RunResumed.kind, RunEnded.kind)


class StoredRun(NamedTuple):
    """A run by its first event, and its last one if it has ended and was not resumed."""

    name: str
    first: Event
    last: Event | None

    @property
    def started(self) -> RunStarted | None:
        """The payload of its first event; None if that was lost."""
        return self.first.payload if isinstance(self.first.payload, RunStarted) else None

    @property
    def ended(self) -> RunEnded | None:
        return self.last.payload if self.last and isinstance(self.last.payload, RunEnded) else None


@dataclass(frozen=True)
class Command:
    """A command to a run from another terminal."""

    id: int
    run: str
    time: int
    kind: str
    task: int | None = None
    data: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Owner:
    """The process that owns a run, until `expires` (ms, by the store's clock) unless it renews."""

    owner: str
    host: str
    pid: int
    expires: int


class Lease(NamedTuple):
    """A target file that a run holds until `expires` (ms, by the store's clock) unless it renews. A very long path is
    its digest, as `index_key` makes it."""

    path: str
    run: str
    expires: int


class GateRun(NamedTuple):
    """One run of a gate. `digest`: of all that decides its verdict. `failing`: names of failures. `age`: in ms, by the
    store's clock. `data`: the whole outcome, empty if it is too old to be used."""

    digest: str
    run: str
    gate: str
    passed: bool
    failing: tuple[str, ...]
    age: int = 0
    data: str = ""


class Store(Protocol):
    """The operations of a store, called from any thread. `repository` is any text that names a repository."""

    def append_events(self, repository: str, events: Iterable[Event]) -> None:
        """Store all of these events, or none and raise StoreError. An event that exists already is not changed."""

    def read_events(
        self, repository: str, run: str, after: int = 0, kinds: Sequence[str] = (), limit: int | None = None
    ) -> list[Event]:
        """The run's events in order, at most `limit` of them. One that cannot be decoded is an UnreadableEvent;
        `find_problems` lists it."""

    def list_runs(self, repository: str) -> list[StoredRun]:
        """All runs, the oldest first."""

    def list_repositories(self) -> list[str]:
        """The repositories with runs; a very long name as its digest, which every operation accepts too."""

    def delete_run(self, repository: str, run: str) -> None:
        """Delete everything about a run."""

    def post_command(
        self, repository: str, run: str, kind: str, task: int | None = None, data: Json | None = None
    ) -> None:
        """Leave a command for the run's owner."""

    def take_commands(self, repository: str, run: str) -> list[Command]:
        """The new commands in order. Each command is taken once."""

    def acquire_run(self, repository: str, run: str, owner: str, host: str, pid: int, ttl_ms: int) -> Owner | None:
        """Become the run's owner, or renew: None if that worked, else the owner. An owner keeps the run until it
        expires or is released."""

    def run_owner(self, repository: str, run: str) -> Owner | None:
        """The owner now; None if there is none."""

    def release_run(self, repository: str, run: str, owner: str) -> None:
        """Give up the run, if this is its owner."""

    def lease_files(self, repository: str, run: str, paths: Iterable[str], ttl_ms: int) -> dict[str, str]:
        """Reserve target files for a run, and renew all that it has. Empty if it worked; else nothing changed, and the
        result has the paths that other runs hold, with their names."""

    def release_files(self, repository: str, run: str) -> None:
        """Release all target files of a run."""

    def list_leases(self, repository: str) -> list[Lease]:
        """The target files that runs hold now, by path."""

    def add_gate_run(self, repository: str, gate_run: GateRun) -> None:
        """Store a run of a gate."""

    def find_gate_runs(self, repository: str, digest: str) -> list[GateRun]:
        """The runs with this digest, the newest first."""

    def list_gate_runs(self, repository: str) -> list[GateRun]:
        """The newest runs of all gates, the oldest of them first, without their data."""

    def expire_gate_runs(self, repository: str, data_ms: int, row_ms: int) -> None:
        """Empty the data of runs that are older than `data_ms`, and delete those older than `row_ms`."""

    def compact(self) -> None:
        """Free the space of deleted runs, if the database does not do so itself."""

    def find_problems(self) -> list[str]:
        """A sentence for each problem of the store."""

    def close(self) -> None:
        """Close all connections."""


def run_from_marks(marks: Sequence[Event]) -> StoredRun:
    """A run from its marks, in order."""
    return StoredRun(marks[0].run, marks[0], marks[-1] if marks[-1].kind == RunEnded.kind else None)


def missing_events(repository: str, run: str, numbers: Iterable[int]) -> list[str]:
    """A sentence if events before the last are missing."""
    seqs = sorted(numbers)
    lost = seqs[-1] - len(seqs) if seqs else 0
    first = next((number for number, seq in enumerate(seqs, 1) if number != seq), 0)
    return [f"Run {run} of {repository}: {lost} of its events are missing, the first is {first}."] if lost else []
