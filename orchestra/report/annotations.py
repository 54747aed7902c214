"""What a run tells CI systems: annotations of its problems, and outputs for later steps."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain, islice

from orchestra.report.ci import error_annotation
from orchestra.report.phrases import failure_line, verdict_sentence
from orchestra.report.sanitize import safe_line, strip_controls
from orchestra.report.state import Report, TaskReport

MAX_ANNOTATIONS = 10  # annotations of one type that GitHub shows of a step


LOCATION_PATTERN = re.compile(r"(?<![\w./-])([\w./-]{1,200}):(\d{1,6})\b")


def build_annotations(report: Report, outputs: Mapping[str, str]) -> list[str]:
    """As many errors as GitHub shows; when there are more, the last one says so."""
    found = list(islice(chain(gate_annotations(report, outputs), task_annotations(report)), MAX_ANNOTATIONS))
    if not found and report.exit_code:
        return [error_annotation(verdict_sentence(report), "Aider Orchestrator")]
    problems = sum(not gate.ok for gate in report.gates) + len(report.failed)
    if problems > MAX_ANNOTATIONS:
        found[-1] = error_annotation(
            f"And {problems - MAX_ANNOTATIONS + 1} more problems: see the report.", "Aider Orchestrator"
        )
    return found


def gate_annotations(report: Report, outputs: Mapping[str, str]) -> Iterator[str]:
    for gate in report.gates:
        if not gate.ok:
            said = outputs.get(gate.output, "")
            path, number = find_location(said, report)
            words = f"{gate.name} failed: {gate.command}\n{strip_controls(said)[-1_000:]}"
            yield error_annotation(words, f"{gate.name} failed", path, number)


def task_annotations(report: Report) -> Iterator[str]:
    for task in report.failed:
        yield error_annotation(f"{failure_line(task)} {task.remedy}", title(task), next(iter(task.files), ""))


def title(task: TaskReport) -> str:
    return f"{task.agent} {task.verdict.replace('_', ' ')}".strip()


def find_location(output: str, report: Report) -> tuple[str, int]:
    """The last place in a file of the change that a gate names, as pytest, compilers and linters do."""
    known = set(report.files) | {path for task in report.tasks.values() for path in task.files}
    found = [(path.removeprefix("./"), int(number)) for path, number in LOCATION_PATTERN.findall(output[-100_000:])]
    return next(((path, number) for path, number in reversed(found) if path in known), ("", 0))


def step_outputs(report: Report, paths: Mapping[str, str], delimiter: str) -> str:
    """For $GITHUB_OUTPUT, which later steps read. The delimiter is random, so that no text can end its own value."""
    values = {
        "run": report.run,
        "verdict": verdict_sentence(report),
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
    return "".join(f"{name}<<{delimiter}\n{safe_line(value, 2_000)}\n{delimiter}\n" for name, value in values.items())
