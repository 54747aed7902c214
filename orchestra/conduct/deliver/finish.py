"""How a run ends: its last event, the summary read back from the logs, and the words for the user."""

import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestra import events
from orchestra.conduct.core.context import Run
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
from orchestra.report.formats import DEFAULT, Material
from orchestra.report.replay import differs
from orchestra.report.state import Report
from orchestra.report.summary import ended, summary
from orchestra.report.text import closing


@dataclass(frozen=True)
class Finished:
    """What a run leaves when it has ended: its report, its summary, and the files in which they stand."""

    run: Run
    report: Report
    summary: dict[str, Any]
    path: Path = Path()  # of the summary
    material: Material | None = None
    files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def code(self) -> int:
        return self.report.exit_code or 0


def finish(run: Run, failure: BaseException | None) -> Finished:
    """Write the run's last event and its summary. A failure that these do not tell is raised again afterwards.

    They tell our own errors and the stop by a signal.
    """
    error = hung_up(failure)
    error = machine_trouble(error) or error
    if run.services.journal.muted:
        raise RunHeld(f"another orchestrator has taken run {run.context.stamp} over.", hint="Look at it with `status`.")
    try:
        run.services.gateway.cut_short()
        emit_replayed(run)
        emit_run_ended(run, error)
        finished = write_summary(run)
    except (LogFailed, OSError) as failed:
        # What is in memory is told all the same.
        run.state.report.exit_code, run.state.report.error = LogFailed.exit_code, words_of(error) or str(failed)
        finished = Finished(run, run.state.report, summary(run.state.report, {}))
    if failure is not None and not is_told(error):
        raise failure
    return finished


def hung_up(failure: BaseException | None) -> BaseException | None:
    """The failure, or the hangup of the terminal that made printing fail just before its signal came."""
    return asyncio.CancelledError(int(signal.SIGHUP)) if isinstance(failure, OSError) and let_go() else failure


def is_told(error: BaseException | None) -> bool:
    return isinstance(error, OrchestraError | asyncio.CancelledError)


def words_of(error: BaseException | None) -> str:
    if isinstance(error, OrchestraError):
        return str(error)
    return "a bug in the orchestrator" if error and not is_told(error) else ""


def emit_replayed(run: Run) -> None:
    """Tell which recorded replies of the planned agents were not asked for, and how a recording ended."""
    tape = run.services.gateway.replay
    if tape is not None:
        planned = {task.agent for task in run.state.report.tasks.values()}
        unused = {owner: count for owner, count in tape.unused().items() if owner in planned}
        run.emit(events.Replayed(unused))
    if run.services.recorder is not None and run.services.recorder.problem:
        run.emit(events.Note(f"The tape ends before the run did: {run.services.recorder.problem}."))


def emit_run_ended(run: Run, error: BaseException | None) -> None:
    code = code_of(run.state.report, error)
    if run.context.settings.replay_strict and differs(run.state.report):
        code = worst(code, DRIFT_CODE)
    signum = stopped_by(error) if isinstance(error, asyncio.CancelledError) else 0
    run.emit(ended(run.state.report, code, words_of(error), signum))


def write_summary(run: Run) -> Finished:
    """Build the summary by parsing the logs, so that it can be built again from them at any time."""
    context = run.context
    log, root = jsonl.read(context.logs, context.stamp), context.repository.root
    report = report_of(log)
    logs = {task: str(run.services.journal.agent_log(task).relative_to(root)) for task in report.tasks}
    told = summary(report, logs)
    path = context.logs / f"summary_{context.stamp}.json"
    part = path.with_suffix(".part")
    text = context.secrets.scrub(json.dumps(told, indent=2, ensure_ascii=False))
    part.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    part.replace(path)
    try:
        material = artefacts.gather(root, log, context.secrets.scrub)
        return Finished(run, report, told, path, material, artefacts.write(root, material))
    except OSError as error:
        # The verdict stands in the summary; a full disk does not hide it.
        print(f"note: the HTML report could not be written: {error}.", file=sys.stderr)
        return Finished(run, report, told, path)


def print_result(finished: Finished) -> None:
    """Print the summary as JSON, or its closing words; on stderr if stdout belongs to the events."""
    settings = finished.run.context.settings
    if settings.json:
        print(json_text(finished.summary, indent=2))
    else:
        page = str(finished.files.get(DEFAULT, ""))
        path = str(finished.path) if finished.path.name else ""
        print(closing(finished.report, path, page), file=sys.stderr if settings.events else sys.stdout)
    sys.stdout.flush()


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
    return int(error.args[0]) if error.args and str(error.args[0]).isdigit() else int(signal.SIGTERM)
