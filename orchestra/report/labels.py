"""Short labels for reports: states, numbers, times, and suggested commands."""

from orchestra.events import GateEnded
from orchestra.judge.policy import policy_of
from orchestra.model import TaskState, Usage, Verdict, Verified
from orchestra.report.phrases import changed_tests_phrase, format_usd, tests_exceptions, unchecked_reasons
from orchestra.report.sanitize import safe_line
from orchestra.report.state import DecisionMade, Report, Review, TaskReport

VERIFIED_SENTENCES = {
    Verified.NONE: "Nothing but git has checked it.",
    Verified.SYNTAX: "Its syntax was checked, but not what it does.",
    Verified.CHANGED_TESTS: "Tests passed on the combined result, but not as the base has them.",
    Verified.TESTS: "The tests passed on the combined result.",
}
DECISION_PHRASES = {
    "retry": "had it retried",
    "brief": "gave it another brief",
    "abandon": "abandoned it",
    "spawn": "replaced it with another task",
    "take": "did it by hand",
}
PHASE_NAMES = {"prd": "requirements", "agent": "agents", "critic": "reviews"}


def gate_outcome(gate: GateEnded) -> str:
    """How a gate ended."""
    if gate.ok and gate.unproven:
        return "checked nothing"
    if gate.ok:
        return f"passed but for {gate.old_count} that failed before" if gate.old_count else "passed"
    if gate.missing:
        return "not reviewed"
    return "did not end in time" if gate.timed_out else "failed"


def capitalize_first(words: str) -> str:
    return words[:1].upper() + words[1:]


def decision_phrase(decision: DecisionMade) -> str:
    return f"A person {DECISION_PHRASES.get(decision.action, safe_line(decision.action, 60))}"


def review_phrase(review: Review) -> str:
    """The critic, the attempt and the outcome."""
    outcome = "passed" if review.ok else "not reviewed" if review.missing else "failed"
    return f"{safe_line(review.command or 'review', 100)}, of attempt {review.attempt or 1}: {outcome}"


def task_status(task: TaskReport) -> str:
    if task.state == TaskState.WAITING_HUMAN:
        return "waits for you"
    if task.held:
        return "excluded"
    if task.verdict == Verdict.APPLIED and task.state == TaskState.FAILED:
        return "failed the checks"
    if task.answered and task.success:
        return "answered"
    if task.verdict == Verdict.APPLIED:
        return "complete" if task.state == TaskState.COMPLETE else "applied"
    return task.verdict.replace("_", " ") or ("not finished" if task.attempts else "not started")


def task_tone(task: TaskReport) -> str:
    """good, warn, bad or idle: a colour, which always stands beside a word."""
    if task.held or task.state == TaskState.WAITING_HUMAN:
        return "warn"
    if task.verdict == Verdict.APPLIED:
        return "warn" if task.state == TaskState.FAILED else "good"
    return "idle" if policy_of(task.verdict).interrupted else "bad"


def run_tone(report: Report) -> str:
    """good, warn, bad or idle, for the run."""
    if report.exit_code == 0:
        return "good"
    if report.exit_code is None or report.exit_code in (130, 143):
        return "idle"
    return "warn" if report.applied else "bad"


def verification_sentence(report: Report) -> str:
    if not report.result:
        return "There is no result that could be checked."
    if any(not gate.ok for gate in report.gates):
        return f"{VERIFIED_SENTENCES[report.verified]} Not every check passed."
    if report.verified is Verified.TESTS:
        return f"{VERIFIED_SENTENCES[report.verified].rstrip('.')}{tests_exceptions(report)}."
    if report.verified is Verified.CHANGED_TESTS:
        tests = f"{changed_tests_phrase(report)}{tests_exceptions(report)}"
        return f"{VERIFIED_SENTENCES[report.verified]} It is verified by {tests}."
    why = unchecked_reasons(report)
    return f"{VERIFIED_SENTENCES[report.verified]}{f' Not checked by tests: {why}.' if why else ''}"


def format_duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = {"h": hours, "min": minutes, "s": 0 if hours else rest}
    return " ".join(f"{number} {unit}" for unit, number in parts.items() if number)


def format_cost(used: Usage) -> str:
    return "unknown" if used.dollars is None else format_usd(used.dollars)


def suggested_commands(report: Report) -> list[tuple[str, str]]:
    """What can be done with the run now, and the command: from hashes and stamps, so that no text needs quoting."""
    steps = []
    result, base = report.result, report.base
    if result and base:
        steps.append(("Look at the change", f"git diff {base[:12]} {result[:12]}"))
    if report.exit_code != 0 and report.tasks:
        steps.append(("Resume the run; finished work is kept", f"aider-orchestrator resume {report.run}"))
    if report.applied and base:
        steps.append(("Undo the change on your branch", f"git revert --no-edit {base[:12]}..{result[:12]}"))
    return steps
