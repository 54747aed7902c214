"""The store: the journal's events once more, where other terminals and machines find them, and who works on what.

The JSONL files are written first and stay the truth; what a store has lost, `append` brings back from them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from orchestra.events import Event, Json, RunEnded, RunResumed, RunStarted

# What tells when a run began and ended. An index stands on these words: other ones are a step of the schema.
RUN_MARKS = (RunStarted.kind, RunResumed.kind, RunEnded.kind)


class StoredRun(NamedTuple):
    """A run by its first event and, when it has ended and was not taken up again, its last."""

    name: str
    first: Event
    last: Event | None

    @property
    def started(self) -> RunStarted | None:
        """What its first event tells; None if that was lost."""
        return self.first.payload if isinstance(self.first.payload, RunStarted) else None

    @property
    def ended(self) -> RunEnded | None:
        return self.last.payload if self.last and isinstance(self.last.payload, RunEnded) else None


@dataclass(frozen=True)
class Command:
    """What another terminal asks of a run."""

    id: int
    run: str
    time: int
    kind: str
    task: int | None = None
    data: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Owner:
    """The orchestrator that conducts a run, until `expires` (ms, by the store's clock) unless it renews."""

    owner: str
    host: str
    pid: int
    expires: int


class Store(Protocol):
    """What every store can do, called from any thread. `repository` is any text that names one repository."""

    def append_events(self, repository: str, events: Iterable[Event]) -> None:
        """Keep these events: all of them, or none and a StoreError. One that is here already stays as it is."""

    def read_events(self, repository: str, run: str, after: int = 0, kinds: Sequence[str] = ()) -> list[Event]:
        """The run's events in their order. What cannot be decoded is unreadable, and named by `check`."""

    def list_runs(self, repository: str) -> list[StoredRun]:
        """All runs, the oldest first."""

    def list_repositories(self) -> list[str]:
        """What has runs here, by name; one whose name is very long by its digest, which names it as well."""

    def delete_run(self, repository: str, run: str) -> None:
        """Forget everything about a run."""

    def post_command(
        self, repository: str, run: str, kind: str, task: int | None = None, data: Json | None = None
    ) -> None:
        """Leave a command for the run's owner."""

    def take_commands(self, repository: str, run: str) -> list[Command]:
        """The commands that nobody has taken yet, in their order. Each is given to one taker only."""

    def acquire_run(self, repository: str, run: str, owner: str, host: str, pid: int, ttl_ms: int) -> Owner | None:
        """Become the run's owner. None when it worked, else who is. Only an expired or released run changes hands."""

    def run_owner(self, repository: str, run: str) -> Owner | None:
        """Who owns the run at this moment."""

    def renew(self, repository: str, run: str, owner: str, ttl_ms: int) -> bool:
        """Stay the owner. False when it is somebody else by now."""

    def release_run(self, repository: str, run: str, owner: str) -> None:
        """No longer own the run, if this owner does."""

    def lease_files(self, repository: str, run: str, paths: Iterable[str], ttl_ms: int) -> dict[str, str]:
        """Reserve target files for a run, and renew all it has. Empty when it worked; else nothing was changed, and
        these are the paths that other runs hold, with their names."""

    def release_files(self, repository: str, run: str) -> None:
        """Give back all target files of a run."""

    def compact(self) -> None:
        """Give the space of deleted runs back, where the database does not do so by itself."""

    def find_problems(self) -> list[str]:
        """What is wrong with the store, a sentence each."""

    def close(self) -> None:
        """Let go of all connections."""


def run_from_marks(marks: Sequence[Event]) -> StoredRun:
    """A run by its marks, in their order."""
    return StoredRun(marks[0].run, marks[0], marks[-1] if marks[-1].kind == RunEnded.kind else None)


def missing_events(repository: str, run: str, seqs: Iterable[int]) -> list[str]:
    """A sentence when events are missing between the first and the last."""
    kept = sorted(seqs)
    lost = kept[-1] - len(kept) if kept else 0
    first = next((number for number, seq in enumerate(kept, 1) if number != seq), 0)
    return [f"Run {run} of {repository}: {lost} of its events are missing, the first is {first}."] if lost else []
