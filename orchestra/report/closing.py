"""The last lines of a run: changes, failures, checks, cost, time, and what to do next."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from orchestra.events import GateEnded, NewTest, PatchWritten
from orchestra.judge.verdict import NAME_IT, format_reasons
from orchestra.report import phrases
from orchestra.report.phrases import gate_outcome
from orchestra.report.plans.estimate import comparison_sentence
from orchestra.report.sanitize import safe_line, strip_controls
from orchestra.report.state import Report, TaskReport
from orchestra.wording import align_columns

MOST_FILES = 20
MOST_AGENTS = 20


def closing_text(report: Report, summary_path: str, page: str = "", *, agents: bool = True) -> str:
    """The last lines, without control characters that file names, models or providers could smuggle in."""
    lines = [verdict_line(report), "", *(outcome_lines(report) if agents else []), *changed_file_lines(report)]
    lines += titled_lines("Not done:", (phrases.failure_line(task) for task in report.failed))
    lines += remark_lines(report)
    used = report.usage
    cached = f" ({used.cached:,} from cache)" if used.cached else ""
    traffic = f"{phrases.plural(used.requests, 'request')}, {used.input:,} tokens in{cached}, {used.output:,} out"
    lines += [f"Cost: {phrases.paid_phrase(report)}; {traffic}; time: {phrases.time_phrase(report)}"]
    lines += [*filter(None, [comparison_sentence(report)]), *budget_lines(report)]
    lines += filter(None, [phrases.unreadable_note(report)])
    lines += [f"Requirements: {safe_line(report.prd_path)}"] if report.prd_path else []
    lines += [f"{what}: {safe_line(words, 2_000)}" for what, words in handover_rows(report)]
    commands = {label: f"{label}: {command}" for label, _, command in phrases.suggested_commands(report)}
    lines += ["", *(commands[label] for label in ("Look", "Undo") if label in commands)]
    if summary_path:
        lines += [f"Report: {page}", f"Data: {summary_path}"] if page else [f"Report: {summary_path}"]
    lines += [commands[label] for label in ("Go on",) if label in commands]
    if steps := phrases.next_steps(report):
        lines += ["", "Next:", *(f"  {safe_line(step, 2_000)}" for step in steps)]
    return strip_controls("\n".join(lines))


def verdict_line(report: Report) -> str:
    return safe_line(phrases.verdict_sentence(report), 4_000)


def outcome_lines(report: Report) -> list[str]:
    """A line for each agent, with its outcome; none if there are too many."""
    rows = phrases.agent_rows(report) if len(report.tasks) <= MOST_AGENTS else []
    return ["Agents:", *(f"  {line}".rstrip() for line in align_columns(rows)), ""] if rows else []


def titled_lines(title: str, texts: Iterable[str]) -> list[str]:
    """The texts, indented, below their title and above an empty line; empty without texts."""
    lines = [f"  {safe_line(text, 2_000)}" for text in texts]
    return [title, *lines, ""] if lines else []


def changed_file_lines(report: Report) -> list[str]:
    files = [(safe_line(path), counts) for path, counts in sorted(report.files.items())]
    width = max((len(path) for path, _ in files[:MOST_FILES]), default=0)
    lines = [f"  {path:<{width}}  +{added} -{removed}" for path, (added, removed) in files[:MOST_FILES]]
    more = [f"  and {len(files) - MOST_FILES} more"] if len(files) > MOST_FILES else []
    return ["Changed:", *lines, *more, ""] if lines else []


def remark_lines(report: Report) -> list[str]:
    """Checks, tests, files and edits to look at, proposals and differences of a replay."""
    gates = [gate_line(gate) for gate in report.gates]
    gates += [
        f"{task.agent}: {gate_line(gate.result)}" for task in report.failed for gate in task.gates if not gate.result.ok
    ]
    notes = [f"{task.agent}: {task.cause}" for task in report.tasks.values() if task.nothing_to_do]
    notes += [f"{task.agent} {words}" for task in report.tasks.values() for words in task_notes(task)]
    proposals = (
        f"agent{task}: {proposed.title}" + (f" ({', '.join(proposed.files)})" if proposed.files else "")
        for task, tasks in report.proposals.items()
        for proposed in tasks
    )
    return [
        *titled_lines("Checks:", gates),
        *titled_lines("Tests:", tests_judged_lines(report)),
        *titled_lines("Also:", notes),
        *titled_lines("Proposed, not started:", proposals),
        *titled_lines("Replay:", replay_lines(report)),
    ]


def replay_lines(report: Report) -> list[str]:
    """A sentence for each agent whose replay differs from the recording, or one for an exact replay."""
    if not report.replayed:
        return []
    lines = [
        f"{actor}: {'1 request differs' if count == 1 else f'{count} requests differ'} from the recording's"
        for actor, count in sorted(report.drift.items())
    ]
    lines += [
        f"{actor}: {'1 recorded reply was' if count == 1 else f'{count} recorded replies were'} not used"
        for actor, count in sorted(report.unused.items())
    ]
    return lines or ["Replayed exactly."]


def tests_judged_lines(report: Report) -> list[str]:
    """The tests that agents wrote, removed or weakened, and those that are flaky."""
    lines = []
    for name, judgement in sorted(report.judged.items()):
        lines += [f"{name}: the agents changed {', '.join(judgement.changed)}"] if judgement.changed else []
        for kind, words in phrases.LOST_TEST_PHRASES.items():
            lost: tuple[str, ...] = getattr(judgement.lost, kind)
            lines += [f"{name}: {words}: {', '.join(lost)}"] if lost else []
        lines += list(new_test_lines(judgement.fresh))
        for weakened in judgement.weaker:
            lines += [f"assertions removed from {weakened.file}, or changed:"]
            lines += [f"  {line}" for line in weakened.lines]
        lines += judgement.remarks
    for name, tests in sorted(report.flaky.items()):
        lines += [
            f"{name}: {test.name} is flaky: it failed without cause in {phrases.run_count(test)}" for test in tests
        ]
    return lines


def new_test_lines(fresh: Sequence[NewTest]) -> Iterator[str]:
    """New tests should fail on the base: one that passes there does not test the change."""
    groups = defaultdict[str, list[str]](list)
    for test in fresh:
        before = "pass on the base already" if test.base == "passed" else "fail on the base and pass now"
        groups[before if test.result == "passed" else "do not pass"].append(test.name)
    for words, names in groups.items():
        yield f"new tests that {words}: {phrases.join_names(names)}"


def gate_line(gate: GateEnded, *, whole: bool = False) -> str:
    """The gate, its outcome, and the details of its failures. `whole`: with the command and its output."""
    line = f"{gate.name} {gate_outcome(gate)} {phrases.gate_duration(gate)}"
    if whole or gate.unproven or not gate.ok:
        command = gate.command if whole else phrases.command_phrase(gate)
        line += (f": {command}" if command else "") + (f" ({gate.output})" if gate.output else "")
    failures = {
        "new failures": gate.new,
        "failed before too": gate.old,
        "failing now": gate.unknown,
        "flaky": gate.flaky,
    }
    details = [f"{words}: {', '.join(names)}" for words, names in failures.items() if names]
    details += [f"it ran, because {gate.why_run}"] if whole and gate.why_run else []
    return "\n    ".join([line, *details, *gate.remarks])


def task_notes(task: TaskReport) -> Iterator[str]:
    if task.foreign:
        yield f"also edited {', '.join(task.foreign)}, which belongs to another agent; kept in {task.patch}"
    if task.protected:
        kept = f"kept in {task.patch}" if task.patch else "not kept"
        edited = format_reasons(task.protected, MOST_FILES)
        yield f"also edited {edited}, which you did not name: not taken, {kept}. {NAME_IT.rstrip('.')}"
    if task.notable:
        yield f"changed {format_reasons(task.notable, MOST_FILES)}: look at it before you trust the result"
    if task.refused:
        yield f"was refused {', '.join(task.refused)}, where it may not write"
    if task.left_out:
        yield f"left {', '.join(task.left_out)}, which cannot be committed"
    yield from map(phrases.conflict_phrase, task.conflicts)
    yield from candidate_notes(task)


def candidate_notes(task: TaskReport) -> Iterator[str]:
    """The outcome of attempts side by side, the chosen one first."""
    for candidate in sorted(task.candidates, key=lambda candidate: not candidate.chosen):
        if candidate.chosen:
            yield f"was tried several times side by side: {candidate.why}"
            continue
        change = f", {phrases.plural(candidate.size, 'line')} changed" if candidate.size else ""
        place = candidate.branch or candidate.patch
        kept = f"; kept as {place}" if place else ""
        outcome = phrases.outcome_phrase(candidate.verdict)
        yield f"was not taken from attempt {candidate.attempt} ({outcome}{change}){kept}"


def handover_rows(report: Report) -> list[tuple[str, str]]:
    """Where the result was handed over to."""
    pushed, patch = report.pushed, report.last_handover(PatchWritten)
    rows = [("Pushed", f"{pushed.branch} to {pushed.remote}")] if pushed else []
    rows += [("Patch", patch.path)] if patch else []
    return rows + ([("Pull request", report.pr_url)] if report.pr_url else [])


def budget_lines(report: Report) -> Iterator[str]:
    """How much of the limits is used."""
    used, limits = report.usage, report.limits
    if "budget" in limits and used.paid is not None:
        yield f"Budget: {phrases.format_usd(used.paid)} of {phrases.format_usd(limits['budget'])} spent"
    if "max_tokens" in limits:
        yield f"Tokens: {used.tokens + used.assumed_tokens:,} of {limits['max_tokens']:,} used"
    if used.assumed:
        yield f"Of the cost {phrases.format_usd(used.assumed)} is assumed: replies were lost, or had no usage"
    if used.overshoot:
        overshoot = phrases.format_usd(used.overshoot)
        yield f"Overshoot: providers billed {overshoot} more than was reserved for their requests"
