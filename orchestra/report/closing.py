"""The last lines of a run: what changed, what did not and why, how far it was checked, cost, time, what to do next."""

from collections.abc import Iterator, Sequence

from orchestra.events import GateEnded, NewTest, PatchWritten
from orchestra.judge.verdict import NAME_IT, format_reasons
from orchestra.report.labels import gate_outcome
from orchestra.report.phrases import (
    LOST_TEST_PHRASES,
    failure_line,
    format_usd,
    join_names,
    next_steps,
    paid_phrase,
    plural,
    unreadable_note,
    verdict_sentence,
)
from orchestra.report.plans.estimate import comparison_sentence
from orchestra.report.replay_differences import replay_lines
from orchestra.report.sanitize import safe_line, strip_controls
from orchestra.report.state import Report, TaskReport

MOST_FILES = 20
NAMED = ("new failures", "failed before too", "failing now", "flaky")


def closing_text(report: Report, summary_path: str, page: str = "") -> str:
    """Without anything that a terminal would obey: file names, models and providers have their words in it."""
    return strip_controls(said(report, summary_path, page))


def said(report: Report, summary_path: str, page: str) -> str:
    lines = [safe_line(verdict_sentence(report), 4_000), ""]
    lines += changed_file_lines(report)
    failures = [f"  {safe_line(failure_line(task), 2_000)}" for task in report.failed]
    lines += ["Not done:", *failures, ""] if failures else []
    lines += [
        *remark_lines(report),
        cost_line(report),
        *filter(None, [comparison_sentence(report)]),
        *budget_lines(report),
    ]
    lines += filter(None, [unreadable_note(report)])
    lines += [f"Requirements: {safe_line(path)}" for path in [report.prd_path] if path]
    lines += [f"{what}: {safe_line(words, 2_000)}" for what, words in handover_rows(report)]
    data = [f"Report: {page}", f"Data: {summary_path}"] if page else [f"Report: {summary_path}"]
    lines += data if summary_path else []
    steps = next_steps(report)
    lines += ["", "Next:", *(f"  {safe_line(step, 2_000)}" for step in steps)] if steps else []
    return "\n".join(lines)


def changed_file_lines(report: Report) -> list[str]:
    files = [(safe_line(path), counts) for path, counts in sorted(report.files.items())]
    width = max((len(path) for path, _ in files[:MOST_FILES]), default=0)
    lines = [f"  {path:<{width}}  +{added} -{removed}" for path, (added, removed) in files[:MOST_FILES]]
    more = [f"  and {len(files) - MOST_FILES} more"] if len(files) > MOST_FILES else []
    return ["Changed:", *lines, *more, ""] if lines else []


def remark_lines(report: Report) -> list[str]:
    """What else the user should know: the checks, edits taken out, paths refused."""
    gates = [f"  {safe_line(gate_line(gate), 2_000)}" for gate in report.gates]
    gates += [
        f"  {task.agent}: {safe_line(gate_line(gate.result), 2_000)}"
        for task in report.failed
        for gate in task.gates
        if not gate.result.ok
    ]
    lines = [
        f"  {task.agent} {safe_line(words, 2_000)}" for task in report.tasks.values() for words in task_notes(task)
    ]
    replayed = [f"  {safe_line(words, 2_000)}" for words in replay_lines(report)]
    wishes = [f"  {safe_line(words, 500)}" for words in proposal_lines(report)]
    tests = [f"  {safe_line(words, 2_000)}" for words in tests_judged_lines(report)]
    found = {"Checks:": gates, "Tests:": tests, "Also:": lines, "Proposed, and not begun:": wishes, "Replay:": replayed}
    return [each for head, lines in found.items() if lines for each in (head, *lines, "")]


def proposal_lines(report: Report) -> list[str]:
    return [
        f"agent{task}: {one.title}" + (f" ({', '.join(one.files)})" if one.files else "")
        for task, tasks in report.proposals.items()
        for one in tasks
    ]


def tests_judged_lines(report: Report) -> list[str]:
    """What is to be known of the tests beside how far they verify: what agents wrote, took out or weakened."""
    lines = []
    for name, one in sorted(report.judged.items()):
        lines += [f"{name}: the agents changed {', '.join(one.changed)}"] if one.changed else []
        for kind, words in LOST_TEST_PHRASES.items():
            lost: tuple[str, ...] = getattr(one.lost, kind)
            lines += [f"{name}: {words}: {', '.join(lost)}"] if lost else []
        lines += list(new_test_lines(one.fresh))
        for each in one.weaker:
            lines += [f"assertions taken out of {each.file}, or changed:"]
            lines += [f"  {changed}" for changed in each.lines]
        lines += one.remarks
    return lines


def new_test_lines(fresh: Sequence[NewTest]) -> Iterator[str]:
    """New tests should fail on the base: one that passes there says nothing of the change."""
    groups = dict[str, list[str]]()
    for one in fresh:
        before = "pass on the base already" if one.base == "passed" else "fail on the base and pass now"
        groups.setdefault(before if one.result == "passed" else "do not pass", []).append(one.name)
    for words, names in groups.items():
        if names:
            yield f"new tests that {words}: {join_names(names)}"


def gate_line(gate: GateEnded) -> str:
    output = f" ({gate.output})" if gate.output else ""
    line = f"{gate.name} {gate_outcome(gate)} in {gate.seconds:.1f} s: {gate.command}{output}"
    failures = {
        "new failures": gate.new,
        "failed before too": gate.old,
        "failing now": gate.unknown,
        "flaky": gate.flaky,
    }
    told = [f"    {words}: {', '.join(names)}" for words, names in failures.items() if names]
    return "\n".join([line, *told, *(f"    {remark}" for remark in gate.remarks)])


def task_notes(task: TaskReport) -> list[str]:
    found = []
    if task.foreign:
        found.append(f"also edited {', '.join(task.foreign)}, which belongs to another agent; kept in {task.patch}")
    if task.protected:
        kept = f"kept in {task.patch}" if task.patch else "not kept"
        edited = format_reasons(task.protected, MOST_FILES)
        found.append(f"also edited {edited}, which nobody had named: not taken, {kept}. {NAME_IT.rstrip('.')}")
    if task.notable:
        found.append(f"changed {format_reasons(task.notable, MOST_FILES)}: look at it before you trust the result")
    if task.refused:
        found.append(f"was refused {', '.join(task.refused)}, where it may not write")
    if task.left_out:
        found.append(f"left {', '.join(task.left_out)}, which cannot be committed")
    return found + list(candidate_notes(task))


def candidate_notes(task: TaskReport) -> Iterator[str]:
    """What became of the attempts that were made side by side."""
    for one in task.candidates:
        if one.chosen:
            yield f"was tried several times side by side: {one.why}"
    for one in task.candidates:
        if not one.chosen:
            change = f", {plural(one.size, 'line')} changed" if one.size else ""
            kept = "; kept as " + (one.branch or one.patch) if one.branch or one.patch else ""
            yield f"was not taken from attempt {one.attempt} ({one.verdict}{change}){kept}"


def handover_rows(report: Report) -> list[tuple[str, str]]:
    """Where others find the result."""
    pushed, patch = report.pushed, report.last_handover(PatchWritten)
    found = [("Pushed", f"{pushed.branch} to {pushed.remote}")] if pushed else []
    found += [("Patch", patch.path)] if patch else []
    return found + ([("Pull request", report.pr_url)] if report.pr_url else [])


def cost_line(report: Report) -> str:
    used = report.usage
    tokens = f"{used.input:,} tokens in, {used.output:,} out"
    return f"Cost: {paid_phrase(report)}; {plural(used.requests, 'request')}, {tokens}; time: {report.seconds:.1f} s"


def budget_lines(report: Report) -> list[str]:
    """What the limits were and what has become of them."""
    used, limits, lines = report.usage, report.limits, []
    if "budget" in limits and used.paid is not None:
        lines.append(f"Budget: {format_usd(used.paid)} of {format_usd(limits['budget'])} spent")
    if "max_tokens" in limits:
        lines.append(f"Tokens: {used.tokens + used.assumed_tokens:,} of {limits['max_tokens']:,} used")
    if used.assumed:
        lines.append(f"Of the cost {format_usd(used.assumed)} is assumed: replies were lost, or told no usage")
    if used.overshoot:
        lines.append(
            f"Overshoot: providers billed {format_usd(used.overshoot)} more than was set aside for their requests"
        )
    return lines
