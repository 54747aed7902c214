"""How a run ends: its last event, the summary read back from the logs, and the words for the user."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from orchestra.conduct.core.context import Run

from orchestra import events
from orchestra.conduct.core.terminal import let_go
from orchestra.conduct.deliver import artefacts
from orchestra.errors import LimitReached, OrchestraError, machine_trouble, stopped_code
from orchestra.journal import jsonl
from orchestra.journal.hold import RunHeld
from orchestra.journal.jsonl import LogFailed
from orchestra.judge.exit import DRIFT_CODE, exit_code, worst
from orchestra.model import Verdict
from orchestra.report.ci import json_text
from orchestra.report.fold import report_of
from orchestra.report.replay import differs
from orchestra.report.state import Report
from orchestra.report.summary import ended, summary
from orchestra.report.text import closing


class Ending:
    """Around the story: however it ends, the run gets its last event and a summary.

    Only what is told there is swallowed: our own errors and the stop by a signal.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.report = Report()
        self.summary: dict[str, Any] = {}
        self.path = Path()
        self.material: artefacts.Material | None = None
        self.files: dict[str, Path] = {}

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, OSError) and let_go():  # something was printed just before the signal came
            error = asyncio.CancelledError(int(signal.SIGHUP))
        error = machine_trouble(error) or error
        told = isinstance(error, OrchestraError | asyncio.CancelledError)
        code = code_of(self.run.state.report, error)
        text = (
            str(error)
            if isinstance(error, OrchestraError)
            else "a bug in the orchestrator"
            if error and not told
            else ""
        )
        if self.run.services.journal.muted:
            raise RunHeld(
                f"another orchestrator has taken run {self.run.context.stamp} over.", hint="Look at it with `status`."
            )
        try:
            self.run.services.gateway.cut_short()
            self.compare()
            if self.run.context.settings.replay_strict and differs(self.run.state.report):
                code = worst(code, DRIFT_CODE)
            signum = stopped_by(error) if isinstance(error, asyncio.CancelledError) else 0
            self.run.emit(ended(self.run.state.report, code, text, signum))
            self.write()
        except (LogFailed, OSError) as failed:
            # What is in memory is told all the same.
            self.report = self.run.state.report
            self.report.exit_code, self.report.error = LogFailed.exit_code, text or str(failed)
            self.summary = summary(self.report, {})
        return told

    def compare(self) -> None:
        """With a replayed run: which replies of the planned agents nobody has asked for. And how a recording ended."""
        tape = self.run.services.gateway.replay
        if tape is not None:
            planned = {task.agent for task in self.run.state.report.tasks.values()}
            left = {owner: count for owner, count in tape.unused().items() if owner in planned}
            self.run.emit(events.Replayed(left))
        recorder = self.run.services.recorder
        if recorder is not None and recorder.problem:
            self.run.emit(events.Note(f"The tape ends before the run did: {recorder.problem}."))

    def write(self) -> None:
        """The summary is built by parsing the logs, so that it can be built again from them at any time."""
        run = self.run
        log = jsonl.read(run.context.logs, run.context.stamp)
        self.report = report_of(log)
        root = run.context.repository.root
        logs = {task: str(run.services.journal.agent_log(task).relative_to(root)) for task in self.report.tasks}
        self.summary = summary(self.report, logs)
        path = run.context.logs / f"summary_{run.context.stamp}.json"
        part = path.with_suffix(".part")
        text = run.context.secrets.scrub(json.dumps(self.summary, indent=2, ensure_ascii=False))
        part.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        part.replace(path)
        self.path = path
        try:
            self.material = artefacts.gather(root, log, run.context.secrets.scrub)
            self.files = artefacts.write(root, self.material)
        except OSError as error:
            # The verdict stands in the summary; a full disk shall not hide it.
            print(f"note: the HTML report could not be written: {error}.", file=sys.stderr)

    def tell(self, *, as_json: bool, aside: bool = False) -> int:
        """`aside`: stdout belongs to the events, so the words go to stderr."""
        if as_json:
            print(json_text(self.summary, indent=2))
        else:
            page, path = str(self.files.get("html", "")), str(self.path) if self.path.name else ""
            print(closing(self.report, path, page), file=sys.stderr if aside else sys.stdout)
        sys.stdout.flush()
        return self.report.exit_code or 0


def code_of(report: Report, error: BaseException | None) -> int:
    if isinstance(error, OrchestraError):
        return error.exit_code
    if isinstance(error, asyncio.CancelledError):
        return stopped_code(stopped_by(error))
    if error is not None:
        return 3
    if not report.tasks and report.drafted:
        return 0
    return exit_code(
        [Verdict(task.verdict or Verdict.CANCELLED) for task in report.tasks.values() if not task.replaced],
        held=any(task.held for task in report.tasks.values() if not task.replaced),
        gates_failed=any(not gate.ok for gate in report.gates),
        changed=bool(report.result) or report.changed_nothing,
        moved=bool((report.delivery and report.delivery.moved) or report.refused),
        short=report.falls_short,
        waiting=any(task.asks for task in report.tasks.values()),
        stopped=LimitReached.exit_code if report.stopped else 0,
    )


def stopped_by(error: asyncio.CancelledError) -> int:
    """The signal travels as the cancellation's message."""
    return int(error.args[0]) if error.args else int(signal.SIGTERM)
