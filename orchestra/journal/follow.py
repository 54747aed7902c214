"""A run's events as they come: each once, in their order."""

from collections.abc import Iterator
from pathlib import Path

from orchestra.events import Event, Log, read_line
from orchestra.journal.jsonl import agent_logs


class Tail:
    """Reads on where it was in each file of a run. A line that is not whole yet is waited for."""

    def __init__(self, folder: Path, stamp: str) -> None:
        self.folder = folder
        self.stamp = stamp
        self.read: dict[Path, int] = {}
        self.seq = 0
        self.early: dict[int, Event] = {}
        self.torn = 0

    def more(self) -> Log:
        files = [self.folder / f"run_{self.stamp}.jsonl", *agent_logs(self.folder, self.stamp)]
        fresh = {event.seq: event for file in files for event in self.new_in(file) if event.seq > self.seq}
        self.early |= fresh
        torn, self.torn = self.torn, 0
        return Log(tuple(self.in_order(gaps=not fresh)), torn)

    def in_order(self, gaps: bool) -> Iterator[Event]:
        """What follows on what was given. Events that are missing are waited for once, then passed over."""
        for seq in sorted(self.early):
            if seq > self.seq + 1 and not gaps:
                return
            self.seq = seq
            yield self.early.pop(seq)

    def new_in(self, path: Path) -> Iterator[Event]:
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
