"""What the screens show of a run: one row for the run and one for each task. Pure; the same report as everywhere."""

from collections.abc import Collection
from typing import Any

from orchestra.events import to_json_value
from orchestra.journal.sql import index_key
from orchestra.model import TaskState
from orchestra.report.detail import RunDetail, phase_words, task_phase
from orchestra.report.phrases import verdict_sentence
from orchestra.report.run_status import ENDED, INTERRUPTED, RUNNING, progress_sentence
from orchestra.report.state import Report, TaskReport
from orchestra.report.summary import limits_record, usage_record

Row = dict[str, Any]


def run_state(report: Report, has_owner: bool) -> str:
    return RUNNING if has_owner else INTERRUPTED if report.exit_code is None else ENDED


def run_row(report: Report, detail: RunDetail, *, has_owner: bool, seq: int) -> Row:
    counts = dict.fromkeys(map(str, TaskState), 0)
    for task in report.tasks.values():
        counts[str(task.state)] += 1
    return {
        "id": report.run,
        "change": report.change,
        "state": run_state(report, has_owner),
        "paused": report.is_paused,
        "exit_code": report.exit_code,
        "verdict": verdict_sentence(report) if report.exit_code is not None else progress_sentence(report),
        "verified": str(report.verified),
        "model": report.model,
        "branch": report.branch,
        "started": report.started,
        "ended": detail.ended if report.exit_code is not None else None,
        "tasks": counts,
        "waiting": [task.id for task in report.tasks.values() if task.asks],
        "usage": usage_record(report.usage),
        "limits": limits_record(report),
        "gates": [{"name": gate.name, "ok": gate.ok, "seconds": gate.seconds} for gate in report.gates],
        "notes": report.notes[-20:],
        "seq": seq,
    }


def progress_record(report: Report) -> Row:
    """What the list of runs shows of one that goes on. Nothing in it changes with the time alone."""
    states = [task.state for task in report.tasks.values()]
    return {
        "tasks": len(states),
        "done": sum(state in (TaskState.COMPLETE, TaskState.AWAITING_QA) for state in states),
        "failed": states.count(TaskState.FAILED),
        "waiting": sum(bool(task.asks) for task in report.tasks.values()),
        "paused": report.is_paused,
        "cost": usage_record(report.usage)["cost"],
        "budget": report.limits.get("budget") or None,
    }


def task_row(report: Report, detail: RunDetail, task: TaskReport, seq: int) -> Row:
    attempts = detail.all_attempts(task.id)
    return {
        "id": task.id,
        "agent": task.agent,
        "title": task.title,
        "role": task.role,
        "state": str(task.state),
        "phase": phase_words(report, detail, task),
        "is_at": str(task_phase(report, detail, task)),
        "files": list(task.files),
        "needs": list(task.needs),
        "priority": task.priority,
        "attempts": task.attempts,
        "verdict": str(task.verdict),
        "cause": task.cause,
        "remedy": task.remedy,
        "asks": task.asks,
        "question": task.asked_at,
        "waits": task.waits,
        "held": task.held,
        "commit": task.commit,
        "branch": task.branch,
        "changed": list(task.changed),
        "seconds": task.seconds,
        "since": attempts[-1].started if attempts and not attempts[-1].ended else None,
        "usage": usage_record(task.usage),
        "gates": [to_json_value(gate.result) | {"attempt": gate.attempt, "output": ""} for gate in task.gates],
        "seq": seq,
    }


def file_rows(report: Report, held: Collection[str]) -> list[Row]:
    """The files that tasks own or have changed, by path. `held`: those on which the run has a lease now."""
    owners: dict[str, list[int]] = {}
    changers: dict[str, list[int]] = {}
    for task in report.tasks.values():
        for path in task.files:
            owners.setdefault(path, []).append(task.id)
        for path in task.changed:
            changers.setdefault(path, []).append(task.id)
    return [
        {
            "path": path,
            "tasks": owners.get(path, []),
            "changed_by": changers.get(path, []),
            "states": sorted(
                {str(report.tasks[task].state) for task in (*owners.get(path, []), *changers.get(path, []))}
            ),
            "held": index_key(path) in held,
        }
        for path in sorted({*owners, *changers})
    ]


def cost_record(report: Report) -> Row:
    return {
        "usage": usage_record(report.usage),
        "roles": {role: usage_record(usage) for role, usage in report.roles.items()},
        "tasks": [{"task": task.id, "agent": task.agent, **usage_record(task.usage)} for task in report.tasks.values()],
        "limits": limits_record(report),
        "reserved": sum_reserved(report),
        "estimate": to_json_value(report.estimate) if report.estimate else None,
    }


def sum_reserved(report: Report) -> float:
    """Return the dollars that are reserved for requests without a reply."""
    return sum(each.dollars for requests in report.pending_reservations.values() for _, each in requests)
