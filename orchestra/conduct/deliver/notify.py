"""Send webhooks when a run has ended or waits for a person. A failure to send never changes how the run ends."""

import asyncio
import json
import sys
import time
from typing import Any

from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.deliver.finish import FinishedRun
from orchestra.events import Event, HumanNeeded
from orchestra.handover.host_client import post_notification
from orchestra.report.phrases import resolve_command

WAITING = 5
HUMAN_NEEDED = "human_needed"
A_MOMENT = 2.0  # seconds


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
