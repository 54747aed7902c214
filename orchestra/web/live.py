"""Follow runs: fold each one's new events once, and tell every viewer which rows have changed.

A viewer has a set of changed tasks, not a queue: a slow one gets the current rows later, and nothing is lost or
replayed. Each row has the number of the event that changed it last, so a viewer that comes back asks for later ones.
"""

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestra.cli.find import KnownRun, RunIndex
from orchestra.errors import OrchestraError
from orchestra.events import Event, HumanNeeded, RunEnded
from orchestra.web.event_pages import PAGE_EVENTS, read_page
from orchestra.web.repositories import exists
from orchestra.web.rows import Row
from orchestra.web.run_fold import Checkpoints, RunFold

POLL_SECONDS = 0.25
IDLE_SECONDS = 1.0  # between two looks at a run without an owner
OWNER_SECONDS = 1.0
BEAT_SECONDS = 5.0
READING_SECONDS = 1.0  # of one look
MOST_WITH_CHECKPOINTS = 8  # runs
MOST_KEPT = 32  # runs that nobody watches
MOST_TOASTS = 20  # for a viewer that does not read


@dataclass(eq=False)
class Viewer:
    """A stream that shows a run. `changed`: the tasks whose rows were not sent yet. `woken` is shared by the runs that
    one WebSocket shows."""

    kind: str = "sse"
    changed: set[int] = field(default_factory=set)
    run_changed: bool = False
    toasts: deque[Row] = field(default_factory=lambda: deque(maxlen=MOST_TOASTS))
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    changed_at: int = 0  # the time of the first event that was not sent yet (ms)

    def mark(self, changed: Iterable[int], toasts: Iterable[Row], time: int) -> None:
        self.changed |= set(changed)
        self.toasts.extend(toasts)
        self.changed_at = self.changed_at or time
        self.run_changed = True
        self.woken.set()


class LiveRun(RunFold):
    """The state of one run, as far as its events were read."""

    def __init__(self, index: RunIndex, run: KnownRun, checkpoints: Checkpoints | None = None) -> None:
        super().__init__(run.name)
        self.index, self.run = index, run
        self.checkpoints = Checkpoints() if checkpoints is None else checkpoints
        self.ref = run.name  # how the API names it
        self.has_owner = False
        self.is_deleted = False
        self.is_behind = False  # there are more events than could be read at once
        self.owner_checked = 0.0
        self.store_error = ""
        self.viewers: set[Viewer] = set()
        self.reading = asyncio.Lock()  # or two readers would fold the same events
        self.next_look = 0.0
        self.encoded: dict[tuple[str, frozenset[int]], str] = {}  # since the last change: one body for all viewers

    async def refresh(self) -> None:
        """Fold what is new. Of very much, as much as there is time for: the poller, or the next request, goes on."""
        async with self.reading:
            until = time.monotonic() + READING_SECONDS
            self.is_behind = True
            while self.is_behind and time.monotonic() < until:
                events, has_owner, store_error = await asyncio.to_thread(self.read_news)
                # The first page of a small run is all of it.
                self.is_behind = len(events) == PAGE_EVENTS
                self.apply(events, has_owner, store_error)

    def read(self) -> Sequence[Event]:
        return read_page(self.index, self.run, self.seq)

    def read_news(self) -> tuple[Sequence[Event], bool, str]:
        """Read what is new, and whether a process works on the run. Called in a thread."""
        try:
            owner = self.has_owner
            if time.monotonic() - self.owner_checked > OWNER_SECONDS:
                owner = self.index.find_owner(self.run) is not None
                self.is_deleted = bool(self.seq) and not owner and not exists(self.index, self.run)
                self.owner_checked = time.monotonic()
            return self.read(), owner, ""
        except OrchestraError as error:
            return [], self.has_owner, str(error)

    def apply(self, events: Sequence[Event], has_owner: bool, store_error: str = "") -> None:
        """Fold the events, and mark what they changed for all viewers."""
        run_changed = bool(events) or has_owner != self.has_owner or store_error != self.store_error
        self.has_owner, self.store_error = has_owner, store_error
        before = self.seq
        for event in events:
            self.fold(event)
            self.checkpoints.offer(self)
        self.next_look = time.monotonic() + (POLL_SECONDS if events or has_owner else IDLE_SECONDS)
        if run_changed or self.is_deleted:
            self.encoded.clear()
            changed = self.tasks_after(before)
            toasts = [toast for event in events if (toast := self.toast_of(event))]
            for viewer in self.viewers:
                viewer.mark(changed, toasts, events[0].time if events else server_time())

    def toast_of(self, event: Event) -> Row | None:
        """Return what a person should see of an event at once."""
        match event.payload:
            case HumanNeeded(why=why):
                return {"level": "question", "task": event.task, "text": why}
            case RunEnded(exit_code=code):
                level = "info" if code == 0 else "error"
                return {"level": level, "task": None, "text": str(self.current_row()["verdict"])}
        return None

    def current_row(self) -> Row:
        row = self.run_row(has_owner=self.has_owner)
        return row | {"problem": self.store_error, "elsewhere": self.run.elsewhere or None, "reading": self.is_behind}

    def tasks_after(self, seq: int) -> set[int]:
        return {task for task in self.report.tasks if self.row_seq(task) > seq}

    def encode(self, kind: str, tasks: set[int]) -> str:
        """Return the body of a message with the run and these rows. It is made once for all viewers that need it."""
        key = (kind, frozenset(tasks))
        if key not in self.encoded:
            data = {"type": kind, "run_id": self.ref, "seq": self.seq, "time": server_time()}
            data |= {"run": self.current_row(), "rows": self.task_rows(tasks)}
            self.encoded[key] = json.dumps(data, separators=(",", ":"))
        return self.encoded[key]

    def message(self, kind: str, **data: Any) -> str:
        return json.dumps({"type": kind, "run_id": self.ref, "seq": self.seq, "time": server_time(), **data})


class LiveRuns:
    """The watched runs, polled together while somebody watches. `observe_lag` gets the seconds between a change and
    the message about it, and the number of its rows."""

    def __init__(self, observe_lag: Callable[[float, int], None] = lambda *_: None) -> None:
        self.runs: dict[tuple[str, str], LiveRun] = {}
        self.checkpoints: dict[tuple[str, str], Checkpoints] = {}
        self.poller: asyncio.Task[None] | None = None
        self.observe_lag = observe_lag

    async def open(self, index: RunIndex, run: KnownRun) -> LiveRun:
        """Return the state of a run, read up to now."""
        live = self.get(index, run)
        await live.refresh()
        return live

    def get(self, index: RunIndex, run: KnownRun) -> LiveRun:
        """Return the state of a run as it was read last. The oldest runs without a viewer are dropped."""
        key = (str(index.root), run.name)
        live = self.runs.pop(key, None) or LiveRun(index, run, self.checkpoints_of(key))
        self.runs[key] = live
        unwatched = [each for each, one in self.runs.items() if not one.viewers and one is not live]
        for each in unwatched[: max(0, len(unwatched) - MOST_KEPT)]:
            del self.runs[each]
        return live

    def checkpoints_of(self, key: tuple[str, str]) -> Checkpoints:
        """Return the checkpoints of a run; only those of the last runs are kept."""
        found = self.checkpoints.pop(key, None) or Checkpoints()
        self.checkpoints[key] = found
        while len(self.checkpoints) > MOST_WITH_CHECKPOINTS:
            del self.checkpoints[next(iter(self.checkpoints))]
        return found

    def count_viewers(self, kind: str) -> int:
        return sum(viewer.kind == kind for live in self.runs.values() for viewer in live.viewers)

    @contextlib.asynccontextmanager
    async def watch(self, live: LiveRun) -> AsyncIterator[Viewer]:
        viewer = Viewer()
        self.add_viewer(live, viewer)
        try:
            yield viewer
        finally:
            live.viewers.discard(viewer)

    def add_viewer(self, live: LiveRun, viewer: Viewer) -> None:
        live.viewers.add(viewer)
        live.next_look = 0.0
        self.runs[str(live.index.root), live.run.name] = live  # it may have been dropped since it was opened
        if self.poller is None or self.poller.done():
            self.poller = asyncio.create_task(self.poll())

    @property
    def is_polling(self) -> bool:
        return self.poller is not None and not self.poller.done()

    async def poll(self) -> None:
        """Look at the watched runs, one after the other in one thread: with a thread for each, other requests wait."""
        while watched := [live for live in self.runs.values() if live.viewers]:
            now = time.monotonic()
            for live in watched:
                if live.next_look <= now or live.is_behind:
                    await live.refresh()
            await asyncio.sleep(0 if any(live.is_behind for live in watched) else POLL_SECONDS)

    def take_body(self, live: LiveRun, viewer: Viewer) -> tuple[str, str] | None:
        """Return the kind and body of the next message to a viewer; None if there is no news."""
        if not viewer.run_changed:
            return None
        if live.is_deleted:
            return "gone", live.message("gone", text=f"Run {live.run.name} was deleted.")
        body = live.encode("rows", viewer.changed)
        self.observe_lag(max(0, server_time() - viewer.changed_at) / 1000, len(viewer.changed))
        viewer.changed, viewer.run_changed, viewer.changed_at = set(), False, 0
        return "rows", body


def server_time() -> int:
    return int(time.time() * 1000)


async def stream_frames(runs: LiveRuns, live: LiveRun, after: int) -> AsyncIterator[bytes]:
    """Yield server-sent events: all rows after `after` first, then what changes, and a beat while nothing does."""
    async with runs.watch(live) as viewer:
        yield frame("snapshot", live.seq, live.encode("snapshot", live.tasks_after(after)))
        while runs.is_polling:  # else the page shows that it is stale, and asks again
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(viewer.woken.wait(), BEAT_SECONDS)
            viewer.woken.clear()
            toasts, body = take_toasts(viewer), runs.take_body(live, viewer)
            for toast in toasts:
                yield frame("toast", live.seq, live.message("toast", **toast))
            yield frame(body[0], live.seq, body[1]) if body else frame("beat", live.seq, live.message("beat"))
            if body and body[0] == "gone":
                return


def take_toasts(viewer: Viewer) -> list[Row]:
    toasts = list(viewer.toasts)
    viewer.toasts.clear()
    return toasts


def frame(kind: str, seq: int, body: str) -> bytes:
    return f"id: {seq}\nevent: {kind}\ndata: {body}\n\n".encode()
