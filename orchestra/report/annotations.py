"""Annotations and step outputs for CI systems."""

import re
from collections.abc import Iterator, Mapping
from itertools import islice

from orchestra.report.ci import error_annotation
from orchestra.report.phrases import failure_line, outcome_phrase, verdict_sentence, whole_remedy
from orchestra.report.sanitize import safe_line, strip_controls
from orchestra.report.state import Report

MAX_ANNOTATIONS = 10  # of one type that GitHub shows per step
LOCATION_PATTERN = re.compile(r"(?<![\w./-])([\w./-]{1,200}):(\d{1,6})\b")


def build_annotations(report: Report, outputs: Mapping[str, str]) -> list[str]:
    """As many errors as GitHub shows; the last one counts the rest."""
    annotations = list(islice(problem_annotations(report, outputs), MAX_ANNOTATIONS))
    if not annotations and report.exit_code:
        return [error_annotation(verdict_sentence(report), "Aider Orchestrator")]
    problems = sum(not gate.ok for gate in report.gates) + len(report.failed)
    if problems > MAX_ANNOTATIONS:
        rest = f"And {problems - MAX_ANNOTATIONS + 1} more problems: see the report."
        annotations[-1] = error_annotation(rest, "Aider Orchestrator")
    return annotations


def problem_annotations(report: Report, outputs: Mapping[str, str]) -> Iterator[str]:
    for gate in (gate for gate in report.gates if not gate.ok):
        output = outputs.get(gate.output, "")
        words = f"{gate.name} failed: {gate.command}\n{strip_controls(output)[-1_000:]}"
        yield error_annotation(words, f"{gate.name} failed", *find_location(output, report))
    for task in report.failed:
        title = f"{task.agent} {outcome_phrase(task.verdict)}".strip()
        yield error_annotation(
            f"{failure_line(task)} {whole_remedy(report.run, task.remedy)}", title, next(iter(task.files), "")
        )


def find_location(output: str, report: Report) -> tuple[str, int]:
    """The last file and line in the output (as pytest, compilers and linters print them) that the run changed."""
    known = set(report.files) | {path for task in report.tasks.values() for path in task.files}
    matches = reversed(LOCATION_PATTERN.findall(output[-100_000:]))
    locations = ((path.removeprefix("./"), int(number)) for path, number in matches)
    return next((location for location in locations if location[0] in known), ("", 0))


def step_outputs(report: Report, paths: Mapping[str, str], delimiter: str) -> str:
    """The content of $GITHUB_OUTPUT. The delimiter is random, so that no text can end its own value."""
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
