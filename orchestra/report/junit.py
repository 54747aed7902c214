"""JUnit XML: one case per task and gate, in what Jenkins and GitLab both read."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from orchestra.judge.policy import policy_of
from orchestra.report.detail import GateRun
from orchestra.report.safe import cut, line, plain
from orchestra.report.sentence import failure_line, sentence
from orchestra.report.state import Report, TaskReport
from orchestra.report.words import gate_outcome, standing, tone

LONGEST = 20_000  # characters of a gate's output
SKIPPED = "skipped"
LARGEST = 8_000_000  # of all outputs together


class Case(NamedTuple):
    """`problem` is failure, error or skipped, or empty if there is none."""

    name: str
    seconds: float
    problem: str = ""
    kind: str = ""
    message: str = ""
    output: str = ""


def junit(report: Report, gates: Sequence[GateRun], outputs: Mapping[str, str]) -> str:
    """`gates` are all that ran, of tasks too."""
    suites = {
        "tasks": [of_task(task) for task in report.tasks.values()],
        "gates": list(of_gates([gate for gate in gates if counts_for(report, gate)], outputs)),
    }
    if not any(case.problem not in ("", SKIPPED) for cases in suites.values() for case in cases):
        # A run that failed by itself must not look as if all were well.
        suites["run"] = [of_run(report)]
    started = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(report.started / 1000))
    made = [suite(f"aider-orchestrator.{name}", cases, started) for name, cases in suites.items() if cases]
    every = [case for cases in suites.values() for case in cases]
    head = f"<testsuites name={attribute(f'run {report.run}')} {counts(every)} {lasted(report.seconds)}>"
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + "\n".join([head, *made, "</testsuites>"]) + "\n"


def of_run(report: Report) -> Case:
    words = line(sentence(report), 1_000)
    problem = "" if report.exit_code == 0 else "error"
    return Case("run", report.seconds, problem, f"exit {report.exit_code}", words)


def of_task(task: TaskReport) -> Case:
    name = f"{task.agent}: {line(task.title or ', '.join(task.files), 200)}"
    if tone(task) == "good":
        return Case(name, task.seconds)
    problem = policy_of(task.verdict).junit
    words = f"{failure_line(task)} {task.remedy}"
    return Case(name, task.seconds, problem, standing(task), line(words, 2_000))


def counts_for(report: Report, gate: GateRun) -> bool:
    """Not of an attempt beside which a better one was made."""
    task = report.tasks.get(gate.task or 0)
    return task is None or gate.attempt not in task.passed_over


def of_gates(gates: Sequence[GateRun], outputs: Mapping[str, str]) -> Iterator[Case]:
    """Of a gate that ran for several attempts of a task, the last time counts."""
    last = {(gate.task, gate.result.name): gate.result for gate in gates}
    room = LARGEST // max(1, len(last))
    for (task, name), gate in last.items():
        title = line(name, 100) + (f" of agent{task}" if task is not None else "")
        if gate.ok:
            why = line(gate.unproven, 1_000)
            yield Case(title, gate.seconds, SKIPPED if why else "", message=why)
            continue
        how = gate_outcome(gate)
        how += f" with exit code {gate.code}" if how == "failed" else ""
        output = cut(outputs.get(gate.output, ""), min(room, LONGEST))
        message = f"{how}: {line(gate.command, 500)}"
        yield Case(title, gate.seconds, "failure", line(name, 100), message, output)


def suite(name: str, cases: list[Case], started: str) -> str:
    seconds = sum(case.seconds for case in cases)
    head = f'<testsuite name={attribute(name)} {counts(cases)} {skips(cases)} {lasted(seconds)} timestamp="{started}">'
    return "\n".join([head, *(written(case, name) for case in cases), "</testsuite>"])


def written(case: Case, suite: str) -> str:
    head = f"<testcase classname={attribute(suite)} name={attribute(case.name)} {lasted(case.seconds)}"
    if not case.problem:
        return f"{head}/>"
    if case.problem == SKIPPED:
        return f"{head}><skipped message={attribute(case.message)}/></testcase>"
    said = f"<{case.problem} type={attribute(case.kind)} message={attribute(case.message)}>"
    body = escape(plain(case.output or case.message))
    return f"{head}>{said}{body}</{case.problem}></testcase>"


def counts(cases: list[Case]) -> str:
    sums = {f"{problem}s": sum(case.problem == problem for case in cases) for problem in ("failure", "error")}
    return " ".join(f'{name}="{number}"' for name, number in {"tests": len(cases), **sums}.items())


def skips(cases: list[Case]) -> str:
    return f'skipped="{sum(case.problem == SKIPPED for case in cases)}"'


def lasted(seconds: float) -> str:
    return f'time="{max(0.0, seconds):.3f}"'


def attribute(text: str) -> str:
    return quoteattr(plain(text))
