"""The events of a run in pages, so that a run of a million events needs no memory for all of them at once."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestra.cli.find import KnownRun, RunIndex
from orchestra.errors import StoreError
from orchestra.events import Event
from orchestra.journal.jsonl import agent_logs

PAGE_EVENTS = 5_000
LARGE_LOG = 20 << 20  # bytes of log files; a smaller run is read whole
TAIL_BYTES = 1 << 16
STORE_LAG = 200  # events


def read_page(index: RunIndex, run: KnownRun, after: int, most: int = PAGE_EVENTS) -> Sequence[Event]:
    """Return the next events. The first page of a small run is all of its log files, which are written first; a large
    run is read from the store if that has its last event."""
    if not after and not (is_large(index, run) and is_stored(index, run, STORE_LAG)):
        return index.read_log(run).events
    return index.store.read_events(run.key, run.name, after=after, limit=most)


def read_pages(index: RunIndex, run: KnownRun, after: int = 0, until: int | None = None) -> Iterator[Sequence[Event]]:
    """Yield the pages after an event, and to another, from the files if the store has lost some."""
    if not is_stored(index, run, STORE_LAG if is_large(index, run) else 0):
        yield [event for event in index.read_log(run).events if event.seq > after]
        return
    while until is None or after < until:
        page = read_page(index, run, after, PAGE_EVENTS if until is None else min(PAGE_EVENTS, until - after))
        if not page:
            return
        yield page
        if page[-1].seq <= after:  # a forged log
            return
        after = page[-1].seq


def is_large(index: RunIndex, run: KnownRun) -> bool:
    """Whether the log files are large. Of a run without files here, only the store knows."""
    if not index.has_files(run):
        return True
    paths = [index.logs / f"run_{run.name}.jsonl", *agent_logs(index.logs, run.name)]
    return sum(path.stat().st_size for path in paths) > LARGE_LOG


def is_stored(index: RunIndex, run: KnownRun, lag: int = 0) -> bool:
    """Whether the store has the last event of the run's own file: else it has lost some, and the files count. `lag`:
    how many events it may be behind, because a run at work writes them a moment later."""
    if not index.has_files(run):
        return True
    last = last_number(index.logs / f"run_{run.name}.jsonl")
    try:
        return bool(last and index.store.read_events(run.key, run.name, after=max(0, last - 1 - lag), limit=1))
    except StoreError:
        return False


def last_number(path: Path) -> int:
    """Return the number of the last whole event in a log file; 0 if there is none at its end."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        lines = file.read().split(b"\n")[:-1]
    for line in reversed(lines):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        return found["seq"] if isinstance(found, dict) and type(found.get("seq")) is int else 0
    return 0
