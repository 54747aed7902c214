"""The journal's files: a task's events in agent<N>_<timestamp>.jsonl, the run's own in run_<timestamp>.jsonl, live."""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from orchestra.model import Event

Listener = Callable[[Event], None]
# Not every reader takes only \n for the end of a line.
LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}


class Journal:
    """Writes events, strictly: one that could not be written is an error, never a loss. Then tells whoever listens."""

    def __init__(self, folder: Path, scrub: Callable[[str], str], stamp: str = "", seq: int = 0) -> None:
        """A new run, or with `stamp` one that is taken up again after its event number `seq`."""
        self.folder = folder
        self.scrub = scrub
        self.listeners: list[Listener] = []
        self.files: dict[int | None, IO[str]] = {}
        self.seq = seq
        self.stamp, self.files[None] = (stamp, append_to(folder / f"run_{stamp}.jsonl")) if stamp else claim(folder)

    def emit(self, kind: str, task: int | None = None, attempt: int | None = None, **data: Any) -> Event:
        self.seq += 1
        now = time.time_ns() // 1_000_000
        event = Event(self.stamp, self.seq, now, kind, task, attempt, scrubbed(data, self.scrub))
        line = json.dumps(to_record(event), ensure_ascii=False).translate(LINE_ENDS)
        file = self.file(task)
        file.write(line + "\n")
        file.flush()
        # Who listens hears what a reader of the file will read.
        event = from_record(json.loads(line))
        for listener in self.listeners:
            listener(event)
        return event

    def file(self, task: int | None) -> IO[str]:
        if task not in self.files:
            self.files[task] = append_to(self.agent_log(task))
        return self.files[task]

    def agent_log(self, task: int | None) -> Path:
        return self.folder / f"agent{task}_{self.stamp}.jsonl"

    def close(self) -> None:
        for file in self.files.values():
            file.close()


def prepare(folder: Path) -> Path:
    """The folder of the logs, which git does not see."""
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    return folder


def claim(folder: Path) -> tuple[str, IO[str]]:
    """A timestamp that no other run has: the file that is created for it decides."""
    prepare(folder)
    now = time.strftime("%Y%m%d_%H%M%S")
    for n in range(1, 10_000):
        stamp = now if n == 1 else f"{now}_{n}"
        try:
            handle = os.open(folder / f"run_{stamp}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        return stamp, opened(handle)
    raise FileExistsError(f"{folder} has 10,000 runs of this second")


def append_to(path: Path) -> IO[str]:
    """Open for more events. A line that a crash has torn is ended first, so that it spoils none after it."""
    torn = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
    file = opened(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    if torn:
        file.write("\n")
    return file


def opened(handle: int) -> IO[str]:
    """Half a character, or a byte of a file name that is no UTF-8, is written as JSON writes it: \\udcff."""
    return os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace")


def scrubbed(value: Any, scrub: Callable[[str], str]) -> Any:
    """Every text in the data without its secrets. The numbers around it are ours, whatever a secret looks like."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {scrub(str(name)): scrubbed(each, scrub) for name, each in value.items()}
    return [scrubbed(each, scrub) for each in value] if isinstance(value, list | tuple) else value


def to_record(event: Event) -> dict[str, Any]:
    """The event as it stands in the file. `event` repeats the kind under the name that the seed's readers look for."""
    head = {"event": event.kind, "run": event.run, "seq": event.seq, "time": event.time}
    owner = {"task": event.task, "attempt": event.attempt}
    return head | {name: value for name, value in owner.items() if value is not None} | {"data": event.data}


def from_record(record: dict[str, Any]) -> Event:
    return Event(
        record["run"],
        record["seq"],
        record["time"],
        record["event"],
        record.get("task"),
        record.get("attempt"),
        record.get("data", {}),
    )


def read(folder: Path, stamp: str) -> list[Event]:
    """All events of a run, in their order. Tolerant: a torn last line is what a crash leaves."""
    files = [folder / f"run_{stamp}.jsonl", *agent_logs(folder, stamp)]
    return sorted((event for file in files for event in read_file(file)), key=lambda event: event.seq)


def stamps(folder: Path) -> list[str]:
    """The runs of a folder, the oldest first."""
    names = (path.stem.removeprefix("run_") for path in folder.glob("run_*.jsonl"))
    return sorted(names, key=lambda stamp: [int(part) for part in stamp.split("_") if part.isdigit()])


def agent_logs(folder: Path, stamp: str) -> Iterable[Path]:
    return (path for path in folder.glob(f"agent*_{stamp}.jsonl") if path.stem.split("_", 1)[1] == stamp)


def read_file(path: Path) -> Iterator[Event]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                yield from_record(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue
