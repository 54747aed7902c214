"""The log files, written live: a task's events in agent<N>_<timestamp>.jsonl, the run's in run_<timestamp>.jsonl.
Also the other files of a run, which the timestamp in their names tells."""

import contextlib
import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from orchestra.errors import OrchestraError, UsageError
from orchestra.events import Event, EventLog, Note, Payload, event_record, make_event, read_line, to_json_value
from orchestra.journal.bus import EventBus

APPEND_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND
MAX_OPEN_FILES = 32
UTF_16 = ("utf-16-le", "surrogatepass")
# Escaped, because some readers take these for the end of a line.
ESCAPED_LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}

STAMP_PATTERN = re.compile(r"\d{8}_\d{6}(_\d+)?")
# agent1_STAMP.jsonl, agent1_STAMP_attempt2.patch, setup_task1-2_STAMP.txt. All digits belong to the stamp, because the
# second run of a second has the stamp of the first with a suffix.
FILE_NAME_PATTERN = re.compile(
    rf"[a-z]+\d*(?:_[a-z0-9-]+)*?_(?P<stamp>{STAMP_PATTERN.pattern})(?![0-9])(?:_[a-z][a-z0-9-]*)*\.[a-z]+"
)


class LogFailed(OrchestraError):
    """The run's log cannot be written."""

    exit_code = 6  # as for a reached limit: with room on the disk the run can be resumed


class Journal:
    """Numbers events and publishes them. Its log is the first and a vital subscriber: an event that cannot be written
    raises LogFailed."""

    def __init__(self, folder: Path, scrub: Callable[[str], str], stamp: str = "", past: Sequence[Event] = ()) -> None:
        """A new run, or with `stamp` and its `past` events a resumed one."""
        self.folder = folder
        self.scrub = scrub
        self.past = past
        self.begun = self.seq = self.written = past[-1].seq if past else 0
        self.files: dict[int | None, int] = {}
        self.muted = False  # true when the log belongs to another process
        self.failed = False
        self.stamp, self.files[None] = (
            (stamp, open_for_append(folder / f"run_{stamp}.jsonl")) if stamp else create_run_log(folder)
        )
        self.bus = EventBus(self.history, lambda why: self.emit(Note(why)))
        self.bus.subscribe("The log", self.write_event, since=self.seq, is_vital=True)

    def history(self) -> Sequence[Event]:
        """All events so far. Those of this session are read from the files."""
        return self.past if self.written == self.begun else read_run_log(self.folder, self.stamp).events

    def emit(self, payload: Payload, task: int | None = None, attempt: int | None = None) -> None:
        """Publish an event, with the same values that the files will have."""
        if self.muted:
            return
        now, data = time.time_ns() // 1_000_000, to_json_value(payload, self.scrub_text)
        self.seq += 1
        try:
            self.bus.publish(make_event(self.stamp, self.seq, now, payload.kind, task, attempt, data))
        except BaseException:
            self.seq = self.written  # later events were dropped too
            raise

    def scrub_text(self, text: str) -> str:
        """Remove secrets, and join surrogate pairs, because a reader of the file gets them joined."""
        text = self.scrub(text)
        return text if text.isascii() else text.encode(*UTF_16).decode(*UTF_16)

    def write_event(self, event: Event) -> None:
        try:
            write_whole(self.task_file(event.task), format_line(event))
        except OSError as error:
            self.failed = True
            raise LogFailed(
                f"The log {self.agent_log(event.task) if event.task else self.folder} cannot be written: "
                f"{error.strerror}.",
                hint=f"Nothing that was logged is lost: make room, then: aider-orchestrator resume {self.stamp}",
            ) from None
        self.written = event.seq

    def task_file(self, task: int | None) -> int:
        """The task's open file. Only the last used ones stay open."""
        file = self.files.pop(task) if task in self.files else open_for_append(self.agent_log(task))
        self.files[task] = file
        if len(self.files) > MAX_OPEN_FILES:
            oldest = next(task for task in self.files if task is not None)
            os.close(self.files.pop(oldest))
        return file

    def agent_log(self, task: int | None) -> Path:
        return self.folder / f"agent{task}_{self.stamp}.jsonl"

    def close(self) -> None:
        for file in self.files.values():
            os.close(file)


def format_line(event: Event) -> bytes:
    line = json.dumps(event_record(event), ensure_ascii=False).translate(ESCAPED_LINE_ENDS)
    # A lone surrogate, as of a file name that is no UTF-8, is written as \\udcff.
    return f"{line}\n".encode("utf-8", "backslashreplace")


def write_run_log(folder: Path, stamp: str, events: Iterable[Event]) -> None:
    """Write the log of a run that begins with these events. Its stamp is reserved; the run's own file comes last, so
    that a run of which a part is missing has not begun."""
    lines: defaultdict[int | None, list[bytes]] = defaultdict(list)
    for event in events:
        lines[event.task].append(format_line(event))
    for task in sorted(lines, key=lambda task: (task is None, task)):
        name = f"run_{stamp}.jsonl" if task is None else f"agent{task}_{stamp}.jsonl"
        file = os.open(folder / name, APPEND_FLAGS, 0o600)
        try:
            write_whole(file, b"".join(lines[task]))
        finally:
            os.close(file)


def prepare_log_folder(folder: Path) -> Path:
    """Make the folder of the logs, ignored by git. A repository must not redirect logs by a link."""
    if folder.is_symlink():
        raise UsageError(f"{folder} leads elsewhere, to {folder.readlink()}.", hint="Take the link away.")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder, and the logs must be kept there.", hint="Move it away.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), (folder / ".gitignore").open("x", encoding="utf-8") as ignore:
            ignore.write("*\n")
        links = {entry.name: entry.path for entry in os.scandir(folder) if entry.is_symlink()}
    except OSError as error:
        raise UsageError(f"The logs cannot be written to {folder}: {error.strerror}.") from None
    for name, path in links.items():
        # Later runs write to existing files of these names only. All other files get new names.
        if name == ".gitignore" or name.startswith(("plans", "orchestra.db")):
            raise UsageError(f"{path} leads elsewhere, to {Path(path).readlink()}.", hint="Take the link away.")
    return folder


def create_run_log(folder: Path) -> tuple[str, int]:
    """Reserve a timestamp that no other run has, by creating its file."""
    prepare_log_folder(folder)
    now = time.strftime("%Y%m%d_%H%M%S")
    for n in range(1, 10_000):
        stamp = now if n == 1 else f"{now}_{n}"
        try:
            return stamp, os.open(folder / f"run_{stamp}.jsonl", APPEND_FLAGS | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
    raise FileExistsError(f"{folder} has 10,000 runs of this second")


def open_for_append(path: Path) -> int:
    """Open for more events. A line that a crash left unfinished is ended first."""
    file = os.open(path, APPEND_FLAGS, 0o600)
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        write_whole(file, b"\n")
    return file


def write_whole(file: int, line: bytes) -> None:
    """Write all of the line, or nothing: a part written to a full disk is removed."""
    before = os.fstat(file).st_size
    try:
        while line:
            line = line[os.write(file, line) :]
    except OSError:
        os.ftruncate(file, before)
        raise


def read_run_log(folder: Path, stamp: str) -> EventLog:
    """All events of a run in order, and how many lines are no events; a crash leaves a torn last line."""
    logs = [read_log_file(file) for file in (folder / f"run_{stamp}.jsonl", *agent_logs(folder, stamp))]
    events = sorted((event for log in logs for event in log.events), key=lambda event: event.seq)
    return EventLog(tuple(events), sum(log.torn_lines for log in logs))


def list_run_stamps(folder: Path) -> list[str]:
    """The runs of a folder, the oldest first."""
    names = (path.stem.removeprefix("run_") for path in folder.glob("run_*.jsonl"))
    return sorted(names, key=lambda stamp: [int(part) for part in stamp.split("_") if part.isdigit()])


def agent_logs(folder: Path, stamp: str) -> Iterable[Path]:
    return (path for path in folder.glob(f"agent*_{stamp}.jsonl") if path.stem.split("_", 1)[1] == stamp)


def read_log_file(path: Path) -> EventLog:
    with path.open(encoding="utf-8", errors="replace") as file:
        return read_log_lines(file)


def read_log_lines(lines: Iterable[str]) -> EventLog:
    results = [read_line(line) for line in lines if line.strip()]
    events = tuple(event for event in results if event is not None)
    return EventLog(events, len(results) - len(events))


def stamp_of(name: str) -> str:
    """The run that a file belongs to; empty if none."""
    match = FILE_NAME_PATTERN.fullmatch(name)
    return match["stamp"] if match else ""


def files_by_run(folder: Path) -> dict[str, list[Path]]:
    """The files of each run. The run log comes last, so that after a deletion that failed the rest is found."""
    files = defaultdict(list)
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if (stamp := stamp_of(path.name)) and (path.is_symlink() or path.is_file()):
            files[stamp].append(path)
    return {stamp: sorted(paths, key=lambda path: path.name.startswith("run_")) for stamp, paths in files.items()}


class LogTail:
    """New events of a run while it is written: each once, in order. It continues in each file where it stopped. An
    unfinished last line is left for the next call."""

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
