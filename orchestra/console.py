"""Progress on stderr: a live board on a terminal, elsewhere one plain line per event and a heartbeat."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from orchestra.cli.ci import order
from orchestra.events import (
    AssistantResponse,
    AttemptEnded,
    AttemptStarted,
    Combined,
    Conversation,
    Event,
    GateStarted,
    Note,
    Payload,
    PrdWritten,
    Request,
    RunEnded,
    TaskMoved,
    to_record,
)
from orchestra.journal.bus import Handler
from orchestra.model import TaskState
from orchestra.report import detail
from orchestra.report.ci import Ci, json_text, recognise
from orchestra.report.fold import step
from orchestra.report.lines import clean, line, who
from orchestra.report.sentence import money, plural
from orchestra.report.state import Report, TaskReport
from orchestra.settings import Settings

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

HEARTBEAT = 30.0
REFRESH = 0.2
MOST_ROWS = 20


class View(Protocol):
    def hear(self, event: Event) -> None: ...
    def showing(self) -> contextlib.AbstractAsyncContextManager[None]: ...
    def aside(self) -> contextlib.AbstractContextManager[None]: ...  # while a person is asked


# --- plain lines ----------------------------------------------------------------------------------------------------


class Lines:
    """For pipes, files and CI. Events up to the number `past` are of earlier sessions: they count, but are not said."""

    def __init__(self, past: int = 0) -> None:
        self.past = past
        self.report = Report()
        self.last = time.monotonic()

    def hear(self, event: Event) -> None:
        step(self.report, event)
        if event.seq > self.past:
            self.tell(event)

    def tell(self, event: Event) -> None:
        self.say(line(event))

    def aside(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def say(self, text: str) -> None:
        if text:
            self.last = time.monotonic()
            # Whoever read our progress may be gone; the run goes on without a reader.
            with contextlib.suppress(OSError):
                print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    @contextlib.asynccontextmanager
    async def showing(self) -> AsyncIterator[None]:
        beat = asyncio.create_task(self.beat())
        try:
            yield
        finally:
            beat.cancel()

    async def beat(self) -> None:
        """A sign of life, because CI systems end what is silent."""
        while True:
            await asyncio.sleep(1)
            if time.monotonic() - self.last >= HEARTBEAT:
                self.say(pulse(self.report))


class Grouped(Lines):
    """For CI systems that fold lines away under a heading."""

    def __init__(self, ci: Ci, past: int = 0) -> None:
        super().__init__(past)
        self.ci, self.phase = ci, ""

    def tell(self, event: Event) -> None:
        self.enter(phase(event, self.phase))
        super().tell(event)
        if isinstance(event.payload, RunEnded):
            self.enter("")

    def enter(self, phase: str) -> None:
        if phase != self.phase:
            order(self.ci.end_group(self.phase, time.time()) if self.phase else "")
            order(self.ci.group(phase, time.time()) if phase else "")
            self.phase = phase


def phase(event: Event, now: str) -> str:
    if event.task is None and isinstance(event.payload, Combined | GateStarted):
        return "Checks and result"
    if isinstance(event.payload, AttemptStarted):
        return "Agents"
    if isinstance(event.payload, TaskMoved):
        return "Agents" if now != "Checks and result" else now
    return now or "Requirements and plan"


class Stream:
    """--events -: every event as a line of JSON, without the long texts that the logs have."""

    def __init__(self, past: int = 0) -> None:
        self.past = past

    def hear(self, event: Event) -> None:
        if event.seq > self.past:
            self.put(event)

    def put(self, event: Event) -> None:
        record = to_record(event)
        long = LONG.get(type(event.payload))
        record["data"] = {name: value for name, value in event.data.items() if name != long}
        with contextlib.suppress(OSError):
            print(json_text(record), flush=True)


LONG: dict[type[Payload], str] = {
    Request: "body",
    AssistantResponse: "content",
    Conversation: "packed",
    PrdWritten: "text",
    AttemptEnded: "aider",
}


class Silence:
    def hear(self, event: Event) -> None:
        return None

    def aside(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    @contextlib.asynccontextmanager
    async def showing(self) -> AsyncIterator[None]:
        yield


class Everything(Lines):
    """--verbose: every event as it is written."""

    def tell(self, event: Event) -> None:
        self.say(line(event) or clean(f"{who(event)}: {event.kind} {event.data}"))


def pulse(report: Report) -> str:
    states = [task.state for task in report.tasks.values()]
    at_work = states.count(TaskState.ACTIVE)
    ended = sum(bool(task.verdict) for task in report.tasks.values())
    counts = f"{plural(at_work, 'agent')} active, {ended} of {len(states)} tasks ended"
    return f"still at work: {counts}, {money(report.usage)} so far"


# --- the board ------------------------------------------------------------------------------------------------------

STATE_STYLES = {
    "active": "cyan",
    "awaiting_qa": "green",
    "complete": "bold green",
    "failed": "bold red",
    "waiting_human": "yellow",
    "ready": "dim",
}


class Board:
    """For a terminal: each agent's state, file, turns, tokens, dollars, time."""

    def __init__(self, past: int = 0) -> None:
        self.past = past
        self.report = Report()
        self.detail = detail.Detail(words=False)
        self.since_event = time.monotonic()
        self.doing = "starting"
        self.live: Live | None = None
        self.hidden = False
        self.above: Callable[[str], object] = lambda text: print(text, file=sys.stderr)

    def hear(self, event: Event) -> None:
        step(self.report, event)
        detail.step(self.detail, event)
        self.since_event = time.monotonic()
        if event.seq <= self.past:
            return
        if isinstance(event.payload, Note):
            # Said once and for good: the board itself is gone when the run ends.
            self.above(line(event))
            return
        if event.task is None and line(event):
            self.doing = line(event)

    @contextlib.asynccontextmanager
    async def showing(self) -> AsyncIterator[None]:
        from rich.console import Console
        from rich.live import Live

        with Live(self.table(), console=Console(stderr=True), transient=True, auto_refresh=False) as live:
            self.above = lambda text: live.console.print(text, markup=False, highlight=False)
            self.live = live
            drawing = asyncio.create_task(self.draw(live.update))
            try:
                yield
            finally:
                drawing.cancel()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        if self.live is None:
            yield
            return
        self.hidden = True
        self.live.stop()
        try:
            yield
        finally:
            self.live.start()
            self.hidden = False

    async def draw(self, update: Callable[..., None]) -> None:
        while True:
            if not self.hidden:
                update(self.table(), refresh=True)
            await asyncio.sleep(REFRESH)

    def table(self) -> "Table":
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=escape(self.doing), title_justify="left", box=None, padding=(0, 1), title_style="bold")
        for name in ("agent", "state", "files"):
            table.add_column(name, no_wrap=True, overflow="ellipsis")
        for name in ("turns", "tokens", "cost", "time"):
            table.add_column(name, justify="right", no_wrap=True)
        for task in self.rows():
            style = STATE_STYLES.get(task.state, "")
            said = escape(clean(self.state(task), 60))
            state = f"[{style}]{said}[/]" if style else said
            cost = "?" if task.usage.paid is None else f"${task.usage.paid:.4f}"
            table.add_row(
                task.agent,
                state,
                escape(clean(task.title)),
                str(task.iterations),
                f"{task.usage.tokens:,}",
                cost,
                self.clock(task.id),
            )
        table.caption = self.caption()
        table.caption_justify = "left"
        return table

    def rows(self) -> list[TaskReport]:
        """With many tasks: those at work first, then the latest."""
        tasks = list(self.report.tasks.values())
        if len(tasks) <= MOST_ROWS:
            return tasks
        ended = {task.id: max((each.ended for each in self.detail.attempts(task.id)), default=0) for task in tasks}
        return sorted(tasks, key=lambda task: (task.state != TaskState.ACTIVE, -ended[task.id]))[:MOST_ROWS]

    def state(self, task: TaskReport) -> str:
        """Also for whom it waits, and how long already."""
        if task.waits and not task.verdict:
            waited = self.seconds_since(self.detail.held_up.get(task.id, self.detail.ended))
            return f"waiting for {task.waits.split(' (')[0]}, {waited:.0f} s"
        return task.verdict or task.state

    def caption(self) -> str:
        total = len(self.report.tasks)
        if not total:
            return ""
        done = sum(bool(task.verdict) for task in self.report.tasks.values())
        return f"{done} of {total} tasks ended, {money(self.report.usage)}, {self.report.usage.tokens:,} tokens"

    def clock(self, task: int) -> str:
        """How long the last attempts at a task take, or took."""
        span = self.detail.working_time(task)
        if span is None:
            return ""
        begun, ended = span
        return f"{(ended - begun) / 1000 if ended else self.seconds_since(begun):.1f} s"

    def seconds_since(self, time_of_event: int) -> float:
        """By the clock of the events, which stands still between two of them: the age of the last one is added."""
        return (self.detail.ended - time_of_event) / 1000 + time.monotonic() - self.since_event


def watching(settings: Settings, past: int = 0) -> tuple[View, dict[str, Handler]]:
    """What a person sees of the run, and what hears of its events, by name. `past`: how many earlier sessions had."""
    screen = view(settings, past)
    screens: dict[str, Handler] = {"The display of progress": screen.hear}
    return screen, screens | ({"The stream of events": Stream(past).hear} if settings.events else {})


def view(settings: Settings, past: int) -> View:
    if settings.quiet:
        return Silence()
    if settings.verbose:
        return Everything(past)
    ci = recognise(os.environ)
    if ci.kind in ("github", "gitlab"):
        return Grouped(ci, past)
    plain = not sys.stderr.isatty() or os.environ.get("TERM") == "dumb" or ci.kind
    return Lines(past) if plain else Board(past)
