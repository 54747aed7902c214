"""Compare what two checkouts have made of the same scenarios: events task by task, outputs, reports, exit codes.

What differs from one run to the next of the same program is taken out: times, hashes, ports, process numbers, names of
temporary folders, and how the events of different tasks interleave.
"""

import difflib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestra.answers.conversation import unpack_turns
from orchestra.events import Conversation, read_record

STAMP = re.compile(r"\d{8}_\d{6}(_\d+)?(?!\d)")
VOLATILE = (
    (STAMP, "STAMP"),
    (re.compile(r"(\d{4}-\d\d-\d\d[ T])?\d\d:\d\d:\d\d"), "DATE"),
    (re.compile(r"\d+ [A-Z][a-z]+ \d{4}, \d\d:\d\d UTC"), "DATE"),
    (re.compile(r"127\.0\.0\.1(:|&#58;)\d+"), "SERVER"),
    (re.compile(r"aider-orchestrator-[\w.-]+/|aider-orchestrator-(?=\w*[\d_])\w+"), "FOLDER/"),
    (re.compile(r"\b0x[0-9a-f]+"), "ADDRESS"),
    (re.compile(r"(?<![0-9A-Za-z])(?=[0-9a-f]*\d)[0-9a-f]{7,64}(?![0-9A-Za-z])"), "HASH"),
    (re.compile(r"\bpid \d+"), "PID"),
    (re.compile(r"\b\d[\d,.]* ?(s|ms|min|minutes|seconds)\b"), "TIME"),
    (re.compile(r"\b\d[\d.]* (to|and) \d[\d.]* minutes"), "TIME"),
    (re.compile(r'\b(time|timestamp)="[^"]*\d[^"]*"'), r'\1="N"'),
)
# Of an event's data: what is another time or another process.
MEASURED = {"seconds", "ago", "time", "pid", "digest", "identity", "folder", "token", "number", "minutes", "started"}
# Of a page: the picture of who worked when, and its legend.
TIMELINE = re.compile(r'<li class="key">.*?</li>|<svg\b.*?</svg>', re.DOTALL)
# Printed as JSON: the same.
PRINTED = re.compile(rf'"({"|".join(sorted(MEASURED))}|seq)": ("[^"]*"|[-\d.e]+)')
# Scenarios that come out one way or the other, by who was first. Their differences are told, and do not count.
UNSTABLE = {
    "billed_beyond_the_budget": "which of two requests is sent first",
    "budget_of_many_tasks": "whose reservation is refused",
    "candidates_killed_and_resumed": "which of three had ended",
    "candidates_cancelled": "which of two ends first",
    "candidates_interrupted": "in which order three end",
    "questions_only": "which of two ends first",
    "gate_that_hangs": "which of two signals ends it",
}
REPORTS = ("summary_*.json", "report_*.md", "junit_*.xml", "report_*.html")
MOST = 8  # differences that are told of one scenario


def compare(before: Path, now: Path) -> int:
    """Print the differences. The exit code says whether there are any that count."""
    names = sorted({path.name for folder in (before, now) for path in folder.iterdir() if path.is_dir()})
    different = 0
    for name in names:
        found = list(differences(before / name, now / name))
        if found and name in UNSTABLE:
            print(f"{name}: not counted, for it depends on {UNSTABLE[name]}")
        different += bool(found) and name not in UNSTABLE
        for line in found[:MOST]:
            print(f"{name}: {line}")
        if len(found) > MOST:
            print(f"{name}: and {len(found) - MOST} more")
    print(f"{different} of {len(names)} scenarios differ.")
    return int(bool(different))


def differences(before: Path, now: Path) -> Iterator[str]:
    if not (before.is_dir() and now.is_dir()):
        yield f"only in {before.parent if before.is_dir() else now.parent}"
        return
    one, other = record(before), record(now)
    for what in one | other:
        if one.get(what) != other.get(what):
            yield from changes(what, one.get(what, []), other.get(what, []))


def changes(what: str, one: list[str], other: list[str]) -> Iterator[str]:
    """The lines that differ, without those around them."""
    for line in difflib.unified_diff(one, other, lineterm="", n=0):
        if not line.startswith(("---", "+++", "@@")):
            yield f"{what}: {line[:400]}"


def record(folder: Path) -> dict[str, list[str]]:
    """All that a scenario has left, by what it is, as lines that can be compared."""
    found: dict[str, list[str]] = {}
    for number, command in enumerate(json.loads((folder / "commands.json").read_text("utf-8")), 1):
        found[f"command {number}"] = [steady(" ".join(command["words"])), f"exit {command['code']}"]
        out = PRINTED.sub(r'"\1": "N"', command["out"])
        lines = steady(out).splitlines()
        found[f"command {number} stdout"] = sorted(lines) if out.startswith('{"event"') else lines
        # What each agent does is printed as it comes.
        found[f"command {number} stderr"] = sorted(steady(command["err"]).splitlines())
    for number, stamp in enumerate(stamps(folder / "logs"), 1):
        for path in sorted((folder / "logs").glob(f"*_{stamp}.jsonl")):
            # The attempts of one task may be under way side by side.
            for line in whole_lines(path):
                owner = f"run {number} {path.name.split('_')[0]} {json.loads(line).get('attempt', '')}".strip()
                found.setdefault(owner, []).append(steady_event(line))
        for pattern in REPORTS:
            for path in (folder / "logs").glob(pattern.replace("*", stamp)):
                found[f"run {number} {path.name.split('_')[0]}{path.suffix}"] = report_lines(path)
    return found


def stamps(logs: Path) -> list[str]:
    return sorted(path.stem.removeprefix("run_") for path in logs.glob("run_*.jsonl"))


def whole_lines(path: Path) -> list[str]:
    return [line for line in path.read_text("utf-8", "replace").splitlines() if line.endswith("}")]


def steady_event(line: str) -> str:
    event = json.loads(line)
    if event["event"] == "conversation":
        event["data"]["packed"] = [
            [list(turn.asked), turn.said] for turn in unpack_turns(read_record(Conversation, event["data"]))
        ]
    kept = {"event": event["event"], "attempt": event.get("attempt"), "data": event["data"]}
    return json.dumps(steady_value(kept), ensure_ascii=False, sort_keys=True)


def steady_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {steady(name): "N" if name in MEASURED else steady_value(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [steady_value(each) for each in value]
    return steady(value) if isinstance(value, str) else value


def steady(text: str) -> str:
    for pattern, instead in VOLATILE:
        text = pattern.sub(instead, text)
    return text


def report_lines(path: Path) -> list[str]:
    text = path.read_text("utf-8", "replace")
    if path.suffix == ".json":
        return json.dumps(steady_value(json.loads(text)), indent=1, ensure_ascii=False, sort_keys=True).splitlines()
    lines = steady(TIMELINE.sub("", text).replace("><", ">\n<")).splitlines()
    # JUnit tells of checks in the order of their ends.
    return sorted(lines) if path.suffix == ".xml" else lines
