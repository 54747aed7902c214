"""The last lines of a run: what changed, what did not and why, how far it was checked, cost, time, what to do next."""

from typing import Any

from orchestra.report.fold import Report, TaskReport
from orchestra.report.sentence import failure_line, next_steps, paid, plural, sentence

MOST_FILES = 20


def closing(report: Report, summary_path: str) -> str:
    lines = [sentence(report), ""]
    lines += changed(report)
    failures = [f"  {failure_line(task)}" for task in report.failed]
    lines += ["Not done:", *failures, ""] if failures else []
    lines += [*remarks(report), costs(report)]
    lines += [f"Requirements: {page}" for page in [report.prd.get("path")] if page]
    lines += [f"Report: {summary_path}"]
    steps = next_steps(report)
    lines += ["", "Next:", *(f"  {step}" for step in steps)] if steps else []
    return "\n".join(lines)


def changed(report: Report) -> list[str]:
    files = sorted(report.files.items())
    width = max((len(path) for path, _ in files[:MOST_FILES]), default=0)
    lines = [f"  {path:<{width}}  +{added} -{removed}" for path, (added, removed) in files[:MOST_FILES]]
    more = [f"  and {len(files) - MOST_FILES} more"] if len(files) > MOST_FILES else []
    return ["Changed:", *lines, *more, ""] if lines else []


def remarks(report: Report) -> list[str]:
    """What else the user should know: the checks, edits taken out, paths refused."""
    gates = [f"  {gate_line(gate)}" for gate in report.gates]
    lines = [f"  {task.agent} {words}" for task in report.tasks.values() for words in side_notes(task)]
    return (["Checks:", *gates, ""] if gates else []) + (["Also:", *lines, ""] if lines else [])


def gate_line(gate: dict[str, Any]) -> str:
    outcome = "passed" if gate["ok"] else "did not end in time" if gate["timed_out"] else "failed"
    return f"{gate['name']} {outcome} in {gate['seconds']:.1f} s: {gate['command']} ({gate['output']})"


def side_notes(task: TaskReport) -> list[str]:
    found = []
    if task.foreign:
        found.append(f"also edited {', '.join(task.foreign)}, which belongs to another agent; kept in {task.patch}")
    if task.refused:
        found.append(f"was refused {', '.join(task.refused)}, which is not in its worktree")
    if task.left_out:
        found.append(f"left {', '.join(task.left_out)}, which cannot be committed")
    return found


def costs(report: Report) -> str:
    used = report.usage
    tokens = f"{used.input:,} tokens in, {used.output:,} out"
    return f"Cost: {paid(report)}; {plural(used.requests, 'request')}, {tokens}; time: {report.seconds:.1f} s"
