"""The live board on a terminal: a title, a bar for the run, and a row for each task."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from orchestra import events
from orchestra.events import Event
from orchestra.model import TaskState
from orchestra.report import detail
from orchestra.report.detail import Phase, phase_words, task_phase
from orchestra.report.event_lines import blank_controls, describe_event
from orchestra.report.fold import fold_event
from orchestra.report.phrases import format_budget
from orchestra.report.plans.estimate import time_left
from orchestra.report.state import Report, TaskReport

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.live import Live

REFRESH = 0.2
MAX_ROWS = 20
OTHER_LINES = 4  # title, bar, heading, and the line of what is left out
NARROW = 72  # columns, below which the turns and tokens of a task are not shown
SHORTEST_BAR = 6
LONGEST_BAR = 40
STYLES = {
    Phase.QUEUED: "dim",
    Phase.WAITING_PROVIDER: "yellow",
    Phase.WAITING_BUDGET: "yellow",
    Phase.WAITING_PERSON: "bold yellow",
    Phase.ACCEPTED: "green",
    Phase.MERGING: "green",
    Phase.DONE: "bold green",
    Phase.FAILED: "bold red",
    Phase.ABANDONED: "dim",
}


class ProgressBoard:
    """What a terminal shows of a run. Events up to `previous_seq` are of earlier sessions."""

    def __init__(self, previous_seq: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.previous_seq, self.clock = previous_seq, clock
        self.report = Report()
        self.detail = detail.RunDetail(keeps_texts=False)
        self.since_event = self.clock()
        self.headline = "starting"
        self.live: Live | None = None
        self.print_above: Callable[[str], object] = lambda text: print(text, file=sys.stderr)

    def show_event(self, event: Event) -> None:
        fold_event(self.report, event)
        detail.detail_event(self.detail, event)
        self.since_event = self.clock()
        if event.seq <= self.previous_seq:
            return
        if isinstance(event.payload, events.Note):
            # Printed above the board, because the board is erased when the run ends.
            self.print_above(describe_event(event))
        elif event.task is None and describe_event(event):
            self.headline = describe_event(event)

    @contextlib.asynccontextmanager
    async def display(self) -> AsyncIterator[None]:
        from rich.console import Console
        from rich.live import Live

        with Live(self, console=Console(stderr=True), transient=True, auto_refresh=False) as live:
            self.print_above = lambda text: live.console.print(text, markup=False, highlight=False)
            self.live = live
            drawing = asyncio.create_task(self.keep_drawing(live))
            try:
                yield
            finally:
                drawing.cancel()

    @contextlib.contextmanager
    def pause_display(self) -> Iterator[None]:
        if self.live is None:
            yield
            return
        self.live.stop()
        try:
            yield
        finally:
            self.live.start()

    async def keep_drawing(self, live: "Live") -> None:
        while True:
            if live.is_started:
                live.refresh()
            await asyncio.sleep(REFRESH)

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        yield Text(self.headline, style="bold", no_wrap=True, overflow="ellipsis")
        if self.report.tasks:
            yield self.draw_bar(options.max_width)
            yield self.draw_tasks(options.max_width, max(1, min(MAX_ROWS, console.height - OTHER_LINES)))

    def draw_bar(self, width: int) -> "RenderableType":
        """Return the bar with its figures; the last ones are left out if the line is too long."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        total, done = len(self.report.tasks), sum(task.has_ended for task in self.report.tasks.values())
        elapsed = self.report.seconds + self.clock() - self.since_event
        parts = [f"{done} of {total}", format_clock(elapsed), format_budget(self.report)]
        left = time_left(self.report, self.worked_seconds)
        parts += [f"about {format_left(left)} left"] if left else []
        while len(parts) > 1 and len("  ".join(parts)) + SHORTEST_BAR + 1 > width:
            parts.pop()
        words = "  ".join(parts)
        length = max(SHORTEST_BAR, min(LONGEST_BAR, width - len(words) - 1))
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=length)
        grid.add_column(no_wrap=True)
        grid.add_row(ProgressBar(total=total, completed=done, width=length), Text(words))
        return grid

    def draw_tasks(self, width: int, rows: int) -> "RenderableType":
        from rich.table import Table
        from rich.text import Text

        tasks, hidden = self.visible_tasks(rows)
        wide = width >= NARROW
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, expand=True, header_style="dim")
        table.add_column("agent", no_wrap=True, min_width=7)
        table.add_column("state", no_wrap=True, min_width=max(len(phase) for phase in Phase))
        table.add_column("files", no_wrap=True, ratio=1)
        for name, least in (("turns", 5), ("tokens", 6)) if wide else ():
            table.add_column(name, justify="right", no_wrap=True, min_width=least)
        for name, least in (("cost", 7), ("time", 7)):
            table.add_column(name, justify="right", no_wrap=True, min_width=least)
        for task in tasks:
            phase = task_phase(self.report, self.detail, task)
            table.add_row(
                task.agent,
                Text(phase_words(self.report, self.detail, task), style=STYLES.get(phase, "cyan")),
                FileNames(task),
                *((str(task.iterations), format_tokens(task.usage.tokens)) if wide else ()),
                "?" if task.usage.paid is None else f"${task.usage.paid:.4f}",
                self.working_clock(task.id),
            )
        if hidden:
            done = sum(task.has_ended for task in hidden)
            table.caption = f"and {len(hidden)} more: {done} ended, {len(hidden) - done} to come"
            table.caption_justify = "left"
        return table

    def visible_tasks(self, rows: int) -> tuple[list[TaskReport], list[TaskReport]]:
        """Return the tasks to show, and the rest: of many, those at work come first, then those that ended last."""
        tasks = list(self.report.tasks.values())
        if len(tasks) <= rows:
            return tasks, []
        ended = {task.id: max((a.ended for a in self.detail.attempts(task.id)), default=0) for task in tasks}
        order = sorted(tasks, key=lambda task: (task.state != TaskState.ACTIVE, not task.asks, -ended[task.id]))
        return order[:rows], order[rows:]

    @property
    def worked_seconds(self) -> float:
        """How long agents have worked so far."""
        since = self.seconds_since(self.report.working_since) if self.report.running_attempts else 0.0
        return self.report.worked_ms / 1000 + since

    def working_clock(self, task: int) -> str:
        """Return how long the last attempts at a task took, so far or in all. Empty before the first."""
        span = self.detail.working_time(task)
        if span is None:
            return ""
        started, ended = span
        return format_clock((ended - started) / 1000 if ended else self.seconds_since(started))

    def seconds_since(self, time_of_event: int) -> float:
        """Return the age of an event: up to the last event by their clock, from then on by ours."""
        return (self.detail.ended - time_of_event) / 1000 + self.clock() - self.since_event


class FileNames:
    """The names of a task's files, fitted to the column. Their ends are kept, because they tell files apart."""

    def __init__(self, task: TaskReport) -> None:
        self.files = [blank_controls(path) for path in task.files]
        self.title = blank_controls(task.title)

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        yield Text(shorten_names(self.files, self.title, options.max_width), no_wrap=True, overflow="ellipsis")


def shorten_names(files: Sequence[str], title: str, width: int) -> str:
    """Return the names of files, or the title of a task without files. What does not fit becomes a count, and the
    beginning of the first path gives way."""
    if not files:
        return title
    whole = ", ".join(files)
    if len(whole) <= width:
        return whole
    more = f" +{len(files) - 1}" if len(files) > 1 else ""
    room = max(1, width - len(more))
    first = files[0] if len(files[0]) <= room else "…" + files[0][len(files[0]) - room + 1 :]
    return first + more


def format_tokens(tokens: int) -> str:
    """950, 12.3k, 4.56M."""
    if tokens < 1_000:
        return str(tokens)
    return f"{tokens / 1_000:.1f}k" if tokens < 999_950 else f"{tokens / 1_000_000:.2f}M"


def format_left(seconds: float) -> str:
    """20 s, 3 min: no more exact than an estimate is."""
    return f"{10 * max(1, round(seconds / 10))} s" if seconds < 95 else f"{max(2, round(seconds / 60))} min"


def format_clock(seconds: float) -> str:
    """0:09, 12:34, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
