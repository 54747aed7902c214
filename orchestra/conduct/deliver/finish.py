"""End a run: its last event, the summary built from the logs, the closing words, and notifications by webhook."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestra import events
from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.deliver import artefacts
from orchestra.errors import LimitReached, OrchestraError, as_machine_trouble, signal_exit_code
from orchestra.events import Event, HumanNeeded
from orchestra.handover.host_client import post_notification
from orchestra.journal import jsonl
from orchestra.journal.jsonl import LogFailed
from orchestra.journal.ownership import RunOwned
from orchestra.judge.policy import DRIFT_CODE, compute_exit_code, worst_exit_code
from orchestra.model import Verdict
from orchestra.process import detach_closed_terminal, replace_file
from orchestra.report.fold import report_from_log
from orchestra.report.formats import ReportMaterial
from orchestra.report.phrases import resolve_command
from orchestra.report.state import Report
from orchestra.report.summary import build_summary, run_ended_event

WAITING = 5
HUMAN_NEEDED = "human_needed"
A_MOMENT = 2.0  # seconds


@dataclass(frozen=True)
class FinishedRun:
    """What a finished run leaves: its report, its summary, and their files."""

    run: Run
    report: Report
    summary: dict[str, Any]
    path: Path = Path()  # of the summary
    material: ReportMaterial | None = None
    files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def code(self) -> int:
        return self.report.exit_code or 0


def finish_run(run: Run, failure: BaseException | None) -> FinishedRun:
    """Write the run's last event and its summary. Then raise the failure again, unless it is our own or a signal."""
    error = failure
    if isinstance(failure, OSError) and detach_closed_terminal():
        # The closed terminal made printing fail just before its signal arrived.
        error = asyncio.CancelledError(int(signal.SIGHUP))
    error = as_machine_trouble(error) or error
    if run.services.journal.muted:
        raise RunOwned(
            f"another process has taken over run {run.context.stamp}.",
            hint=f"Look at it: aider-orchestrator status {run.context.stamp}",
        )
    try:
        run.services.gateway.close_open_requests()
        emit_replayed(run)
        code = run_exit_code(run.state.report, error)
        if run.context.settings.replay_strict and (run.state.report.drift or run.state.report.unused):
            code = worst_exit_code(code, DRIFT_CODE)
        signum = signal_of_stop(error) if isinstance(error, asyncio.CancelledError) else 0
        run.emit(run_ended_event(run.state.report, code, error_sentence(error), signum))
        finished = write_summary(run)
    except (LogFailed, OSError) as failed:
        # Fall back to the report in memory if the logs cannot be read.
        run.state.report.exit_code, run.state.report.error = LogFailed.exit_code, error_sentence(error) or str(failed)
        finished = FinishedRun(run, run.state.report, build_summary(run.state.report, {}))
    if failure is not None and not isinstance(error, OrchestraError | asyncio.CancelledError):
        raise failure
    return finished


def error_sentence(error: BaseException | None) -> str:
    if isinstance(error, OrchestraError):
        return str(error)
    return "" if error is None or isinstance(error, asyncio.CancelledError) else "a bug in the orchestrator"


def emit_replayed(run: Run) -> None:
    """Emit which recorded replies of planned agents were not requested, and how a recording ended."""
    tape, recorder = run.services.gateway.replay, run.services.recorder
    if tape is not None:
        planned = {task.agent for task in run.state.report.tasks.values()}
        unused = {owner: count for owner, count in tape.count_unused().items() if owner in planned}
        run.emit(events.ReplayEnded(unused))
    if recorder is not None and recorder.problem:
        run.emit(events.Note(f"The recording ended before the run: {recorder.problem}."))


def write_summary(run: Run) -> FinishedRun:
    """Build the summary from the logs, so that it can be built from them again at any time."""
    context = run.context
    log, root = jsonl.read_run_log(context.logs, context.stamp), context.repository.root
    report = report_from_log(log)
    logs = {task: str(run.services.journal.agent_log(task).relative_to(root)) for task in report.tasks}
    summary = build_summary(report, logs)
    path = context.logs / f"summary_{context.stamp}.json"
    text = context.secrets.scrub(json.dumps(summary, indent=2, ensure_ascii=False))
    replace_file(path, f"{text}\n".encode("utf-8", "backslashreplace"))
    try:
        material = artefacts.gather_report_material(root, log, context.secrets.scrub)
        return FinishedRun(run, report, summary, path, material, artefacts.write_reports(root, material))
    except OSError as error:
        # The verdict is in the summary; a full disk must not hide it.
        print(f"note: the HTML report could not be written: {error}.", file=sys.stderr)
        return FinishedRun(run, report, summary, path)


def run_exit_code(report: Report, error: BaseException | None) -> int:
    if isinstance(error, OrchestraError):
        return error.exit_code
    if isinstance(error, asyncio.CancelledError):
        return signal_exit_code(signal_of_stop(error))
    if error is not None:
        return 3
    if not report.tasks and report.drafted_tasks:
        return 0
    return compute_exit_code(
        [
            Verdict.APPLIED if task.nothing_to_do else Verdict(task.verdict or Verdict.CANCELLED)
            for task in report.tasks.values()
            if not task.replaced
        ],
        excluded=any(task.held for task in report.tasks.values() if not task.replaced),
        gates_failed=any(not gate.ok for gate in report.gates),
        changed=bool(report.result or report.shard) or report.changed_nothing,
        moved=bool((report.delivery and report.delivery.moved) or report.refused),
        under_verified=report.is_under_verified,
        waiting=any(task.asks for task in report.tasks.values()),
        stopped=LimitReached.exit_code if report.limit_that_stopped else 0,
    )


def signal_of_stop(error: asyncio.CancelledError) -> int:
    """Return the signal that stopped the run; it travels as the cancellation's message."""
    return int(error.args[0]) if error.args and str(error.args[0]).isdigit() else int(signal.SIGTERM)


async def notify_run_ended(finished: FinishedRun) -> None:
    if finished.run.context.settings.notify:
        await send_notification(finished.run.context, run_ended_message(finished))


def notify_waiting_tasks(run: Run) -> None:
    """Notify about tasks that have waited for a moment. If the run ends first, its last message tells it."""
    loop, calls = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    async def notify_if_waiting(task: int) -> None:
        await asyncio.sleep(A_MOMENT)
        record = run.state.report.tasks[task]
        report = run.state.report
        if record.asks and report.exit_code is None:
            # Without an exit code: that tells it from the message at the end of a run.
            about = {"task": task, "title": record.title, "why": record.asks}
            usual = {"event": HUMAN_NEEDED, "sent": int(time.time()), "run": report.run, "exit_code": None}
            place = {"change": report.change, "repository": report.repository}
            await send_notification(run.context, usual | place | about | {"resolve": resolve_command(report, record)})

    def hear(event: Event) -> None:
        if isinstance(event.payload, HumanNeeded) and event.task is not None:
            calls.add(asked := loop.create_task(notify_if_waiting(event.task)))
            asked.add_done_callback(calls.discard)

    if run.context.settings.notify:
        run.services.journal.bus.subscribe("The call for people", hear, since=run.services.journal.seq)


async def send_notification(context: Context, message: dict[str, Any]) -> None:
    content = context.secrets.scrub(json.dumps(message, ensure_ascii=False)).encode("utf-8", "replace")
    secret = context.settings.strongest_variable(("ORCHESTRA_NOTIFY_SECRET",))[0]
    if why := await post_notification(context.settings.notify, content, secret):
        print(f"note: --notify was not delivered: {context.secrets.scrub(why)}.", file=sys.stderr)


def run_ended_message(finished: FinishedRun) -> dict[str, Any]:
    report, summary = finished.report, finished.summary
    paths = {name: str(path) for name, path in {"summary": finished.path, **finished.files}.items()}
    return {
        "event": HUMAN_NEEDED if report.exit_code == WAITING else "run_ended",
        "sent": int(time.time()),
        "run": report.run,
        "verdict": summary["verdict"],
        "exit_code": report.exit_code,
        "verified": str(report.verified),
        "change": report.change,
        "repository": report.repository,
        "branch": report.result_branch,
        "applied": report.applied,
        "commit": report.result,
        "pr_url": report.pr_url,
        "tasks": len(report.tasks),
        "complete": len(report.succeeded),
        "cost": summary["usage"]["cost"],
        "tokens": summary["usage"]["total_tokens"],
        "seconds": round(report.seconds, 3),
        "paths": paths,
    }
