"""What a run tells CI systems: annotations of its problems, and outputs for later steps."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain, islice

from orchestra.report.ci import annotation
from orchestra.report.safe import line, plain
from orchestra.report.sentence import failure_line, sentence
from orchestra.report.state import Report, TaskReport

MOST = 10  # annotations of one type that GitHub shows of a step


PLACE = re.compile(r"(?<![\w./-])([\w./-]{1,200}):(\d{1,6})\b")


def annotations(report: Report, outputs: Mapping[str, str]) -> list[str]:
    """As many errors as GitHub shows; when there are more, the last one says so."""
    found = list(islice(chain(of_gates(report, outputs), of_tasks(report)), MOST))
    if not found and report.exit_code:
        return [annotation(sentence(report), "Aider Orchestrator")]
    problems = sum(not gate.ok for gate in report.gates) + len(report.failed)
    if problems > MOST:
        found[-1] = annotation(f"And {problems - MOST + 1} more problems: see the report.", "Aider Orchestrator")
    return found


def of_gates(report: Report, outputs: Mapping[str, str]) -> Iterator[str]:
    for gate in report.gates:
        if not gate.ok:
            said = outputs.get(gate.output, "")
            path, number = place(said, report)
            words = f"{gate.name} failed: {gate.command}\n{plain(said)[-1_000:]}"
            yield annotation(words, f"{gate.name} failed", path, number)


def of_tasks(report: Report) -> Iterator[str]:
    for task in report.failed:
        yield annotation(f"{failure_line(task)} {task.remedy}", title(task), next(iter(task.files), ""))


def title(task: TaskReport) -> str:
    return f"{task.agent} {task.verdict.replace('_', ' ')}".strip()


def place(said: str, report: Report) -> tuple[str, int]:
    """The last place in a file of the change that a gate names, as pytest, compilers and linters do."""
    known = set(report.files) | {path for task in report.tasks.values() for path in task.files}
    found = [(path.removeprefix("./"), int(number)) for path, number in PLACE.findall(said[-100_000:])]
    return next(((path, number) for path, number in reversed(found) if path in known), ("", 0))


def outputs(report: Report, paths: Mapping[str, str], delimiter: str) -> str:
    """For $GITHUB_OUTPUT, which later steps read. The delimiter is random, so that no text can end its own value."""
    values = {
        "run": report.run,
        "verdict": sentence(report),
        "verified": str(report.verified),
        "exit-code": str(report.exit_code if report.exit_code is not None else ""),
        "branch": report.result_branch,
        "applied": str(report.applied).lower(),
        "commit": report.result,
        "pr-url": report.pr_url,
        "cost": "" if report.usage.dollars is None else f"{report.usage.dollars:.6f}",
        "tokens": str(report.usage.tokens),
        **paths,
    }
    return "".join(f"{name}<<{delimiter}\n{line(value, 2_000)}\n{delimiter}\n" for name, value in values.items())
