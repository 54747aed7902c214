"""The demo is the newcomer's first minute: it must be green, real, and its tape must fit the program that plays it."""

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.load import within

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parent.parent.parent
TAPE = ROOT / "orchestra" / "demo_tape.jsonl"


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, *command]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=within(), check=False)


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def test_demo_passes_with_every_reply_from_the_recording(tmp_path: Path) -> None:
    sample = tmp_path / "sample"
    done = run("aider_orchestrator.py", "demo", str(sample), cwd=ROOT)  # as make calls it
    assert done.returncode == 0, done.stdout + done.stderr
    assert "replies are recorded" in done.stdout
    assert "Before: 8 failed, 8 passed" in done.stdout
    assert "After: 16 passed" in done.stdout
    commands = done.stdout.partition("\nTry:\n")[2].splitlines()
    shown = subprocess.run(["sh", "-e"], input="\n".join(commands[:2]), capture_output=True, text=True, check=True)
    assert "strong tea" in shown.stdout and len(commands) == 3 and commands[2].endswith(" report --open")
    lines = f"{commands[0]}\n{commands[2].removesuffix(' --open')}\n"
    told = subprocess.run(["sh", "-e"], input=lines, capture_output=True, text=True, check=True)
    assert Path(told.stdout.strip()).is_file()
    said = without_figures(done.stdout)
    assert all(line in said for line in picture_lines() if not line.startswith(("plan:", "agent"))), picture_lines()
    subjects = git(sample, "log", "--format=%s").splitlines()
    assert len(set(subjects)) == 5 and "Teach the lighthouse about fog: kettle" in subjects
    [summary] = [json.loads(path.read_text()) for path in (sample / ".aider_logs").glob("summary_*.json")]
    assert summary["successful_agents"] == 4
    assert summary["verified"] == "tests"
    assert summary["replayed"] is True
    assert summary["usage"]["requests"] == len(records(TAPE))
    assert summary["replay"] == {"drift": {}, "unused": {}}
    assert all(row["covered"] for row in summary["coverage"]) and len(summary["coverage"]) == 5
    assert git(sample, "worktree", "list").count("\n") == 1
    assert git(sample, "branch", "--format=%(refname:short)").split() == ["main"]
    assert git(sample, "status", "--porcelain").splitlines() == ["?? docs/"]


def picture_lines() -> list[str]:
    """What the README's picture has after its first line, without the bar."""
    rows = defaultdict[float, str](str)
    for element in ElementTree.parse(ROOT / "docs/images/demo.svg").getroot().iter("{http://www.w3.org/2000/svg}text"):
        rows[float(element.get("y", 0))] += element.text or ""
    lines = [without_figures(rows[y]) for y in sorted(rows)]
    return [line for line in lines[1:] if line and "━" not in line]


def without_figures(text: str) -> str:
    return re.sub(r"[0-9a-f]{12}|\d[\d.,]*", "#", " ".join(text.split()))


def test_shipped_recording_equals_a_new_one(tmp_path: Path) -> None:
    fresh = tmp_path / "tape.jsonl"
    done = run("-m", "tools.make_tape", str(fresh), cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert records(fresh) == records(TAPE)


def records(tape: Path) -> dict[str, str]:
    """What was asked, and what was answered. Agents finish in any order."""
    lines = [json.loads(line) for line in tape.read_text(encoding="utf-8").splitlines()]
    return {line["identity"]: line["body"] for line in lines if "identity" in line}
