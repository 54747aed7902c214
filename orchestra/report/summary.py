"""summary_<timestamp>.json: the keys of the first version, and ours beside them."""

from typing import Any

from orchestra.events import RunEnded, to_json_value
from orchestra.model import Usage
from orchestra.report.phrases import decision_commands, next_steps, suggested_commands, verdict_sentence
from orchestra.report.plans.estimate import estimate_record
from orchestra.report.state import Report, TaskReport

SCHEMA_VERSION = 1


def build_summary(report: Report, logs: dict[int, str]) -> dict[str, Any]:
    """`logs` are the agents' JSONL files by task number."""
    return {
        "schema": SCHEMA_VERSION,
        "timestamp": report.run,
        "change": report.change,
        "agents": {task.agent: agent_record(task, logs.get(task.id, "")) for task in report.tasks.values()},
        "total_iterations": sum(task.iterations for task in report.tasks.values()),
        "successful_agents": len(report.succeeded),
        "failed_agents": len(report.failed),
        "prd_path": report.prd_path or None,
        "model_used": report.model,
        "provider": report.provider,
        "verdict": verdict_sentence(report),
        "exit_code": report.exit_code,
        "error": report.error or None,
        "verified": str(report.verified),
        "failed_before": report.failed_before,
        "unchecked": report.unchecked,
        "tests_changed": report.tests_changed,
        "tests_lost": report.tests_lost,
        "judged": to_json_value(list(report.judged.values())),
        "seconds": round(report.seconds, 3),
        "waited_seconds": round(report.waited_ms / 1000, 3),
        "replayed": report.replayed,
        "replay": {"drift": report.drift, "unused": dict(report.unused)} if report.replayed else None,
        "usage": usage_record(report.usage)
        | {"roles": {role: usage_record(used) for role, used in sorted(report.roles.items())}},
        "limits": limits_record(report),
        "estimate": estimate_record(report),
        "files": {
            path: {"added": added, "removed": removed} for path, (added, removed) in sorted(report.files.items())
        },
        "result": omit_fields(to_json_value(report.delivery) or {}, "files"),
        "pr_url": report.pr_url or None,
        "handed_over": to_json_value(report.handovers) | {"refused": to_json_value(list(report.refused.values()))},
        "repository": {"path": report.repository, "branch": report.branch, "base": report.base},
        "gates": to_json_value(report.gates),
        "coverage": requirement_coverage(report),
        "skipped_files": list(report.skipped),
        "proposed": [
            {"task": task} | to_json_value(each) for task, tasks in report.proposals.items() for each in tasks
        ],
        "notes": report.notes,
        "next": [
            *next_steps(report),
            *(f"{label}: {command}" for label, _, command in suggested_commands(report) if label == "Go on"),
        ],
        "waiting": [waiting_record(report, task) for task in report.waiting],
        **({"flaky": to_json_value(report.flaky)} if report.flaky else {}),
        **({"unreadable_events": report.unreadable} if report.unreadable else {}),
    }


def waiting_record(report: Report, task: TaskReport) -> dict[str, Any]:
    """A task that waits for a person, the question, and the commands that decide, by the decision."""
    return {"agent": task.agent, "task": task.id, "question": task.asks, "commands": decision_commands(report, task)}


def run_ended_event(report: Report, code: int, error: str, signal: int) -> RunEnded:
    """The last event, with the totals of the run, so that `runs` need not read all events."""
    dollars = 0.0 if report.replayed else report.usage.dollars
    return RunEnded(
        exit_code=code,
        error=error,
        signal=signal,
        tasks=len(report.tasks),
        complete=len(report.succeeded),
        cost=None if dollars is None else round(dollars, 8),
    )


# Fields of a task that the summary has elsewhere, or omits.
OMITTED_TASK_FIELDS = ("id", "iterations", "proposed", "needs", "priority", "brief", "asked_at", "decided_at")


def agent_record(task: TaskReport, log: str) -> dict[str, Any]:
    """The first version's three keys, then the task's fields. An iteration is necessary for success, not sufficient."""
    seed = {"log_file": log, "iterations": task.iterations, "success": task.success}
    gates = [to_json_value(gate.result) | {"attempt": gate.attempt} for gate in task.gates]
    record = to_json_value(task) | {"usage": usage_record(task.usage), "gates": gates}
    record["lent"] = record["lent"] or {}
    record["estimate"] = omit_fields(record["estimate"] or {}, "task")
    omitted = OMITTED_TASK_FIELDS if task.nothing_to_do else (*OMITTED_TASK_FIELDS, "nothing_to_do")
    empty = [name for name in ("kind", "conflicts") if not record[name]]
    return seed | omit_fields(record, *omitted, *empty)


def omit_fields(record: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


def usage_record(used: Usage) -> dict[str, Any]:
    return {
        "requests": used.requests,
        "replies": used.replies,
        "input_tokens": used.input,
        "cached_tokens": used.cached,
        "cache_write_tokens": used.cache_write,
        "output_tokens": used.output,
        "total_tokens": used.tokens,
        # Paid, and the part of it that is assumed: for lost replies, the most that they may cost.
        "cost": None if used.paid is None else round(used.paid, 8),
        "assumed_cost": round(used.assumed, 8),
        "assumed_tokens": used.assumed_tokens,
        "overshoot": round(used.overshoot, 8),
    }


def limits_record(report: Report) -> dict[str, Any]:
    """The limits, and what is spent, assumed, and billed beyond reservations."""
    spent = usage_record(report.usage)
    return report.limits | {
        "spent": spent["cost"],
        "reserved": spent["assumed_cost"],
        "overshoot": spent["overshoot"],
        "tokens": spent["total_tokens"] + spent["assumed_tokens"],
        "stopped_by": report.limit_that_stopped or None,
    }


def requirement_coverage(report: Report) -> list[dict[str, Any]]:
    """For each requirement: its tasks, their commits, and what checked them."""
    checked = [gate.name for gate in report.gates if gate.ok and not gate.unproven]
    rows = []
    for requirement in report.requirements:
        tasks = [task for task in report.tasks.values() if requirement.id in task.requirements]
        rows.append(
            {
                "requirement": requirement.id,
                "text": requirement.text,
                "tasks": [task.id for task in tasks],
                "commits": [task.commit for task in tasks if task.commit and not task.held],
                "covered": bool(tasks) and all(task.success for task in tasks),
                "checks": checked,
            }
        )
    return rows
