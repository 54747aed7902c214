"""Follow runs: fold each one's new events once, and tell every viewer which rows have changed.

A viewer has a set of changed tasks, not a queue: a slow one gets the current rows later, and nothing is lost or
replayed. Each row has the number of the event that changed it last, so a viewer that comes back asks for later ones.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestra.cli.find import KnownRun, RunIndex
from orchestra.errors import OrchestraError
from orchestra.events import Event, HumanNeeded, UnreadableEvent
from orchestra.report.detail import RunDetail, detail_event
from orchestra.report.fold import fold_event
from orchestra.report.state import Report
from orchestra.web.gate_runs import GateRuns
from orchestra.web.rows import Row, run_row, task_row

POLL_SECONDS = 0.25
OWNER_SECONDS = 1.0
BEAT_SECONDS = 5.0


@dataclass(eq=False)
class Viewer:
    """Someone who watches a run. `changed`: the tasks whose rows were not sent yet."""

    changed: set[int] = field(default_factory=set)
    run_changed: bool = False
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class LiveRun:
    """The state of one run, as far as its events were read."""

    def __init__(self, index: RunIndex, run: KnownRun) -> None:
        self.index, self.run = index, run
        self.report, self.detail = Report(run=run.name), RunDetail(keeps_texts=False)
        self.gates = GateRuns()
        self.seq = 0
        self.task_seqs: dict[int, int] = {}
        self.ask_seqs: dict[int, int] = {}  # by task, the event with its last question to a person
        self.has_owner = False
        self.owner_checked = 0.0
        self.store_error = ""
        self.viewers: set[Viewer] = set()
        self.reading = asyncio.Lock()  # or two readers would fold the same events

    async def refresh(self) -> None:
        """Fold what is new."""
        async with self.reading:
            self.apply(*await asyncio.to_thread(self.read_news))

    def read(self) -> list[Event]:
        """Read the new events: first from the log files, which are whole, later from the store."""
        if not self.seq:
            return list(self.index.read_log(self.run).events)
        return self.index.store.read_events(self.run.key, self.run.name, after=self.seq)

    def read_news(self) -> tuple[list[Event], bool, str]:
        """Read what is new, and whether a process works on the run. Called in a thread."""
        try:
            owner = self.has_owner
            if time.monotonic() - self.owner_checked > OWNER_SECONDS:
                owner = self.index.find_owner(self.run) is not None
                self.owner_checked = time.monotonic()
            return self.read(), owner, ""
        except OrchestraError as error:
            return [], self.has_owner, str(error)

    def apply(self, events: Sequence[Event], has_owner: bool, store_error: str = "") -> None:
        """Fold the events, and mark what they changed for all viewers."""
        changed = set[int]()
        run_changed = bool(events) or has_owner != self.has_owner or store_error != self.store_error
        self.has_owner, self.store_error = has_owner, store_error
        for event in events:
            if isinstance(event, UnreadableEvent):
                self.report.unreadable += 1
            fold_event(self.report, event)
            detail_event(self.detail, event)
            self.gates.apply(event)
            self.seq = max(self.seq, event.seq)
            if isinstance(event.payload, HumanNeeded):
                self.ask_seqs[event.task or 0] = event.seq
            changed |= {event.task} if event.task is not None else set(self.report.tasks)
        for task in changed:
            self.task_seqs[task] = self.seq
        for viewer in self.viewers if run_changed else ():
            viewer.changed |= changed
            viewer.run_changed = True
            viewer.woken.set()

    def run_row(self) -> Row:
        row = run_row(self.report, self.detail, has_owner=self.has_owner, seq=self.seq)
        return row | {"problem": self.store_error, "elsewhere": self.run.elsewhere or None}

    def task_rows(self, tasks: set[int] | None = None) -> list[Row]:
        return [
            task_row(self.report, self.detail, task, self.task_seqs.get(task.id, 0))
            for task in self.report.tasks.values()
            if tasks is None or task.id in tasks
        ]

    def rows_after(self, seq: int) -> list[Row]:
        return self.task_rows({task for task, changed in self.task_seqs.items() if changed > seq})


class LiveRuns:
    """The watched runs, polled together while somebody watches."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, str], LiveRun] = {}
        self.poller: asyncio.Task[None] | None = None

    async def open(self, index: RunIndex, run: KnownRun) -> LiveRun:
        """Return the state of a run, read up to now."""
        key = (str(index.root), run.name)
        live = self.runs.setdefault(key, LiveRun(index, run))
        await live.refresh()
        if not live.viewers and len(self.runs) > 32:
            self.runs = {each: one for each, one in self.runs.items() if one.viewers or one is live}
        return live

    def count_viewers(self) -> int:
        return sum(len(live.viewers) for live in self.runs.values())

    @contextlib.asynccontextmanager
    async def watch(self, live: LiveRun) -> AsyncIterator[Viewer]:
        viewer = Viewer()
        live.viewers.add(viewer)
        self.runs[str(live.index.root), live.run.name] = live  # it may have been dropped since it was opened
        if self.poller is None or self.poller.done():
            self.poller = asyncio.create_task(self.poll())
        try:
            yield viewer
        finally:
            live.viewers.discard(viewer)

    async def poll(self) -> None:
        while watched := [live for live in self.runs.values() if live.viewers]:
            await asyncio.gather(*(live.refresh() for live in watched))
            await asyncio.sleep(POLL_SECONDS)


async def stream_frames(runs: LiveRuns, live: LiveRun, after: int) -> AsyncIterator[bytes]:
    """Yield server-sent events: all rows after `after` first, then what changes, and a beat while nothing does."""
    async with runs.watch(live) as viewer:
        yield frame("snapshot", live, live.rows_after(after))
        while runs.poller and not runs.poller.done():  # else the page shows that it is stale, and asks again
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(viewer.woken.wait(), BEAT_SECONDS)
            viewer.woken.clear()
            changed, viewer.changed = viewer.changed, set()
            has_news, viewer.run_changed = viewer.run_changed, False
            yield frame("rows", live, live.task_rows(changed)) if has_news else frame("beat", live, None)


def frame(kind: str, live: LiveRun, rows: list[Row] | None) -> bytes:
    data: dict[str, Any] = {"seq": live.seq, "time": int(time.time() * 1000)}
    if rows is not None:
        data |= {"run": live.run_row(), "rows": rows}
    return f"id: {live.seq}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()
