"""Sentences and short labels about a run: the verdict, how far it is verified, states, costs, and what to do next."""

import re
from collections.abc import Sequence
from pathlib import PurePath

from orchestra.errors import INTERRUPT, SIGNALS, TERMINATE
from orchestra.events import ConflictDecided, FlakyTest, GateEnded, MergeTried
from orchestra.judge.policy import LIMIT_CODE, policy_of
from orchestra.model import TaskState, Usage, Verdict, Verified
from orchestra.report.sanitize import safe_line
from orchestra.report.state import DecisionMade, Report, Review, TaskReport
from orchestra.wording import join_some, one_line

LONGEST_REASON = 300
MOST_REASONS = 2
MOST_NAMED = 6
LONGEST_COMMAND = 60
LOST_TEST_PHRASES = {"missing": "missing", "skipped": "skipped now", "expected": "expected to fail now"}
NOT_DONE_PHRASES = {
    "patch": "not written as a patch",
    "branch": "not on the branch that was asked for",
    "push": "not pushed",
    "pr": "without a pull request",
}
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
OUTCOME_PHRASES = {
    Verdict.APPLIED: "applied",
    Verdict.NO_CHANGE: "changed nothing",
    Verdict.REJECTED_EDIT: "edit rejected",
    Verdict.OUT_OF_SCOPE: "out of scope",
    Verdict.GATES_FAILED: "failed the checks",
    Verdict.AUTH: "key refused",
    Verdict.QUOTA: "quota used up",
    Verdict.RATE_LIMIT: "rate limited",
    Verdict.CONTEXT: "too long for the model",
    Verdict.PROVIDER_ERROR: "provider failed",
    Verdict.UNREACHABLE: "unreachable",
    Verdict.TIMEOUT: "timed out",
    Verdict.BUDGET: "over budget",
    Verdict.ITERATIONS: "too many replies",
    Verdict.CRASHED: "crashed",
    Verdict.CANCELLED: "stopped",
}
ONLY_RESUME = re.compile(r"[\w ]+:? `aider-orchestrator resume \S+`\.")  # a remedy that suggested_commands has too
PHASE_NAMES = {"prd": "requirements", "agent": "agents", "critic": "reviews", "search": "searches"}


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
    unneeded = sum(task.nothing_to_do for task in report.tasks.values())
    if not any(task.commit or task.answered for task in report.tasks.values()):
        return f"Nothing was changed: {failures_phrase(total, unneeded)}."
    tasks = f"All {total:,} tasks are" if total > 1 else "The task is"
    head = f"{tasks} complete" if done == total else f"{done:,} of {total:,} tasks are complete"
    head += f" ({unneeded:,} had nothing to do)" if unneeded else ""
    asking = len(report.waiting)
    head += f", {plural(asking, 'task')} {'needs' if asking == 1 else 'need'} your decision" if asking else ""
    if report.shard:
        return f"Shard {report.shard}: {head[0].lower()}{head[1:]}; `combine` puts the shards together."
    checked = f", {verification_phrase(report)}" if report.result else ""
    return f"{head}; {result_location(report)}{checked}."


def failures_phrase(total: int, unneeded: int) -> str:
    """The outcome of tasks none of which changed anything. `unneeded`: how many of them had nothing to do."""
    whole = f"all {total:,} tasks" if total > 1 else "the task"
    if unneeded == total:
        return f"{whole} had nothing to do"
    if unneeded:
        return f"{total - unneeded:,} of {total:,} tasks failed, {unneeded:,} had nothing to do"
    return f"{whole} failed"


def result_location(report: Report) -> str:
    """Where the result is now, with completed and failed handovers in parentheses."""
    if not report.result:
        return "no result was combined"
    done = "with a pull request" if report.pr_url else "pushed" if report.pushed else ""
    failed = [NOT_DONE_PHRASES[what] for what in report.refused if what in NOT_DONE_PHRASES]
    words = " but ".join(filter(None, (done, " and ".join(failed))))
    return f"{plural(len(report.files), 'file')} changed on {report.result_branch}{f' ({words})' if words else ''}"


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
    """What the user can do now, beside the suggested commands: a sentence each, with its command after a colon."""
    return [f"{words}: {command}" if command else words for words, command in step_rows(report)]


def step_rows(report: Report) -> list[tuple[str, str]]:
    """The same steps, each with its exact command or an empty text."""
    return [*handover_commands(report), *other_steps(report)]


def handover_commands(report: Report) -> list[tuple[str, str]]:
    """Each failed handover with its reason, from the host or git, and the command that does it by hand."""
    return [(f"Not handed over: {failed.why}. By hand", failed.by_hand) for failed in report.refused.values()]


def other_steps(report: Report) -> list[tuple[str, str]]:
    steps = []
    if report.drafted_tasks and not report.tasks:
        name = plan_name(PurePath(report.plan_file))
        steps.append(("Look at the plan", f"aider-orchestrator plan show {name}"))
        steps.append(("Do it", f"aider-orchestrator execute {name}"))
    delivery = report.delivery
    if report.pr_url:
        steps.append((f"Review and merge {report.pr_url}", ""))
    elif delivery and delivery.result and not delivery.applied:
        words = f"The result is on {delivery.side_branch} because {delivery.reason}. To take it"
        steps.append((words, delivery.take))
    if report.shard:
        name = plan_name(PurePath(report.plan_file))
        steps.append(("When all shards are done", f"aider-orchestrator combine {name} shard_*.tar.gz"))
    for task in report.tasks.values():
        if task.branch and (not task.success or not (report.result or report.shard)):
            steps.append((f"{task.agent}'s work is kept on its branch", f"git show {task.branch}"))
        elif task.patch and not task.success:
            steps.append((f"{task.agent}'s work is kept as a patch: {task.patch}", ""))
    steps += [decision_step(report, task) for task in report.waiting]
    if report.tasks and all(task.nothing_to_do for task in report.tasks.values()):
        words = "If a file must change, name it in --files, or say in --change what must be different in it."
        steps.append((words, ""))
    remedies = [whole_remedy(report.run, task.remedy) for task in report.failed if task.remedy and not task.asks]
    return steps + [(remedy, "") for remedy in dict.fromkeys(remedies) if not ONLY_RESUME.fullmatch(remedy)]


def plan_name(path: PurePath) -> str:
    """The plan's name for commands: short for one in the plans' folder."""
    return path.stem if path.parent.name == "plans" and path.parent.parent.name == ".aider_logs" else str(path)


def whole_remedy(run: str, remedy: str) -> str:
    """The remedy, with whole commands: logs name `resume` without the program and the run."""
    command = f"`aider-orchestrator resume {run}"
    return re.sub(r"`retry (?=\d)", "`aider-orchestrator retry ", re.sub(r"`resume(?=[ `])", command, remedy))


def resolve_command(report: Report, task: TaskReport) -> str:
    return decision_commands(report, task)["retry"]


def decision_commands(report: Report, task: TaskReport) -> dict[str, str]:
    """The commands that decide about a waiting task, by the decision."""
    flags = {"retry": '--retry "a hint"', "brief": "--edit-brief FILE", "spawn": "--spawn TEXT"}
    flags |= {"take": "--take", "abandon": "--abandon"}
    start = f"aider-orchestrator resolve {report.run} {task.id}"
    return {decision: f"{start} {flag}" for decision, flag in flags.items()}


def decision_step(report: Report, task: TaskReport) -> tuple[str, str]:
    return f"Decide about {task.agent} (or with --spawn TEXT, --take, --abandon)", resolve_command(report, task)


def cost_phrase(used: Usage) -> str:
    return "cost unknown (no price for this model)" if used.paid is None else format_usd(used.paid)


def format_budget(report: Report) -> str:
    """$0.05, or $0.05 of $5.00."""
    budget = report.limits.get("budget")
    return cost_phrase(report.usage) + (f" of {format_usd(budget)}" if budget else "")


def unreadable_note(report: Report) -> str:
    """Empty if all of the log could be read."""
    count = plural(report.unreadable, "event")
    return f"{count} in the log could not be read. The report is made from the others." if report.unreadable else ""


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
    return f"{task.agent} {outcome_phrase(task.verdict or Verdict.CANCELLED)}: {why}"


def outcome_phrase(verdict: str) -> str:
    """The verdict in words. One of a newer version is shown as it is."""
    return OUTCOME_PHRASES[Verdict(verdict)] if verdict in OUTCOME_PHRASES else verdict.replace("_", " ")


def agent_rows(report: Report) -> list[tuple[str, ...]]:
    """The agent, the outcome, the cost unless it was paid before, and the files or the title of each task."""
    rows = []
    for task in report.tasks.values():
        cost = () if report.replayed else (format_cost(task.usage),)
        agent = f"{task.agent} ({task.kind})" if task.kind else task.agent
        rows.append((agent, task_status(task), *cost, safe_line(join_some(task.files) or task.title, 300)))
    return rows


def gate_outcome(gate: GateEnded) -> str:
    if gate.ok and gate.unproven:
        return "checked nothing"
    if gate.ok:
        return f"passed but for {gate.old_count} that failed before" if gate.old_count else "passed"
    if gate.missing:
        return "not reviewed"
    return "did not end in time" if gate.timed_out else "failed"


def gate_duration(gate: GateEnded) -> str:
    """How long the gate ran, or the earlier run whose outcome this is."""
    return f"in run {gate.remembered}, whose outcome is used again" if gate.remembered else f"in {gate.seconds:.1f} s"


def run_count(test: FlakyTest) -> str:
    return f"{test.runs} of {plural(test.of, 'run')}"


def command_phrase(gate: GateEnded) -> str:
    """The command in short. That of our own check of the syntax is noise."""
    return "" if gate.subject == Verified.SYNTAX else one_line(gate.command, LONGEST_COMMAND)


def capitalize_first(words: str) -> str:
    return words[:1].upper() + words[1:]


def decision_phrase(decision: DecisionMade) -> str:
    return f"A person {DECISION_PHRASES.get(decision.action, safe_line(decision.action, 60))}"


def decided_sentence(task: TaskReport) -> str:
    """Return who decided about a task and what, for a person who decides about it too."""
    last = task.decisions[-1]
    phrase = "A person took it" if last.action == "take" else decision_phrase(last)  # it may not be done yet
    source = f", from {safe_line(last.source, 100)}" if last.source else ""
    return f"Task {task.id} was decided already: {phrase[0].lower()}{phrase[1:]}{source}. It is {task.state} now."


def conflict_phrase(conflict: ConflictDecided) -> str:
    """What became of a task's edit that git could not merge: a clause about the task."""
    files, others = ", ".join(conflict.files), join_names(conflict.others) or "the others"
    if conflict.taken:
        return f"changed {files} where {others} did too: both edits were kept ({conflict.taken})"
    return f"changed {files} where {others} did too, and no merge of both was proven"


def merge_phrase(tried: MergeTried) -> str:
    """A way to merge two edits, and what came of it."""
    return f"{tried.name}: {f'not taken, because {tried.why_not}' if tried.why_not else 'taken'}. {tried.reason}"


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
    if task.nothing_to_do and task.success:
        return "nothing to do"
    if task.verdict == Verdict.APPLIED:
        return "complete" if task.state == TaskState.COMPLETE else "applied"
    return outcome_phrase(task.verdict) or ("not finished" if task.attempts else "not started")


def task_tone(task: TaskReport) -> str:
    """good, warn, bad or idle: a colour, which always stands beside a word."""
    if task.held or task.state == TaskState.WAITING_HUMAN:
        return "warn"
    if task.ends_well:
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
    sentence, why = VERIFIED_SENTENCES[report.verified], unchecked_reasons(report)
    if any(not gate.ok for gate in report.gates):
        return f"{sentence} Not every check passed."
    if report.verified is Verified.TESTS:
        return f"{sentence.rstrip('.')}{tests_exceptions(report)}."
    if report.verified is Verified.CHANGED_TESTS:
        return f"{sentence} It is verified by {changed_tests_phrase(report)}{tests_exceptions(report)}."
    return f"{sentence} Not checked by tests: {why}." if why else sentence


def format_duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = {"h": hours, "min": minutes, "s": 0 if hours else rest}
    return " ".join(f"{number} {unit}" for unit, number in parts.items() if number)


def time_phrase(report: Report) -> str:
    """8 min 3 s, of which 6 min waiting for you."""
    waited = f", of which {format_duration(report.waited_ms / 1000)} waiting for you" if report.waited_ms else ""
    return f"{format_duration(report.seconds)}{waited}"


def format_cost(used: Usage) -> str:
    return "unknown" if used.paid is None else format_usd(used.paid)


def suggested_commands(report: Report) -> list[tuple[str, str, str]]:
    """What can be done with the run now: a label, the words, and the command, which is made from hashes and stamps, so
    that no text needs quoting."""
    result, base, steps = report.result[:12], report.base[:12], []
    if result and base:
        steps.append(("Look", "Look at the change", f"git diff {base} {result}"))
    if report.applied and base:
        steps.append(("Undo", "Undo the change on your branch", f"git revert --no-edit {base}..{result}"))
    only_waits = bool(report.failed) and all(task.asks for task in report.failed)
    if report.exit_code != 0 and report.tasks and not only_waits:
        words = "Resume the run; finished work is kept"
        steps.append(("Go on", words, f"aider-orchestrator resume {report.run}"))
    return steps
