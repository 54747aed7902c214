"""Progress on stderr: a live board on a terminal, elsewhere one plain line per event and a heartbeat."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from orchestra.cli.ci import order
from orchestra.journal.jsonl import Listener, to_record
from orchestra.model import Event, TaskState
from orchestra.report.ci import Ci, json_text, recognise
from orchestra.report.fold import Report, TaskReport, step
from orchestra.report.sentence import money, plural
from orchestra.report.words import gate_outcome
from orchestra.settings import Settings

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

HEARTBEAT = 30.0
REFRESH = 0.2
MOST_ROWS = 20
# By its tree, what a run of tests is for that only says what the tests are worth.
PURPOSES = {
    "control": "once more with a test of ours that must fail",
    "base-tests": "once more with the base's tests",
    "base-tests1": "once more with the base's tests and build files",
    "new-tests": "the new tests on the base",
}


class View(Protocol):
    def hear(self, event: Event) -> None: ...
    def showing(self) -> contextlib.AbstractAsyncContextManager[None]: ...
    def aside(self) -> contextlib.AbstractContextManager[None]: ...  # while a person is asked


def clean(text: str, limit: int = 300) -> str:
    """Text of models and repositories may hold control characters; none of them reaches the terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)[:limit]


# --- plain lines ----------------------------------------------------------------------------------------------------


def line(event: Event) -> str:
    """One event for a person, or nothing where it is not worth a line."""
    words = LINES.get(event.kind)
    return clean(words(event)) if words else ""


def who(event: Event) -> str:
    return f"agent{event.task}" if event.task is not None else "run"


def request_line(event: Event) -> str:
    data, used = event.data, event.data["usage"]
    head = f"{who(event) if event.task else data['role']}:"
    if data["failure"]:
        status = data["status"] or "no answer"
        return f"{head} {data['provider']} {data['failure']} ({status}): {data['message']}"
    cost = "" if used["dollars"] is None else f", ${used['dollars']:.4f}"
    tokens = f"{used['input']:,}+{used['output']:,} tokens"
    return f"{head} reply of {data['model']} in {data['seconds']:.1f} s, {tokens}{cost}"


LINES: dict[str, Callable[[Event], str]] = {
    "run_started": lambda e: (
        f"run {e.run} on {e.data['branch'] or 'a detached HEAD'} at {e.data['base'][:10]} with {e.data['model']}"
    ),
    "note": lambda e: f"note: {e.data['text']}",
    "prd_asked": lambda e: f"asking {e.data['model']} for the PRD",
    "prd_written": lambda e: f"PRD: {e.data['path']} ({plural(len(e.data['requirements']), 'requirement')})",
    "plan_made": lambda e: (
        f"plan: {plural(len(e.data['tasks']), 'task')} for {plural(e.data['agents'], 'agent')} at once"
    ),
    "drafted": lambda e: f"plan: {plural(e.data['tasks'], 'task')} in {e.data['file']}",
    "attempt_started": lambda e: f"{who(e)}: started",
    "waiting": lambda e: f"{who(e)}: waiting for {e.data['on']} ({e.data['why']})" if e.data["on"] else "",
    "limit_reached": lambda e: f"{e.data['limit']} was reached: what is finished is integrated",
    "request": request_line,
    "attempt_ended": lambda e: f"{who(e)}: {e.data['verdict']} after {e.data['seconds']:.1f} s. {e.data['cause']}",
    "chosen": lambda e: f"{who(e)}: {e.data['why']}",
    "tasks_proposed": lambda e: f"{who(e)}: proposes {plural(len(e.data['tasks']), 'further task')}",
    "human_needed": lambda e: f"{who(e)}: waits for a person. {e.data['why']}",
    "task_held": lambda e: f"{who(e)}: held back, {e.data['reason']}",
    "gate_started": lambda e: f"{e.data['name']}: {PURPOSES.get(e.data.get('tree', ''), e.data['command'])}",
    "gate_ended": lambda e: f"{e.data['name']}: {gate_outcome(e.data)} in {e.data['seconds']:.1f} s",
    "delivered": lambda e: (
        f"{e.data['branch']} now has the result"
        if e.data["applied"]
        else f"the result is on {e.data['side_branch']}: {e.data['reason']}"
    ),
    "branched": lambda e: f"the result is on {e.data['branch']}",
    "patch_written": lambda e: f"the result is written to {e.data['path']}",
    "pushed": lambda e: f"{e.data['branch']} is pushed to {e.data['remote']}",
    "pr_opened": lambda e: f"{'found' if e.data['existed'] else 'opened'} {e.data['url']}",
    "not_handed_over": lambda e: f"not handed over: {e.data['why']}",
}


class Lines:
    """For pipes, files and CI."""

    def __init__(self) -> None:
        self.report = Report()
        self.last = time.monotonic()

    def hear(self, event: Event) -> None:
        step(self.report, event)
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

    def __init__(self, ci: Ci) -> None:
        super().__init__()
        self.ci, self.phase = ci, ""

    def hear(self, event: Event) -> None:
        self.enter(phase(event, self.phase))
        super().hear(event)
        if event.kind == "run_ended":
            self.enter("")

    def enter(self, phase: str) -> None:
        if phase != self.phase:
            order(self.ci.end_group(self.phase, time.time()) if self.phase else "")
            order(self.ci.group(phase, time.time()) if phase else "")
            self.phase = phase


def phase(event: Event, now: str) -> str:
    if event.task is None and event.kind in ("combined", "gate_started"):
        return "Checks and result"
    if event.kind in ("attempt_started", "task_moved"):
        return "Agents" if now != "Checks and result" or event.kind == "attempt_started" else now
    return now or "Requirements and plan"


class Stream:
    """--events -: every event as a line of JSON, without the long texts that the logs have."""

    def hear(self, event: Event) -> None:
        record = to_record(event)
        record["data"] = {name: value for name, value in event.data.items() if name != LONG.get(event.kind)}
        with contextlib.suppress(OSError):
            print(json_text(record), flush=True)


LONG = {
    "request": "body",
    "assistant_response": "content",
    "conversation": "packed",
    "prd_written": "text",
    "attempt_ended": "aider",
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

    def hear(self, event: Event) -> None:
        step(self.report, event)
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

    def __init__(self) -> None:
        self.report = Report()
        self.waits: dict[int, float] = {}
        self.begun: dict[int, float] = {}
        self.ended: dict[int, float] = {}
        self.doing = "starting"
        self.live: Live | None = None
        self.hidden = False
        self.above: Callable[[str], object] = lambda text: print(text, file=sys.stderr)

    def hear(self, event: Event) -> None:
        step(self.report, event)
        if event.kind == "note":
            # Said once and for good: the board itself is gone when the run ends.
            self.above(line(event))
            return
        if event.task is not None and event.kind == "attempt_started":
            self.begun[event.task] = time.monotonic()
            self.ended.pop(event.task, None)
        if event.kind == "aider_ready":
            self.begun = dict.fromkeys(self.begun, time.monotonic())
        if event.task is not None and event.kind == "waiting":
            self.waits[event.task] = time.monotonic()
        if event.task is not None and event.kind == "attempt_ended":
            self.ended[event.task] = time.monotonic()
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
        return sorted(tasks, key=lambda task: (task.state != TaskState.ACTIVE, -self.ended.get(task.id, 0.0)))[
            :MOST_ROWS
        ]

    def state(self, task: TaskReport) -> str:
        """Also for whom it waits, and how long already."""
        if task.waits and not task.verdict:
            return f"waiting for {task.waits.split(' (')[0]}, {time.monotonic() - self.waits[task.id]:.0f} s"
        return task.verdict or task.state

    def caption(self) -> str:
        total = len(self.report.tasks)
        if not total:
            return ""
        done = sum(bool(task.verdict) for task in self.report.tasks.values())
        return f"{done} of {total} tasks ended, {money(self.report.usage)}, {self.report.usage.tokens:,} tokens"

    def clock(self, task: int) -> str:
        if task not in self.begun:
            return ""
        return f"{self.ended.get(task, time.monotonic()) - self.begun[task]:.1f} s"


def watching(settings: Settings) -> tuple[View, tuple[Listener, ...]]:
    """What a person sees of the run, and all that hear of it."""
    screen = view(settings)
    return screen, (screen.hear, *((Stream().hear,) if settings.events else ()))


def view(settings: Settings) -> View:
    if settings.quiet:
        return Silence()
    if settings.verbose:
        return Everything()
    ci = recognise(os.environ)
    if ci.kind in ("github", "gitlab"):
        return Grouped(ci)
    plain = not sys.stderr.isatty() or os.environ.get("TERM") == "dumb" or ci.kind
    return Lines() if plain else Board()
