"""New events of a run while it is written: each once, in order."""

from collections.abc import Iterator
from pathlib import Path

from orchestra.events import Event, EventLog
from orchestra.journal.jsonl import agent_logs, read_log_lines


class LogTail:
    """Continues in each file of a run where it stopped. An unfinished last line is left for the next call."""

    def __init__(self, folder: Path, stamp: str) -> None:
        self.folder = folder
        self.stamp = stamp
        self.offsets: dict[Path, int] = {}
        self.seq = 0
        self.early: dict[int, Event] = {}

    def read_more(self) -> EventLog:
        files = [self.folder / f"run_{self.stamp}.jsonl", *agent_logs(self.folder, self.stamp)]
        logs = [read_log_lines(self.new_lines(file)) for file in files]
        fresh = {event.seq: event for log in logs for event in log.events if event.seq > self.seq}
        self.early |= fresh
        return EventLog(tuple(self.events_in_order(skip_gaps=not fresh)), sum(log.torn_lines for log in logs))

    def events_in_order(self, skip_gaps: bool) -> Iterator[Event]:
        """The events that follow the last one. A missing event is waited for once, then skipped."""
        for seq in sorted(self.early):
            if seq > self.seq + 1 and not skip_gaps:
                return
            self.seq = seq
            yield self.early.pop(seq)

    def new_lines(self, path: Path) -> list[str]:
        try:
            with path.open("rb") as file:
                file.seek(self.offsets.get(path, 0))
                content = file.read().rpartition(b"\n")[0]
        except OSError:
            return []
        self.offsets[path] = self.offsets.get(path, 0) + len(content) + bool(content)
        return content.decode("utf-8", "replace").split("\n")
