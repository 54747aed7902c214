"""A run's events as they come: each once, in their order."""

from collections.abc import Iterator
from pathlib import Path

from orchestra.events import Event, EventLog, read_line
from orchestra.journal.jsonl import agent_logs


class LogTail:
    """Reads on where it was in each file of a run. A line that is not whole yet is waited for."""

    def __init__(self, folder: Path, stamp: str) -> None:
        self.folder = folder
        self.stamp = stamp
        self.read: dict[Path, int] = {}
        self.seq = 0
        self.early: dict[int, Event] = {}
        self.torn = 0

    def read_more(self) -> EventLog:
        files = [self.folder / f"run_{self.stamp}.jsonl", *agent_logs(self.folder, self.stamp)]
        fresh = {event.seq: event for file in files for event in self.new_events(file) if event.seq > self.seq}
        self.early |= fresh
        torn, self.torn = self.torn, 0
        return EventLog(tuple(self.events_in_order(skip_gaps=not fresh)), torn)

    def events_in_order(self, skip_gaps: bool) -> Iterator[Event]:
        """What follows on what was given. Events that are missing are waited for once, then passed over."""
        for seq in sorted(self.early):
            if seq > self.seq + 1 and not skip_gaps:
                return
            self.seq = seq
            yield self.early.pop(seq)

    def new_events(self, path: Path) -> Iterator[Event]:
        try:
            with path.open("rb") as file:
                file.seek(self.read.get(path, 0))
                whole = file.read().rpartition(b"\n")[0]
        except OSError:
            return
        self.read[path] = self.read.get(path, 0) + len(whole) + bool(whole)
        for line in filter(bytes.strip, whole.split(b"\n")):
            event = read_line(line.decode("utf-8", "replace"))
            if event is None:
                self.torn += 1
            else:
                yield event
