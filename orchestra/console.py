"""Progress on stderr: a live board on a terminal, elsewhere one plain line per event and a heartbeat."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from orchestra import events
from orchestra.cli.ci import send_ci_command
from orchestra.events import Event, event_record
from orchestra.journal.bus import Subscription
from orchestra.model import TaskState
from orchestra.report import detail
from orchestra.report.ci import CiSystem, detect_ci_system, json_text
from orchestra.report.event_lines import actor_name, blank_controls, describe_event
from orchestra.report.fold import fold_event
from orchestra.report.phrases import cost_phrase, plural
from orchestra.report.state import Report, TaskReport
from orchestra.settings import Settings

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

HEARTBEAT = 30.0
REFRESH = 0.2
MAX_ROWS = 20


class ProgressView(Protocol):
    def show_event(self, event: Event) -> None: ...
    def display(self) -> contextlib.AbstractAsyncContextManager[None]: ...
    def pause_display(self) -> contextlib.AbstractContextManager[None]: ...  # while a person is asked


# --- plain lines ----------------------------------------------------------------------------------------------------


class NoProgress:
    """For --quiet."""

    def show_event(self, event: Event) -> None:
        return None

    def pause_display(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    @contextlib.asynccontextmanager
    async def display(self) -> AsyncIterator[None]:
        yield


class PlainLines(NoProgress):
    """For pipes, files and CI. Events up to `previous_seq` are of earlier sessions: they count, but are not printed."""

    def __init__(self, previous_seq: int = 0) -> None:
        self.previous_seq = previous_seq
        self.report = Report()
        self.last = time.monotonic()

    def show_event(self, event: Event) -> None:
        fold_event(self.report, event)
        if event.seq > self.previous_seq:
            self.print_event(event)

    def print_event(self, event: Event) -> None:
        self.print_line(describe_event(event))

    def print_line(self, text: str) -> None:
        if text:
            self.last = time.monotonic()
            # The reader of the pipe may have exited; the run goes on.
            with contextlib.suppress(OSError):
                print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    @contextlib.asynccontextmanager
    async def display(self) -> AsyncIterator[None]:
        beat = asyncio.create_task(self.print_heartbeats())
        try:
            yield
        finally:
            beat.cancel()

    async def print_heartbeats(self) -> None:
        """Print a line now and then, because CI systems end silent jobs."""
        while True:
            await asyncio.sleep(1)
            if time.monotonic() - self.last >= HEARTBEAT:
                self.print_line(heartbeat_line(self.report))


class GroupedLines(PlainLines):
    """For CI systems that fold lines under a heading."""

    def __init__(self, ci: CiSystem, previous_seq: int = 0) -> None:
        super().__init__(previous_seq)
        self.ci, self.phase = ci, ""

    def print_event(self, event: Event) -> None:
        self.enter_phase(phase_of_event(event, self.phase))
        super().print_event(event)
        if isinstance(event.payload, events.RunEnded):
            self.enter_phase("")

    def enter_phase(self, phase: str) -> None:
        if phase != self.phase:
            send_ci_command(self.ci.end_group(self.phase, time.time()) if self.phase else "")
            send_ci_command(self.ci.group(phase, time.time()) if phase else "")
            self.phase = phase


def phase_of_event(event: Event, current: str) -> str:
    if event.task is None and isinstance(event.payload, events.WorkCombined | events.GateStarted):
        return "Checks and result"
    moved = isinstance(event.payload, events.TaskMoved) and current != "Checks and result"
    return "Agents" if moved or isinstance(event.payload, events.AttemptStarted) else current or "Requirements and plan"


class JsonStream:
    """--events -: every event as a line of JSON, without the long texts, which are in the logs."""

    def show_event(self, event: Event) -> None:
        record = event_record(event)
        long_field = LONG_FIELDS.get(type(event.payload))
        record["data"] = {name: value for name, value in event.data.items() if name != long_field}
        with contextlib.suppress(OSError):
            print(json_text(record), flush=True)


LONG_FIELDS: dict[type[events.Payload], str] = {
    events.RequestEnded: "body",
    events.AssistantResponse: "content",
    events.Conversation: "packed",
    events.PrdWritten: "text",
    events.AttemptEnded: "aider",
}


class VerboseLines(PlainLines):
    """--verbose: every event."""

    def print_event(self, event: Event) -> None:
        self.print_line(describe_event(event) or blank_controls(f"{actor_name(event)}: {event.kind} {event.data}"))


def heartbeat_line(report: Report) -> str:
    states = [task.state for task in report.tasks.values()]
    at_work = states.count(TaskState.ACTIVE)
    ended = sum(bool(task.verdict) for task in report.tasks.values())
    counts = f"{plural(at_work, 'agent')} active, {ended} of {len(states)} tasks ended"
    return f"still at work: {counts}, {cost_phrase(report.usage)} so far"


# --- the board ------------------------------------------------------------------------------------------------------

STATE_STYLES = {
    "active": "cyan",
    "awaiting_qa": "green",
    "complete": "bold green",
    "failed": "bold red",
    "waiting_human": "yellow",
    "ready": "dim",
}


class ProgressBoard:
    """For a terminal: each agent's state, file, turns, tokens, dollars, time."""

    def __init__(self, previous_seq: int = 0) -> None:
        self.previous_seq = previous_seq
        self.report = Report()
        self.detail = detail.RunDetail(keeps_texts=False)
        self.since_event = time.monotonic()
        self.headline = "starting"
        self.live: Live | None = None
        self.hidden = False
        self.print_above: Callable[[str], object] = lambda text: print(text, file=sys.stderr)

    def show_event(self, event: Event) -> None:
        fold_event(self.report, event)
        detail.detail_event(self.detail, event)
        self.since_event = time.monotonic()
        if event.seq <= self.previous_seq:
            return
        if isinstance(event.payload, events.Note):
            # Printed above the board, because the board is erased when the run ends.
            self.print_above(describe_event(event))
            return
        if event.task is None and describe_event(event):
            self.headline = describe_event(event)

    @contextlib.asynccontextmanager
    async def display(self) -> AsyncIterator[None]:
        from rich.console import Console
        from rich.live import Live

        with Live(self.build_table(), console=Console(stderr=True), transient=True, auto_refresh=False) as live:
            self.print_above = lambda text: live.console.print(text, markup=False, highlight=False)
            self.live = live
            drawing = asyncio.create_task(self.keep_drawing(live.update))
            try:
                yield
            finally:
                drawing.cancel()

    @contextlib.contextmanager
    def pause_display(self) -> Iterator[None]:
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

    async def keep_drawing(self, update: Callable[..., None]) -> None:
        while True:
            if not self.hidden:
                update(self.build_table(), refresh=True)
            await asyncio.sleep(REFRESH)

    def build_table(self) -> "Table":
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=escape(self.headline), title_justify="left", box=None, padding=(0, 1), title_style="bold")
        for name in ("agent", "state", "files"):
            table.add_column(name, no_wrap=True, overflow="ellipsis")
        for name in ("turns", "tokens", "cost", "time"):
            table.add_column(name, justify="right", no_wrap=True)
        for task in self.visible_tasks():
            style = STATE_STYLES.get(task.state, "")
            state = escape(blank_controls(self.state_words(task), 60))
            cost = "?" if task.usage.paid is None else f"${task.usage.paid:.4f}"
            words = (task.agent, f"[{style}]{state}[/]" if style else state, escape(blank_controls(task.title)))
            numbers = (str(task.iterations), f"{task.usage.tokens:,}", cost, self.working_seconds(task.id))
            table.add_row(*words, *numbers)
        table.caption = self.caption()
        table.caption_justify = "left"
        return table

    def visible_tasks(self) -> list[TaskReport]:
        """Return all tasks; of many, the active ones first, then the last that ended."""
        tasks = list(self.report.tasks.values())
        if len(tasks) <= MAX_ROWS:
            return tasks
        ended = {task.id: max((a.ended for a in self.detail.attempts(task.id)), default=0) for task in tasks}
        return sorted(tasks, key=lambda task: (task.state != TaskState.ACTIVE, -ended[task.id]))[:MAX_ROWS]

    def state_words(self, task: TaskReport) -> str:
        """Return the state, or what the task waits for and since when."""
        if task.waits and not task.verdict:
            waited = self.seconds_since(self.detail.held_up_since.get(task.id, self.detail.ended))
            return f"waiting for {task.waits.split(' (')[0]}, {waited:.0f} s"
        return task.verdict or task.state

    def caption(self) -> str:
        tasks, usage = self.report.tasks.values(), self.report.usage
        done = f"{sum(bool(task.verdict) for task in tasks)} of {len(tasks)} tasks ended"
        return f"{done}, {cost_phrase(usage)}, {usage.tokens:,} tokens" if tasks else ""

    def working_seconds(self, task: int) -> str:
        """Return how long the last attempts at a task took, so far or in all."""
        started, ended = self.detail.working_time(task) or (0, 0)
        if not started:
            return ""
        return f"{(ended - started) / 1000 if ended else self.seconds_since(started):.1f} s"

    def seconds_since(self, time_of_event: int) -> float:
        """Return the age of an event: up to the last event by their clock, from then on by ours."""
        return (self.detail.ended - time_of_event) / 1000 + time.monotonic() - self.since_event


def watch_progress(settings: Settings, previous_seq: int = 0) -> tuple[ProgressView, tuple[Subscription, ...]]:
    """Return the view of the run, and its subscriptions. `previous_seq`: the last event of earlier sessions."""
    view = choose_view(settings, previous_seq)
    stream = [Subscription("The stream of events", JsonStream().show_event, previous_seq)] if settings.events else []
    return view, (Subscription("The display of progress", view.show_event), *stream)


def choose_view(settings: Settings, previous_seq: int) -> ProgressView:
    if settings.quiet:
        return NoProgress()
    if settings.verbose:
        return VerboseLines(previous_seq)
    ci = detect_ci_system(os.environ)
    if ci.kind in ("github", "gitlab"):
        return GroupedLines(ci, previous_seq)
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb" or ci.kind:
        return PlainLines(previous_seq)
    return ProgressBoard(previous_seq)
