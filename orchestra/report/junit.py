"""JUnit XML that Jenkins and GitLab read: a case per task and per gate."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from orchestra.judge.policy import policy_of
from orchestra.report.detail import GateRun
from orchestra.report.phrases import (
    failure_line,
    gate_duration,
    gate_outcome,
    outcome_phrase,
    task_status,
    task_tone,
    verdict_sentence,
    whole_remedy,
)
from orchestra.report.sanitize import cut_middle, safe_line, strip_controls
from orchestra.report.state import Report, TaskReport

MAX_OUTPUT = 20_000  # characters of a gate's output
SKIPPED = "skipped"
MAX_ALL_OUTPUTS = 8_000_000  # of all outputs together


class JunitCase(NamedTuple):
    """`problem` is failure, error or skipped, or empty if there is none."""

    name: str
    seconds: float
    problem: str = ""
    kind: str = ""
    message: str = ""
    output: str = ""


def junit_xml(report: Report, gates: Sequence[GateRun], outputs: Mapping[str, str]) -> str:
    """`gates`: all gates that ran, those of tasks included."""
    passed_over = {(task.id, attempt) for task in report.tasks.values() for attempt in task.passed_over}
    counted = [gate for gate in gates if (gate.task, gate.attempt) not in passed_over]
    suites = {
        "tasks": [task_case(report.run, task) for task in report.tasks.values()],
        "gates": list(gate_cases(counted, outputs)),
    }
    if not any(case.problem not in ("", SKIPPED) for cases in suites.values() for case in cases):
        # Without this case, a run that failed outside of tasks and gates would look successful.
        problem, words = "" if report.exit_code == 0 else "error", safe_line(verdict_sentence(report), 1_000)
        suites["run"] = [JunitCase("run", report.seconds, problem, f"exit {report.exit_code}", words)]
    started = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(report.started / 1000))
    xml = [suite_xml(f"aider-orchestrator.{name}", cases, started) for name, cases in suites.items() if cases]
    all_cases = [case for cases in suites.values() for case in cases]
    name = quote_attribute(f"run {report.run}")
    head = f"<testsuites name={name} {count_attributes(all_cases, report.seconds)}>"
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + "\n".join([head, *xml, "</testsuites>"]) + "\n"


def task_case(run: str, task: TaskReport) -> JunitCase:
    name = f"{task.agent}: {safe_line(task.title or ', '.join(task.files), 200)}"
    if task.nothing_to_do and task.success:
        return JunitCase(name, task.seconds, SKIPPED, message=safe_line(task.cause, 1_000))
    if task_tone(task) == "good":
        return JunitCase(name, task.seconds)
    words = safe_line(f"{failure_line(task)} {whole_remedy(run, task.remedy)}", 2_000)
    kind = task.verdict.replace("_", " ") if task_status(task) == outcome_phrase(task.verdict) else task_status(task)
    return JunitCase(name, task.seconds, policy_of(task.verdict).junit, kind, words)


def gate_cases(gates: Sequence[GateRun], outputs: Mapping[str, str]) -> Iterator[JunitCase]:
    """A case for each gate. If one ran for several attempts of a task, the last run counts."""
    last = {(gate.task, gate.result.name): gate.result for gate in gates}
    room = MAX_ALL_OUTPUTS // max(1, len(last))
    for (task, name), gate in last.items():
        title = safe_line(name, 100) + (f" of agent{task}" if task is not None else "")
        how = gate_outcome(gate)
        if gate.ok:
            why = safe_line(gate.unproven, 1_000)
            note = f"{name} {how} {gate_duration(gate)}." if gate.remembered else ""
            yield JunitCase(title, gate.seconds, SKIPPED if why else "", message=why, output=note)
            continue
        how += f" with exit code {gate.code}" if how == "failed" else ""
        output = cut_middle(outputs.get(gate.output, ""), min(room, MAX_OUTPUT))
        message = f"{how}: {safe_line(gate.command, 500)}"
        yield JunitCase(title, gate.seconds, "failure", safe_line(name, 100), message, output)


def suite_xml(name: str, cases: list[JunitCase], started: str) -> str:
    seconds = sum(case.seconds for case in cases)
    skipped = sum(case.problem == SKIPPED for case in cases)
    counts = count_attributes(cases, seconds, f' skipped="{skipped}"')
    head = f'<testsuite name={quote_attribute(name)} {counts} timestamp="{started}">'
    return "\n".join([head, *(case_xml(case, name) for case in cases), "</testsuite>"])


def case_xml(case: JunitCase, suite: str) -> str:
    head = f"<testcase classname={quote_attribute(suite)} name={quote_attribute(case.name)}"
    head += f' time="{max(0.0, case.seconds):.3f}"'
    if not case.problem:
        note = f"<system-out>{escape(strip_controls(case.output))}</system-out>" if case.output else ""
        return f"{head}>{note}</testcase>" if note else f"{head}/>"
    if case.problem == SKIPPED:
        return f"{head}><skipped message={quote_attribute(case.message)}/></testcase>"
    problem = f"<{case.problem} type={quote_attribute(case.kind)} message={quote_attribute(case.message)}>"
    body = escape(strip_controls(case.output or case.message))
    return f"{head}>{problem}{body}</{case.problem}></testcase>"


def count_attributes(cases: list[JunitCase], seconds: float, skipped: str = "") -> str:
    failures, errors = (sum(case.problem == problem for case in cases) for problem in ("failure", "error"))
    return f'tests="{len(cases)}" failures="{failures}" errors="{errors}"{skipped} time="{max(0.0, seconds):.3f}"'


def quote_attribute(text: str) -> str:
    return quoteattr(strip_controls(text))
