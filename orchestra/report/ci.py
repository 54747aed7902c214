"""What CI systems read: annotations, outputs, groups. And what they must not read out of foreign text."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Literal

from orchestra.report.safe import line, plain
from orchestra.report.sentence import failure_line, sentence
from orchestra.report.state import Report, TaskReport

MOST = 10  # annotations of one type that GitHub shows of a step
LONGEST = 3_000  # of the 4,096 bytes that it takes for one
Kind = Literal["github", "gitlab", "plain", ""]
# GitHub's runner takes these for commands, and compares as people read: what cannot be seen between the signs does not
# count. So they are broken up by a space, which does. The second, older form counts anywhere in a line.
COMMAND = re.compile(r"^([^!-~]*:)(?=[^!-~]*:)", re.MULTILINE)
OLD_COMMAND = re.compile(r"#(?=[^!-~]*#[^!-~]*\[)")
PLACE = re.compile(r"(?<![\w./-])([\w./-]{1,200}):(\d{1,6})\b")


@dataclass(frozen=True)
class Ci:
    """The CI system around us; `kind` is empty where there is none."""

    kind: Kind = ""

    def group(self, name: str, now: float) -> str:
        """A line after which what follows is folded under this name."""
        if self.kind == "github":
            return f"::group::{name}\n"
        if self.kind == "gitlab":
            return f"\x1b[0Ksection_start:{now:.0f}:{section(name)}\r\x1b[0K{name}\n"
        return ""

    def end_group(self, name: str, now: float) -> str:
        if self.kind == "github":
            return "::endgroup::\n"
        if self.kind == "gitlab":
            return f"\x1b[0Ksection_end:{now:.0f}:{section(name)}\r\x1b[0K\n"
        return ""

    def harmless(self, text: str) -> str:
        """Text that this system takes for nothing but text."""
        return defused(plain(text)) if self.kind == "github" else plain(text) if self.kind else text


def recognise(env: Mapping[str, str]) -> Ci:
    if env.get("GITHUB_ACTIONS") == "true":
        return Ci("github")
    if env.get("GITLAB_CI") == "true":
        return Ci("gitlab")
    return Ci("plain" if env.get("CI", "").lower() not in ("", "0", "false") else "")


def section(name: str) -> str:
    return "orchestra_" + re.sub(r"\W+", "_", name.lower())


def defused(text: str) -> str:
    return OLD_COMMAND.sub("# ", COMMAND.sub(r"\1 ", text))


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON that is nothing but JSON, in any encoding and to any CI system."""
    return json.dumps(value, indent=indent).replace("##[", "#\\u0023[")


# --- annotations ----------------------------------------------------------------------------------------------------


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


def annotation(words: str, title: str, path: str = "", number: int = 0) -> str:
    given = {"file": path, "line": str(number or 1) if path else "", "title": line(title, 100)}
    properties = ",".join(f"{name}={property_(value)}" for name, value in given.items() if value)
    return f"::error {properties}::{data(plain(words)[:LONGEST])}"


def data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def property_(text: str) -> str:
    return data(plain(text)).replace(":", "%3A").replace(",", "%2C")


# --- outputs --------------------------------------------------------------------------------------------------------


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
