"""The store's twin in memory: for tests, and for a run that nobody else needs to see."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from threading import RLock

from orchestra.events import Event, Json
from orchestra.journal.store import MARKS, Command, Owner, Run, gap, run_of


class MemoryStore:
    """See `store.Store`, where each method says what it does. The keys are (repository, run), or (repository, path)."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.events: dict[tuple[str, str], dict[int, Event]] = {}
        self.commands: dict[tuple[str, str], list[Command]] = {}
        self.owners: dict[tuple[str, str], Owner] = {}
        self.leases: dict[tuple[str, str], tuple[str, int]] = {}
        self.posted = 0

    def append(self, repository: str, events: Iterable[Event]) -> None:
        with self.lock:
            for event in [copied(event) for event in events]:
                self.events.setdefault((repository, event.run), {}).setdefault(event.seq, event)

    def read(self, repository: str, run: str, after: int = 0, kinds: Sequence[str] = ()) -> list[Event]:
        with self.lock:
            found = sorted(self.events.get((repository, run), {}).items())
            return [copied(event) for seq, event in found if seq > after and (not kinds or event.kind in kinds)]

    def runs(self, repository: str) -> list[Run]:
        with self.lock:
            marks = [self.read(*one, kinds=MARKS) for one in self.events if one[0] == repository]
        return sorted(map(run_of, filter(None, marks)), key=lambda run: (run.first.time, run.name))

    def repositories(self) -> list[str]:
        with self.lock:
            return sorted({repository for repository, _ in self.events})

    def delete(self, repository: str, run: str) -> None:
        with self.lock:
            self.unlease(repository, run)
            self.events.pop((repository, run), None)
            self.commands.pop((repository, run), None)
            self.owners.pop((repository, run), None)

    def post(self, repository: str, run: str, kind: str, task: int | None = None, data: Json | None = None) -> None:
        with self.lock:
            self.posted += 1
            command = Command(self.posted, run, now(), kind, task, dict(data or {}))
            self.commands.setdefault((repository, run), []).append(command)

    def take(self, repository: str, run: str) -> list[Command]:
        with self.lock:
            return self.commands.pop((repository, run), [])

    def own(self, repository: str, run: str, owner: str, host: str, pid: int, ttl_ms: int) -> Owner | None:
        with self.lock:
            holder = self.owners.get((repository, run))
            if holder and holder.owner != owner and holder.expires > now():
                return holder
            self.owners[repository, run] = Owner(owner, host, pid, now() + ttl_ms)
            return None

    def owner(self, repository: str, run: str) -> Owner | None:
        with self.lock:
            holder = self.owners.get((repository, run))
            return holder if holder and holder.expires > now() else None

    def renew(self, repository: str, run: str, owner: str, ttl_ms: int) -> bool:
        with self.lock:
            holder = self.owners.get((repository, run))
            if not holder or holder.owner != owner:
                return False
            self.owners[repository, run] = replace(holder, expires=now() + ttl_ms)
            return True

    def release(self, repository: str, run: str, owner: str) -> None:
        with self.lock:
            holder = self.owners.get((repository, run))
            if holder and holder.owner == owner:
                del self.owners[repository, run]

    def lease(self, repository: str, run: str, paths: Iterable[str], ttl_ms: int) -> dict[str, str]:
        with self.lock:
            held = {one: lease for one, lease in self.leases.items() if lease[1] > now()}
            wanted = {(repository, path) for path in paths}
            if taken := {one[1]: held[one][0] for one in wanted & held.keys() if held[one][0] != run}:
                return taken
            mine = {one for one, (its_run, _) in held.items() if (one[0], its_run) == (repository, run)}
            self.leases = held | dict.fromkeys(mine | wanted, (run, now() + ttl_ms))
            return {}

    def unlease(self, repository: str, run: str) -> None:
        with self.lock:
            mine = [one for one, (its_run, _) in self.leases.items() if (one[0], its_run) == (repository, run)]
            for one in mine:
                del self.leases[one]

    def compact(self) -> None:
        """Nothing is kept of what was deleted."""

    def check(self) -> list[str]:
        with self.lock:
            return [problem for one, its in self.events.items() for problem in gap(*one, seqs=its)]

    def close(self) -> None:
        """There is no connection."""


def copied(event: Event) -> Event:
    """As it would come back from a database: nobody else's to change."""
    return replace(event, data=json.loads(json.dumps(dict(event.data))))


def now() -> int:
    return time.time_ns() // 1_000_000
