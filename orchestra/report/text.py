"""The last lines of a run: what changed, what did not and why, how far it was checked, cost, time, what to do next."""

from collections.abc import Iterator, Sequence

from orchestra.events import FreshTest, GateEnded, PatchWritten
from orchestra.judge.verdict import NAME_IT, reasons
from orchestra.report.plans.estimate import comparison
from orchestra.report.replay import replay_lines
from orchestra.report.safe import line, plain
from orchestra.report.sentence import LOST, failure_line, next_steps, paid, plural, sentence, some, unreadable, usd
from orchestra.report.state import Report, TaskReport
from orchestra.report.words import gate_outcome

MOST_FILES = 20
NAMED = ("new failures", "failed before too", "failing now", "flaky")


def closing(report: Report, summary_path: str, page: str = "") -> str:
    """Without anything that a terminal would obey: file names, models and providers have their words in it."""
    return plain(said(report, summary_path, page))


def said(report: Report, summary_path: str, page: str) -> str:
    lines = [line(sentence(report), 4_000), ""]
    lines += changed(report)
    failures = [f"  {line(failure_line(task), 2_000)}" for task in report.failed]
    lines += ["Not done:", *failures, ""] if failures else []
    lines += [*remarks(report), costs(report), *filter(None, [comparison(report)]), *budget(report)]
    lines += filter(None, [unreadable(report)])
    lines += [f"Requirements: {line(path)}" for path in [report.prd_path] if path]
    lines += [f"{what}: {line(words, 2_000)}" for what, words in handed_over(report)]
    data = [f"Report: {page}", f"Data: {summary_path}"] if page else [f"Report: {summary_path}"]
    lines += data if summary_path else []
    steps = next_steps(report)
    lines += ["", "Next:", *(f"  {line(step, 2_000)}" for step in steps)] if steps else []
    return "\n".join(lines)


def changed(report: Report) -> list[str]:
    files = [(line(path), counts) for path, counts in sorted(report.files.items())]
    width = max((len(path) for path, _ in files[:MOST_FILES]), default=0)
    lines = [f"  {path:<{width}}  +{added} -{removed}" for path, (added, removed) in files[:MOST_FILES]]
    more = [f"  and {len(files) - MOST_FILES} more"] if len(files) > MOST_FILES else []
    return ["Changed:", *lines, *more, ""] if lines else []


def remarks(report: Report) -> list[str]:
    """What else the user should know: the checks, edits taken out, paths refused."""
    gates = [f"  {line(gate_line(gate), 2_000)}" for gate in report.gates]
    gates += [
        f"  {task.agent}: {line(gate_line(gate.result), 2_000)}"
        for task in report.failed
        for gate in task.gates
        if not gate.result.ok
    ]
    lines = [f"  {task.agent} {line(words, 2_000)}" for task in report.tasks.values() for words in side_notes(task)]
    replayed = [f"  {line(words, 2_000)}" for words in replay_lines(report)]
    wishes = [f"  {line(words, 500)}" for words in proposed(report)]
    tests = [f"  {line(words, 2_000)}" for words in judged_lines(report)]
    found = {"Checks:": gates, "Tests:": tests, "Also:": lines, "Proposed, and not begun:": wishes, "Replay:": replayed}
    return [each for head, lines in found.items() if lines for each in (head, *lines, "")]


def proposed(report: Report) -> list[str]:
    return [
        f"agent{task}: {one.title}" + (f" ({', '.join(one.files)})" if one.files else "")
        for task, tasks in report.proposals.items()
        for one in tasks
    ]


def judged_lines(report: Report) -> list[str]:
    """What is to be known of the tests beside how far they verify: what agents wrote, took out or weakened."""
    lines = []
    for name, one in sorted(report.judged.items()):
        lines += [f"{name}: the agents changed {', '.join(one.changed)}"] if one.changed else []
        for kind, words in LOST.items():
            lost: tuple[str, ...] = getattr(one.lost, kind)
            lines += [f"{name}: {words}: {', '.join(lost)}"] if lost else []
        lines += list(fresh_lines(one.fresh))
        for each in one.weaker:
            lines += [f"assertions taken out of {each.file}, or changed:"]
            lines += [f"  {changed}" for changed in each.lines]
        lines += one.remarks
    return lines


def fresh_lines(fresh: Sequence[FreshTest]) -> Iterator[str]:
    """New tests should fail on the base: one that passes there says nothing of the change."""
    groups = dict[str, list[str]]()
    for one in fresh:
        before = "pass on the base already" if one.base == "passed" else "fail on the base and pass now"
        groups.setdefault(before if one.result == "passed" else "do not pass", []).append(one.name)
    for words, names in groups.items():
        if names:
            yield f"new tests that {words}: {some(names)}"


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


def side_notes(task: TaskReport) -> list[str]:
    found = []
    if task.foreign:
        found.append(f"also edited {', '.join(task.foreign)}, which belongs to another agent; kept in {task.patch}")
    if task.protected:
        kept = f"kept in {task.patch}" if task.patch else "not kept"
        edited = reasons(task.protected, MOST_FILES)
        found.append(f"also edited {edited}, which nobody had named: not taken, {kept}. {NAME_IT.rstrip('.')}")
    if task.notable:
        found.append(f"changed {reasons(task.notable, MOST_FILES)}: look at it before you trust the result")
    if task.refused:
        found.append(f"was refused {', '.join(task.refused)}, where it may not write")
    if task.left_out:
        found.append(f"left {', '.join(task.left_out)}, which cannot be committed")
    return found + list(candidates(task))


def candidates(task: TaskReport) -> Iterator[str]:
    """What became of the attempts that were made side by side."""
    for one in task.candidates:
        if one.chosen:
            yield f"was tried several times side by side: {one.why}"
    for one in task.candidates:
        if not one.chosen:
            change = f", {plural(one.size, 'line')} changed" if one.size else ""
            kept = "; kept as " + (one.branch or one.patch) if one.branch or one.patch else ""
            yield f"was not taken from attempt {one.attempt} ({one.verdict}{change}){kept}"


def handed_over(report: Report) -> list[tuple[str, str]]:
    """Where others find the result."""
    pushed, patch = report.pushed, report.last(PatchWritten)
    found = [("Pushed", f"{pushed.branch} to {pushed.remote}")] if pushed else []
    found += [("Patch", patch.path)] if patch else []
    return found + ([("Pull request", report.pr_url)] if report.pr_url else [])


def costs(report: Report) -> str:
    used = report.usage
    tokens = f"{used.input:,} tokens in, {used.output:,} out"
    return f"Cost: {paid(report)}; {plural(used.requests, 'request')}, {tokens}; time: {report.seconds:.1f} s"


def budget(report: Report) -> list[str]:
    """What the limits were and what has become of them."""
    used, limits, lines = report.usage, report.limits, []
    if "budget" in limits and used.paid is not None:
        lines.append(f"Budget: {usd(used.paid)} of {usd(limits['budget'])} spent")
    if "max_tokens" in limits:
        lines.append(f"Tokens: {used.tokens + used.assumed_tokens:,} of {limits['max_tokens']:,} used")
    if used.assumed:
        lines.append(f"Of the cost {usd(used.assumed)} is assumed: replies were lost, or told no usage")
    if used.overshoot:
        lines.append(f"Overshoot: providers billed {usd(used.overshoot)} more than was set aside for their requests")
    return lines
