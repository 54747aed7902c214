"""The progress of a run, for `status` and `runs`, and one task in full, for `show`: as text and as JSON."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from orchestra.events import ConflictDecided, to_json_value
from orchestra.model import TaskState
from orchestra.report.closing import gate_line, task_notes
from orchestra.report.detail import Attempt
from orchestra.report.phrases import (
    cost_phrase,
    decision_step,
    format_cost,
    merge_phrase,
    outcome_phrase,
    plural,
    task_status,
    whole_remedy,
)
from orchestra.report.sanitize import escaped_line
from orchestra.report.state import Report, TaskReport
from orchestra.report.summary import agent_record, build_summary, usage_record
from orchestra.wording import align_columns

LONGEST = 2000  # characters of each message to the model
END_OF_EXAMPLES = "I switched to a new code base."  # Aider's message, which it answers itself
ATTEMPT_FIELDS = ("number", "started", "model", "verdict", "cause", "remedy", "seconds", "commit", "patch")

ENDED, RUNNING, INTERRUPTED = "ended", "running", "interrupted"
TableRow = tuple[str, ...]
AGENT_HEADING: TableRow = ("agent", "state", "attempts", "tokens", "cost", "time", "files")


def status_record(report: Report, logs: dict[int, str], owner: dict[str, Any] | None) -> dict[str, Any]:
    """The summary so far, with the run's state and owner."""
    state = RUNNING if owner else INTERRUPTED if report.exit_code is None else ENDED
    record = build_summary(report, logs) | {"state": state, "owner": owner}
    if report.exit_code is None:
        failed = sum(task.state == TaskState.FAILED for task in report.tasks.values())
        record |= {"verdict": progress_sentence(report), "failed_agents": failed}
        record |= {"paused": True} if report.is_paused else {}
    return record


def progress_sentence(report: Report) -> str:
    ended = sum(bool(task.verdict) for task in report.tasks.values())
    tasks = f"{ended} of {plural(len(report.tasks), 'task')} ended" if report.tasks else "nothing is planned yet"
    paused = " It is paused: `unpause` lets it go on." if report.is_paused else ""
    return f"Started {format_local_time(report.started)}; {tasks}, {cost_phrase(report.usage)} so far.{paused}"


def waiting_lines(report: Report) -> list[str]:
    """Which tasks wait for a person, with the question and the command that decides."""
    lines = []
    for task in report.waiting:
        lines += [f"{task.agent} waits for you: {escaped_line(task.asks, 300)}"]
        lines += ["  {}: {}".format(*decision_step(report, task)), ""]
    return lines


def agent_lines(report: Report, *, heading: bool = False) -> list[str]:
    """A line for each agent. With a heading the states are words for people, otherwise they are those of the JSON."""
    rows = [agent_row(task, task_status(task) if heading else "") for task in report.tasks.values()]
    return align_columns([AGENT_HEADING, *rows] if heading and rows else rows)


def agent_row(task: TaskReport, state: str) -> TableRow:
    return (
        task.agent,
        state or (task.held and "excluded") or task.verdict or task.state,
        plural(task.attempts, "attempt"),
        f"{task.usage.tokens:,} tokens",
        format_cost(task.usage),
        f"{task.seconds:.1f} s" if task.seconds else "",
        escaped_line(", ".join(task.files), 60),
    )


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


def task_record(
    report: Report, task: TaskReport, brief: str, tries: Sequence[Attempt], diffs: Mapping[int, str]
) -> dict[str, Any]:
    """For programs. `gates` are the run's, which check the combined work of all tasks."""
    return {
        "run": report.run,
        "task": task.id,
        "brief": brief,
        **{name: value for name, value in agent_record(task, "").items() if name not in ("log_file", "attempts")},
        "attempts": [attempt_record(attempt, diffs.get(attempt.number, "")) for attempt in tries],
        "gates": to_json_value(report.gates),
    }


def attempt_record(attempt: Attempt, diff: str) -> dict[str, Any]:
    known = {name: getattr(attempt, name) for name in ATTEMPT_FIELDS}
    turns = [asdict(turn) for turn in attempt.turns if attempt.whole]
    used, gates = usage_record(attempt.usage), to_json_value(attempt.gates)
    return known | {"usage": used, "gates": gates, "diff": diff, "conversation": turns}


def task_text(
    report: Report,
    task: TaskReport,
    brief: str,
    tries: Sequence[Attempt],
    diffs: Mapping[int, str],
    *,
    whole: bool = False,
) -> str:
    """For people. `whole`: with whole messages, and those that Aider itself wrote."""
    lines = [f"{task.agent} of run {report.run}: {task.title or 'no title'}"]
    lines += [f"  {task_status(task)}, {cost_phrase(task.usage)}"]
    lines += [f"  {path}" for path in task.files]
    lines += [f"  excluded from the result: {task.held}"] if task.held else []
    lines += [f"  its commit in the result: {task.commit}"] if task.commit and not task.held else []
    lines += [f"  its branch: {task.branch}"] if task.branch else []
    lines += [f"  {words}" for words in task_notes(task)]
    lines += section_lines("Brief", brief.strip().splitlines())
    for conflict in task.conflicts:
        lines += section_lines(f"Conflict in {', '.join(conflict.files)}", conflict_lines(conflict))
    for attempt in tries:
        lines += section_lines(f"Attempt {attempt.number}", attempt_lines(report.run, attempt))
        lines += section_lines(f"Changes of attempt {attempt.number}", diffs.get(attempt.number, "").splitlines())
        lines += section_lines(f"Conversation of attempt {attempt.number}", conversation_lines(attempt, whole=whole))
    lines += section_lines("Checks of the combined work", [gate_line(gate, whole=True) for gate in report.gates])
    return "\n".join(lines)


def conflict_lines(conflict: ConflictDecided) -> list[str]:
    tried = [merge_phrase(each) for each in conflict.tried] or ["No way to merge both keeps every edit."]
    return [*tried, *([""] if conflict.diff else []), *conflict.diff.splitlines()]


def section_lines(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"== {title}", "", *lines] if lines else []


def attempt_lines(run: str, attempt: Attempt) -> list[str]:
    begun, used = f"started {format_local_time(attempt.started)} with {attempt.model}", attempt.usage
    cost = f"{plural(used.requests, 'request')}, {used.input:,} tokens in, {used.output:,} out, {cost_phrase(used)}"
    if not attempt.verdict:
        return [f"{begun}, not ended; {cost}"]
    outcome = f"{outcome_phrase(attempt.verdict)} after {attempt.seconds:.1f} s: {attempt.cause}"
    words = [outcome, whole_remedy(run, attempt.remedy), f"{begun}; {cost}"]
    kept = [f"kept as a patch: {attempt.patch}"] if attempt.patch else []
    return [*filter(None, words), *kept, *(gate_line(gate, whole=True) for gate in attempt.gates)]


def conversation_lines(attempt: Attempt, *, whole: bool) -> list[str]:
    lines = []
    for turn in attempt.turns if attempt.whole else ():
        asked = turn.asked if whole else messages_of_ours(turn.asked)
        if left_out := sum(len(text) for _, text in turn.asked) - sum(len(text) for _, text in asked):
            lines += [f"({left_out:,} characters that Aider itself wrote are left out; --all shows them)", ""]
        for role, text in asked:
            shown = len(text) if whole else LONGEST
            more = f" … {len(text) - shown:,} characters more (--all shows them)" if len(text) > shown else ""
            lines += [f"[{role}]", f"{text[:shown]}{more}", ""]
        lines += ["[reply]", turn.said, ""]
    return lines


def messages_of_ours(asked: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The messages without Aider's system prompt and the examples of edits that follow it."""
    ends = [n for n, (_, text) in enumerate(asked) if text.startswith(END_OF_EXAMPLES)]
    return [message for message in asked[ends[-1] + 2 if ends else 0 :] if message[0] != "system"]
