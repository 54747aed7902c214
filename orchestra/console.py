"""The result, and progress on stderr: a live board on a terminal, elsewhere a plain line per event and a heartbeat."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator

from orchestra import events
from orchestra.board import ProgressBoard
from orchestra.cli.ci import send_ci_command
from orchestra.cli.command_io import print_plain
from orchestra.conduct.deliver.finish import FinishedRun
from orchestra.events import Event, event_record
from orchestra.journal.bus import Subscription
from orchestra.model import TaskState
from orchestra.report.ci import CiSystem, detect_ci_system, json_text
from orchestra.report.closing import closing_text, verdict_line
from orchestra.report.event_lines import actor_name, blank_controls, describe_event
from orchestra.report.fold import fold_event
from orchestra.report.formats import DEFAULT_FORMAT
from orchestra.report.phrases import cost_phrase, plural, run_tone
from orchestra.report.state import Report
from orchestra.settings import Settings

HEARTBEAT = 30.0


class NoProgress:
    """For --quiet."""

    def show_event(self, event: Event) -> None:
        return None

    def pause_display(self) -> contextlib.AbstractContextManager[None]:  # while a person is asked
        return contextlib.nullcontext()

    @contextlib.asynccontextmanager
    async def display(self) -> AsyncIterator[None]:
        yield


ProgressView = NoProgress | ProgressBoard


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
                states = [task.state for task in self.report.tasks.values()]
                at_work = plural(states.count(TaskState.ACTIVE), "agent")
                ended = sum(bool(task.verdict) for task in self.report.tasks.values())
                counts = f"{at_work} active, {ended} of {len(states)} tasks ended"
                self.print_line(f"still at work: {counts}, {cost_phrase(self.report.usage)} so far")


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


def print_result(finished: FinishedRun) -> None:
    """Print the summary as JSON, or its closing words; on stderr if stdout carries events."""
    report, settings = finished.report, finished.run.context.settings
    if settings.json:
        print(json_text(finished.summary, indent=2), flush=True)
        return
    page = str(finished.files.get(DEFAULT_FORMAT, ""))
    text = closing_text(report, str(finished.path) if finished.path.name else "", page)
    print_plain(text, {verdict_line(report): run_tone(report)}, sys.stderr if settings.events else sys.stdout)
