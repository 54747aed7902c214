"""How a run ends: its last event, the summary read back from the logs, and the words for the user."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from orchestra.conduct.run import Run
from orchestra.errors import OrchestraError
from orchestra.journal import jsonl
from orchestra.judge.exit import exit_code
from orchestra.model import Verdict
from orchestra.report.fold import Report, fold
from orchestra.report.summary import summary
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

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        told = isinstance(error, OrchestraError | asyncio.CancelledError)
        code = code_of(self.run.report, error)
        text = (
            str(error)
            if isinstance(error, OrchestraError)
            else "a bug in the orchestrator"
            if error and not told
            else ""
        )
        self.run.gateway.cut_short()
        self.run.emit("run_ended", exit_code=code, error=text)
        self.write()
        return told

    def write(self) -> None:
        """The summary is built by parsing the logs, so that it can be built again from them at any time."""
        run = self.run
        self.report = fold(jsonl.read(run.logs, run.stamp))
        root = run.repository.root
        logs = {task: str(run.journal.agent_log(task).relative_to(root)) for task in self.report.tasks}
        self.summary = summary(self.report, logs)
        self.path = run.logs / f"summary_{run.stamp}.json"
        part = self.path.with_suffix(".part")
        text = run.secrets.scrub(json.dumps(self.summary, indent=2, ensure_ascii=False))
        part.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        part.replace(self.path)

    def tell(self, *, as_json: bool) -> int:
        if as_json:
            print(json.dumps(self.summary, indent=2, ensure_ascii=False))
        else:
            print(closing(self.report, str(self.path)))
        sys.stdout.flush()
        return self.report.exit_code or 0


def code_of(report: Report, error: BaseException | None) -> int:
    if isinstance(error, OrchestraError):
        return error.exit_code
    if isinstance(error, asyncio.CancelledError):
        return 128 + stopped_by(error)
    if error is not None:
        return 3
    return exit_code(
        [Verdict(task.verdict) for task in report.tasks.values()],
        held=any(task.held for task in report.tasks.values()),
        gates_failed=any(not gate["ok"] for gate in report.gates),
        changed=bool(report.delivery.get("result")),
    )


def stopped_by(error: asyncio.CancelledError) -> int:
    """The signal travels as the cancellation's message."""
    return int(error.args[0]) if error.args else int(signal.SIGTERM)
