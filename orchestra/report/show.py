"""One task, all of it: what was asked, what each attempt did and said, what it cost, what checked it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from orchestra.events import plain
from orchestra.report.detail import Attempt
from orchestra.report.sentence import money, plural
from orchestra.report.state import Report, TaskReport
from orchestra.report.status import moment
from orchestra.report.summary import agent, usage
from orchestra.report.text import gate_line, side_notes

LONGEST = 2000  # characters of each message that was sent
KNOWN = ("number", "started", "model", "verdict", "cause", "remedy", "seconds", "commit", "patch")


def record(
    report: Report, task: TaskReport, brief: str, tries: Sequence[Attempt], diffs: Mapping[int, str]
) -> dict[str, Any]:
    """For programs. What the run's gates checked is the combined work of all its tasks."""
    return {
        "run": report.run,
        "task": task.id,
        "brief": brief,
        **{name: value for name, value in agent(task, "").items() if name not in ("log_file", "attempts")},
        "attempts": [attempt_record(attempt, diffs.get(attempt.number, "")) for attempt in tries],
        "gates": plain(report.gates),
    }


def attempt_record(attempt: Attempt, diff: str) -> dict[str, Any]:
    known = {name: getattr(attempt, name) for name in KNOWN}
    said = [asdict(turn) for turn in attempt.turns if attempt.whole]
    gates = plain(attempt.gates)
    return known | {"usage": usage(attempt.usage), "gates": gates, "diff": diff, "conversation": said}


def text(report: Report, task: TaskReport, brief: str, tries: Sequence[Attempt], diffs: Mapping[int, str]) -> str:
    lines = [f"{task.agent} of run {report.run}: {task.title or 'no title'}", f"  {task.state}, {money(task.usage)}"]
    lines += [f"  {path}" for path in task.files]
    lines += [f"  held back: {task.held}"] if task.held else []
    lines += [f"  its commit in the result: {task.commit}"] if task.commit and not task.held else []
    lines += [f"  its branch: {task.branch}"] if task.branch else []
    lines += [f"  {words}" for words in side_notes(task)]
    lines += heading("Brief", brief.strip().splitlines())
    for attempt in tries:
        lines += heading(f"Attempt {attempt.number}", attempt_lines(attempt))
        lines += heading(f"Changes of attempt {attempt.number}", diffs.get(attempt.number, "").splitlines())
        lines += heading(f"Conversation of attempt {attempt.number}", conversation(attempt))
    lines += heading("Checks of the combined work", [gate_line(gate) for gate in report.gates])
    return "\n".join(lines)


def heading(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"== {title}", "", *lines] if lines else []


def attempt_lines(attempt: Attempt) -> list[str]:
    begun = f"started {moment(attempt.started)} with {attempt.model}"
    used = attempt.usage
    cost = f"{plural(used.requests, 'request')}, {used.input:,} tokens in, {used.output:,} out, {money(used)}"
    if not attempt.verdict:
        return [f"{begun}, not ended; {cost}"]
    words = [f"{attempt.verdict} after {attempt.seconds:.1f} s: {attempt.cause}", attempt.remedy, f"{begun}; {cost}"]
    kept = [f"kept as a patch: {attempt.patch}"] if attempt.patch else []
    return [*filter(None, words), *kept, *map(gate_line, attempt.gates)]


def conversation(attempt: Attempt) -> list[str]:
    lines = []
    for turn in attempt.turns if attempt.whole else ():
        for role, said in turn.asked:
            more = f" … and {len(said) - LONGEST:,} characters more (--json has them)" if len(said) > LONGEST else ""
            lines += [f"[{role}]", f"{said[:LONGEST]}{more}", ""]
        lines += ["[reply]", turn.said, ""]
    return lines
