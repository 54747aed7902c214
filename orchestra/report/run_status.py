"""A run as far as it came: for `status`, for `runs`, and as a record for programs."""

import time
from typing import Any

from orchestra.model import TaskState
from orchestra.report.phrases import cost_phrase, plural
from orchestra.report.state import Report, TaskReport
from orchestra.report.summary import build_summary
from orchestra.report.terminal_text import escaped_line

ENDED, RUNNING, INTERRUPTED = "ended", "running", "interrupted"
TableRow = tuple[str, ...]


def run_state(report: Report, owned: bool) -> str:
    if report.exit_code is not None and not owned:
        return ENDED
    return RUNNING if owned else INTERRUPTED


def status_record(report: Report, logs: dict[int, str], owner: dict[str, Any] | None) -> dict[str, Any]:
    """The summary of what there is so far, under the same keys, and who is at work on it."""
    found = build_summary(report, logs) | {"state": run_state(report, owner is not None), "owner": owner}
    if report.exit_code is None:
        failed = sum(task.state == TaskState.FAILED for task in report.tasks.values())
        found |= {"verdict": progress_sentence(report), "failed_agents": failed}
    return found


def progress_sentence(report: Report) -> str:
    ended = sum(bool(task.verdict) for task in report.tasks.values())
    tasks = f"{ended} of {plural(len(report.tasks), 'task')} ended" if report.tasks else "nothing is planned yet"
    return f"Started {format_local_time(report.started)}; {tasks}, {cost_phrase(report.usage)} so far."


def agent_lines(report: Report) -> list[str]:
    """A line for each agent."""
    return align_columns([agent_row(task) for task in report.tasks.values()])


def agent_row(task: TaskReport) -> TableRow:
    cost = "?" if task.usage.dollars is None else f"${task.usage.dollars:.4f}"
    seconds = f"{task.seconds:.1f} s" if task.seconds else ""
    tokens, tries = f"{task.usage.tokens:,} tokens", plural(task.attempts, "attempt")
    files = escaped_line(", ".join(task.files), 60)
    return (task.agent, (task.held and "held") or task.verdict or task.state, tries, tokens, cost, seconds, files)


def align_columns(rows: list[TableRow]) -> list[str]:
    """Columns as wide as they must be; the last one as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return ["  ".join([*(f"{word:<{n}}" for word, n in zip(one, widths, strict=False)), one[-1]]) for one in rows]


def format_local_time(ms: int) -> str:
    """Local time. A clock that was wrong is no reason to fail."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000))
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"


def format_age(seconds: float) -> str:
    """As one would say it: 3.9 s, 12 min, 3 h 20 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
