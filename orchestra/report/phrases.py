"""Sentences about a run: the verdict, how far the result is verified, and what to do next."""

from collections.abc import Sequence
from pathlib import PurePath

from orchestra.errors import INTERRUPT, SIGNALS, TERMINATE
from orchestra.judge.exit_code import LIMIT_CODE
from orchestra.judge.policy import policy_of
from orchestra.model import Usage, Verdict, Verified
from orchestra.report.sanitize import safe_line
from orchestra.report.state import Report, TaskReport, join_some

LONGEST_REASON = 300
MOST_REASONS = 2
NOT_DONE_PHRASES = {
    "patch": "not written as a patch",
    "branch": "not on the branch that was asked for",
    "push": "not pushed",
    "pr": "without a pull request",
}


def verdict_sentence(report: Report) -> str:
    if report.error:
        return report.error
    if report.exit_code in (130, 143):
        usual = INTERRUPT if report.exit_code == 130 else TERMINATE
        by = "`cancel`" if report.cancelled else SIGNALS.get(report.signal or usual, "a signal")
        return f"Stopped by {by}; {result_location(report)}."
    if stopped := stopping_limit(report):
        return f"Stopped by {stopped}: {outcome_sentence(report)}"
    return outcome_sentence(report)


def stopping_limit(report: Report) -> str:
    """The limit that ended the run early; empty if none did."""
    if report.limit_that_stopped:
        return report.limit_that_stopped
    short = any(policy_of(task.verdict).exit_code == LIMIT_CODE for task in report.tasks.values())
    return "the budget" if short and report.exit_code == LIMIT_CODE else ""


def outcome_sentence(report: Report) -> str:
    total, done = sum(not task.replaced for task in report.tasks.values()), len(report.succeeded)
    if not total and report.drafted_tasks:
        return f"{plural(report.drafted_tasks, 'task')} planned in {report.plan_file}; nothing has been changed."
    if not total:
        return "Nothing was planned."
    if report.changed_nothing:
        return f"{plural(done, 'question')} answered; no file was to be changed."
    if not any(task.commit or task.answered for task in report.tasks.values()):
        return f"Nothing was changed: {f'all {total:,} tasks' if total > 1 else 'the task'} failed."
    tasks = f"All {total:,} tasks are" if total > 1 else "The task is"
    head = f"{tasks} complete" if done == total else f"{done:,} of {total:,} tasks are complete"
    asking = sum(bool(task.asks) for task in report.tasks.values())
    head += f", {plural(asking, 'task')} {'needs' if asking == 1 else 'need'} your decision" if asking else ""
    return f"{head}; {result_location(report)}, {verification_phrase(report)}."


def result_location(report: Report) -> str:
    """Where the result is now."""
    if not report.result:
        return "no result was combined"
    files = plural(len(report.files), "file")
    return f"{files} changed on {report.result_branch}{handover_note(report)}"


def handover_note(report: Report) -> str:
    """Completed and failed handovers, in parentheses."""
    done = "with a pull request" if report.pr_url else "pushed" if report.pushed else ""
    failed = [NOT_DONE_PHRASES[what] for what in report.refused if what in NOT_DONE_PHRASES]
    words = " but ".join(filter(None, (done, " and ".join(failed))))
    return f" ({words})" if words else ""


def verification_phrase(report: Report) -> str:
    failed = [gate.name for gate in report.gates if not gate.ok]
    if failed:
        return f"and {', '.join(failed)} failed"
    if report.verified is Verified.TESTS:
        return f"verified by the tests{tests_exceptions(report)}"
    if report.verified is Verified.CHANGED_TESTS:
        return f"verified by {changed_tests_phrase(report)}{tests_exceptions(report)}"
    syntax = report.verified is Verified.SYNTAX
    if why := unchecked_reasons(report):
        return f"{'checked only for syntax, ' if syntax else ''}not checked by tests: {why}"
    if syntax:
        return "checked only for syntax (no tests were run)"
    return "checked by nothing but git (no tests were given)"


MOST_NAMED = 6
LOST_TEST_PHRASES = {"missing": "missing", "skipped": "skipped now", "expected": "expected to fail now"}


def changed_tests_phrase(report: Report) -> str:
    """The tests that verify the result, and how they are less than the base's."""
    parts = [
        f"{join_names(names)} {'is' if len(names) == 1 else 'are'} {LOST_TEST_PHRASES[kind]}"
        for kind, names in report.tests_lost.items()
    ]
    lost = [judgement.lost for judgement in report.judged.values()]
    parts += [f"{each.ran or 0:,} of {each.of:,} ran" for each in lost if each.of]
    less = f" (of the base's tests, {'; '.join(parts)})" if parts else ""
    if changed := report.tests_changed:
        return f"tests that the agents changed: {join_names(changed)}{less}"
    if any(judgement.wrote for judgement in report.judged.values()):
        return f"tests that the agents wrote{less}"
    return f"fewer tests than the base has{less}"


def join_names(names: Sequence[str]) -> str:
    return join_some([safe_line(name, 200) for name in names], MOST_NAMED)


def tests_exceptions(report: Report) -> str:
    """What the verifying tests leave open."""
    count, why = report.failed_before, unchecked_reasons(report)
    old = f", but for {count:,} that failed before" if count else ""
    return old + (f"{' and' if old else ', but'} not by all of them: {why}" if why else "")


def unchecked_reasons(report: Report) -> str:
    """Why tests of the repository did not check the result."""
    reasons = [safe_line(why, LONGEST_REASON).rstrip(".") for why in dict.fromkeys(report.unchecked)]
    more = len(reasons) - MOST_REASONS
    return "; ".join(reasons[:MOST_REASONS]) + (f"; and {more} more" if more > 0 else "")


def next_steps(report: Report) -> list[str]:
    """What the user can do now, with commands."""
    return [f"{words} {command}" for words, command in handover_commands(report)] + other_steps(report)


def handover_commands(report: Report) -> list[tuple[str, str]]:
    """Each failed handover with its reason, from the host or git, and the command that does it by hand."""
    return [(f"Not handed over: {failed.why}. By hand:", failed.by_hand) for failed in report.refused.values()]


def other_steps(report: Report) -> list[str]:
    steps = []
    if report.drafted_tasks and not report.tasks:
        path = PurePath(report.plan_file)
        name = path.stem if path.parent.name == "plans" and path.parent.parent.name == ".aider_logs" else path
        steps += [f"Look at the plan: aider-orchestrator plan show {name}", f"Do it: aider-orchestrator execute {name}"]
    delivery = report.delivery
    if report.pr_url:
        steps.append(f"Review and merge {report.pr_url}")
    elif delivery and delivery.result and not delivery.applied:
        steps.append(f"The result is on {delivery.side_branch} because {delivery.reason}. To take it: {delivery.take}")
    for task in report.tasks.values():
        if task.branch and (not task.success or not report.result):
            steps.append(f"{task.agent}'s work is kept on {task.branch}: git show {task.branch}")
        elif task.patch and not task.success:
            steps.append(f"{task.agent}'s work is kept as a patch: {task.patch}")
    asking = [task for task in report.tasks.values() if task.asks]
    steps += [
        f"Decide about {task.agent}: {resolve_command(report, task)} (or --take, --abandon, ...)" for task in asking
    ]
    remedies = dict.fromkeys(task.remedy for task in report.failed if task.remedy and not task.asks)
    return steps + list(remedies)


def resolve_command(report: Report, task: TaskReport) -> str:
    return f'aider-orchestrator resolve {report.run} {task.id} --retry "a hint"'


def cost_phrase(used: Usage) -> str:
    return "cost unknown (no price for this model)" if used.paid is None else format_usd(used.paid)


def format_budget(report: Report) -> str:
    """$0.05, or $0.05 of $5.00."""
    budget = report.limits.get("budget")
    return cost_phrase(report.usage) + (f" of {format_usd(budget)}" if budget else "")


def unreadable_note(report: Report) -> str:
    """Empty if all of the log could be read."""
    if not report.unreadable:
        return ""
    return f"{plural(report.unreadable, 'event')} in the log could not be read. The report is made from the others."


def format_usd(dollars: float) -> str:
    return f"${dollars:.4f}" if dollars < 1 else f"${dollars:,.2f}"


def format_time_option(seconds: float) -> str:
    """1h30m, 45s."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    parts = {"h": hours, "m": minutes, "s": rest}
    return "".join(f"{number:g}{unit}" for unit, number in parts.items() if number) or "0s"


def paid_phrase(report: Report) -> str:
    """What the run cost. A replayed reply was paid for when it was recorded."""
    paid = report.usage.paid
    cost = f"unknown (no price for {safe_line(report.model, 100)})" if paid is None else format_usd(paid)
    return f"nothing, the replies came from a recording (worth {cost})" if report.replayed else cost


def plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def failure_line(task: TaskReport) -> str:
    why = task.held or task.asks or task.cause or ("not started" if task.attempts == 0 else "not finished")
    return f"{task.agent} {task.verdict or Verdict.CANCELLED}: {why}"
