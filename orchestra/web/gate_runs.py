"""The runs of gates, and what they print: the file is written while the gate runs, and its keys are hidden on the way.

A gate's number is that of the event with which it began.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

from orchestra import events
from orchestra.cli.find import KnownRun, RunIndex
from orchestra.events import Event
from orchestra.journal.jsonl import stamp_of
from orchestra.providers.redact import redact, redactable_length
from orchestra.web.envelope import ApiError
from orchestra.web.rows import Row

TAIL_BYTES = 1 << 16
LARGEST_PART = 1 << 20
RANGE = re.compile(r"bytes=(\d*)-(\d*)")
FOLLOW_SECONDS = 0.3
RUNNING, PASSED, FAILED, ENDED = "running", "passed", "failed", "ended"
ENDED_FIELDS = (
    "about",
    "seconds",
    "ok",
    "verifies",
    "unproven",
    "code",
    "timed_out",
    "ran",
    "passed",
    "output",
    "remembered",
)


class GateRuns:
    """The gates of one run, folded from its events."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.running: list[Row] = []
        self.latest: dict[tuple[str, str], Row] = {}  # by name and tree

    def apply(self, event: Event) -> None:
        match event.payload:
            case events.GateStarted() as started:
                self.end_running(event.time)
                row = gate_row(event, started.name, started.command, started.tree, started.output)
                self.rows[event.seq] = self.latest[started.name, started.tree] = row
                self.running.append(row)
            case events.GateEnded() as ended:
                self.end_gate(event, ended)
            case events.RunEnded() | events.RunResumed() | events.WorkCombined() | events.TaskIntegrated():
                self.end_running(event.time)
            case events.ResultDelivered() | events.TaskExcluded():
                self.end_running(event.time)

    def end_running(self, time: int) -> None:
        """Gates run one after the other: those of the base and of second runs end without an event of their own."""
        for row in self.running:
            if row["state"] == RUNNING:
                row |= {"state": ENDED, "ended": time}
        self.running.clear()

    def end_gate(self, event: Event, ended: events.GateEnded) -> None:
        row = self.latest.pop((ended.name, ended.tree), None)
        if row is None:  # in logs of old versions, and when the outcome of an earlier run of the gate counts
            row = gate_row(event, ended.name, ended.command, ended.tree, ended.output)
            row["started"] -= 0 if ended.remembered else round(1000 * ended.seconds)
            self.rows[event.seq] = row
        row |= {"task": event.task, "attempt": event.attempt, "state": PASSED if ended.ok else FAILED}
        row |= {name: getattr(ended, name) for name in ENDED_FIELDS} | {"failures": list(ended.new)}
        row["ended"] = row["ended"] or event.time
        # Its verdict comes after its second run, and after that of the base.
        if all(is_part_of(each, ended) for each in self.running):
            self.end_running(event.time)


def is_part_of(row: Row, ended: events.GateEnded) -> bool:
    """Whether this run of a gate was needed for the verdict."""
    is_base = row["tree"].partition("-")[0] == "base" and row["name"] == ended.name
    return is_base or f"{row['tree']}-".startswith(f"{ended.tree}-")


def gate_row(event: Event, name: str, command: str, tree: str, output: str) -> Row:
    row = {"number": event.seq, "name": name, "command": command, "tree": tree, "output": output, "state": RUNNING}
    return row | {"task": event.task, "attempt": event.attempt, "started": event.time, "ended": 0, "ok": None}


def find_output(index: RunIndex, run: KnownRun, row: Row) -> Path:
    """Return the file of a gate's output. No file of another run is read, because events may have been forged."""
    path = index.logs / Path(row["output"]).name
    known = row["output"] and not run.elsewhere and stamp_of(path.name) == run.name
    if not known or path.is_symlink() or not path.is_file():
        raise ApiError(404, f"{row['name']} has no output here.")
    return path


def read_tail(path: Path) -> tuple[int, bytes]:
    """Return the end of a file from the beginning of a line, and where that is."""
    size = path.stat().st_size
    start = max(0, size - TAIL_BYTES)
    content = read_part(path, start, size)
    skipped = content.find(b"\n") + 1 if start else 0
    return start + skipped, content[skipped:]


def read_part(path: Path, start: int, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(min(end - start, LARGEST_PART))


def parse_range(header: str, size: int) -> tuple[int, int]:
    """Return the first byte and the one after the last of a header `Range`. Raise 416 if there is none in the file."""
    match = RANGE.fullmatch(header.strip())
    first, last = match.groups() if match else ("", "")
    if first:
        start, end = int(first), min(size, int(last) + 1 if last else size)
    else:
        start, end = max(0, size - int(last or 0)), size
    if start >= end:
        raise ApiError(416, f"There is no such part: the output has {size} bytes.", details={"size": size})
    return start, min(end, start + LARGEST_PART)


def hide_keys(content: bytes) -> str:
    return redact(content.decode("utf-8", "replace"))


async def follow_output(path: Path, row: Row, start: int) -> AsyncIterator[bytes]:
    """Yield server-sent events: what is printed, in whole lines, until the gate has ended. `row` changes meanwhile."""
    while True:
        ended = row["state"] != RUNNING
        content = await asyncio.to_thread(read_from, path, start)
        whole = content if ended else content[: redactable_bytes(content)]
        if whole:
            start += len(whole)
            yield output_frame("output", {"next": start, "text": hide_keys(whole)}, start)
        elif ended:
            yield output_frame("end", {"next": start, "state": row["state"]}, start)
            return
        else:
            yield b": \n\n"  # so that a closed connection is noticed
            await asyncio.sleep(FOLLOW_SECONDS)


def read_from(path: Path, start: int) -> bytes:
    try:
        size = path.stat().st_size
    except OSError:
        return b""
    return read_part(path, start, size) if size > start else b""


def redactable_bytes(content: bytes) -> int:
    """Return how many bytes can be sent: whole lines, and not a part of a private key."""
    text = content.decode("utf-8", "surrogateescape")
    return len(text[: redactable_length(text)].encode("utf-8", "surrogateescape"))


def output_frame(kind: str, data: Row, number: int) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()
