"""The progress of a run: for `status` and `runs`, as text and as JSON."""

import time
from typing import Any

from orchestra.model import TaskState
from orchestra.report.phrases import cost_phrase, format_cost, plural
from orchestra.report.sanitize import escaped_line
from orchestra.report.state import Report
from orchestra.report.summary import build_summary

ENDED, RUNNING, INTERRUPTED = "ended", "running", "interrupted"
TableRow = tuple[str, ...]


def status_record(report: Report, logs: dict[int, str], owner: dict[str, Any] | None) -> dict[str, Any]:
    """The summary so far, with the run's state and owner."""
    state = RUNNING if owner else INTERRUPTED if report.exit_code is None else ENDED
    record = build_summary(report, logs) | {"state": state, "owner": owner}
    if report.exit_code is None:
        failed = sum(task.state == TaskState.FAILED for task in report.tasks.values())
        record |= {"verdict": progress_sentence(report), "failed_agents": failed}
    return record


def progress_sentence(report: Report) -> str:
    ended = sum(bool(task.verdict) for task in report.tasks.values())
    tasks = f"{ended} of {plural(len(report.tasks), 'task')} ended" if report.tasks else "nothing is planned yet"
    return f"Started {format_local_time(report.started)}; {tasks}, {cost_phrase(report.usage)} so far."


def agent_lines(report: Report) -> list[str]:
    return align_columns(
        [
            (
                task.agent,
                (task.held and "excluded") or task.verdict or task.state,
                plural(task.attempts, "attempt"),
                f"{task.usage.tokens:,} tokens",
                format_cost(task.usage),
                f"{task.seconds:.1f} s" if task.seconds else "",
                escaped_line(", ".join(task.files), 60),
            )
            for task in report.tasks.values()
        ]
    )


def align_columns(rows: list[TableRow]) -> list[str]:
    """Lines with padded columns; the last column is not padded."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{n}}" for cell, n in zip(row, [*widths[:-1], 0], strict=True)) for row in rows]


def format_local_time(ms: int) -> str:
    """Local time; the milliseconds if a wrong clock made them no time."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000))
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"


def format_age(seconds: float) -> str:
    """3.9 s, 12 min, 3 h 20 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
