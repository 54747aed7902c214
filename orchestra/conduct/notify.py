"""Tell whoever wants to know that a run has ended, or waits for a human. The run's own ending never depends on it."""

import json
import sys
import time
from typing import Any

from orchestra.conduct.finish import Ending
from orchestra.handover.notify import deliver
from orchestra.report.fold import Report

WAITING = 5


async def notify(ending: Ending) -> None:
    settings = ending.run.settings
    if not settings.notify:
        return
    content = ending.run.secrets.scrub(json.dumps(message(ending), ensure_ascii=False)).encode("utf-8", "replace")
    why = await deliver(settings.notify, content, settings.key(("ORCHESTRA_NOTIFY_SECRET",))[0])
    if why:
        print(f"note: --notify was not delivered: {ending.run.secrets.scrub(why)}.", file=sys.stderr)


def message(ending: Ending) -> dict[str, Any]:
    report, summary = ending.report, ending.summary
    paths = {name: str(path) for name, path in {"summary": ending.path, **ending.files}.items()}
    return {
        "event": "human_needed" if report.exit_code == WAITING else "run_ended",
        "sent": int(time.time()),
        "run": report.run,
        "verdict": summary["verdict"],
        "exit_code": report.exit_code,
        "verified": str(report.verified),
        "change": report.change,
        "repository": report.repository,
        "branch": where(report),
        "applied": report.applied,
        "commit": report.delivery.get("result", ""),
        "pr_url": report.pr_url,
        "tasks": len(report.tasks),
        "complete": len(report.succeeded),
        "cost": summary["usage"]["cost"],
        "tokens": summary["usage"]["total_tokens"],
        "seconds": round(report.seconds, 3),
        "paths": paths,
    }


def where(report: Report) -> str:
    """The branch that has the result."""
    return str(report.delivery.get("branch" if report.applied else "side_branch") or "")
