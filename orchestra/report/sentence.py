"""The report in words: the verdict in one sentence, how far it was verified, and what to do next."""

from orchestra.model import Usage, Verdict, Verified
from orchestra.report.fold import Report, TaskReport


def sentence(report: Report) -> str:
    if report.error:
        return report.error
    if report.exit_code in (130, 143):
        return f"Stopped by {'Ctrl-C' if report.exit_code == 130 else 'SIGTERM'}; {where(report)}."
    total, done = len(report.tasks), len(report.succeeded)
    if not total:
        return "Nothing was planned."
    if not any(task.commit for task in report.tasks.values()):
        return (
            f"Nothing was changed: {plural(total, 'task')} of {total} failed."
            if total > 1
            else "Nothing was changed: the task failed."
        )
    tasks = f"All {total} tasks are" if total > 1 else "The task is"
    head = f"{tasks} complete" if done == total else f"{done} of {total} tasks are complete"
    return f"{head}; {where(report)}, {verification(report)}."


def where(report: Report) -> str:
    """Where the work is now."""
    delivery = report.delivery
    if not delivery.get("result"):
        return "no result was combined"
    files = plural(len(report.files), "file")
    if delivery["applied"]:
        return f"{files} changed on {delivery['branch']}"
    return f"{files} changed on {delivery['side_branch']}"


def verification(report: Report) -> str:
    failed = [gate["name"] for gate in report.gates if not gate["ok"]]
    if failed:
        return f"and {', '.join(failed)} failed"
    if report.verified is Verified.TESTS:
        return "verified by the tests"
    return "checked by nothing but git (no tests were given)"


def next_steps(report: Report) -> list[str]:
    """What a person may do now, as commands where there are any."""
    steps = []
    delivery = report.delivery
    if delivery.get("result") and not delivery["applied"]:
        steps.append(
            f"The result is on {delivery['side_branch']} because {delivery['reason']}. To take it: {delivery['take']}"
        )
    for task in report.tasks.values():
        if task.branch and (not task.success or not delivery.get("result")):
            steps.append(f"{task.agent}'s work is kept on {task.branch}: git show {task.branch}")
        elif task.patch and not task.success:
            steps.append(f"{task.agent}'s work is kept as a patch: {task.patch}")
    remedies = dict.fromkeys(task.remedy for task in report.failed if task.remedy)
    return steps + list(remedies)


def money(used: Usage) -> str:
    if used.dollars is None:
        return "cost unknown (no price for this model)"
    return f"${used.dollars:.4f}" if used.dollars < 1 else f"${used.dollars:.2f}"


def paid(report: Report) -> str:
    """What the run really cost: a reply from a tape was paid for when it was recorded."""
    if report.replayed:
        return f"nothing, the replies came from a tape (worth {money(report.usage)})"
    return money(report.usage)


def plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def failure_line(task: TaskReport) -> str:
    why = task.held or task.cause or ("not started" if task.attempts == 0 else "not finished")
    return f"{task.agent} {task.verdict or Verdict.CANCELLED}: {why}"
