"""Gates over runs: what ran once on a tree is not run again, not after a kill, and not by the next run."""

import collections
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestra.plan.draft import Draft, PlanItem
from orchestra.plan.toml_file import format_draft
from tests.e2e.test_exec_agent import ASK, GOOD, MODEL
from tests.support.load import wait_until, within
from tests.support.modelserver import ModelServer
from tests.support.runs import Place, Ran, make_place

KILLER = Path(__file__).resolve().parents[1] / "support" / "killed_at.py"
GUILTY = (2, 7, 11)
PARTS = {f"part{n}.py": f"value = {n}\nready = False\n" for n in range(16)}
TESTS = "import " + ", ".join(name.removesuffix(".py") for name in PARTS) + "\n"
TESTS += "".join(f"def test_{n}():\n    assert not part{n}.ready\n" for n in GUILTY)
EDIT = 'for f in part*.py; do ! grep -q "Turn $f on" {brief} || sed -i s/False/True/ "$f"; done'


def count_runs(counter: Path) -> collections.Counter[str]:
    """How often the gate ran on each content."""
    return collections.Counter(counter.read_text().split())


def events_of(ran: Ran, kind: str) -> list[dict[str, Any]]:
    lines = (ran.logs / f"run_{ran.summary['timestamp']}.jsonl").read_text().splitlines()
    return [event["data"] for event in map(json.loads, lines) if event["event"] == kind]


def execute(place: Place, counter: Path) -> tuple[str, ...]:
    gate = f"cat *.py | sha256sum | cut -c1-64 >> {counter}; {sys.executable} -m pytest -q -p no:cacheprovider"
    words = ("execute", str(counter.with_name("parts.toml")), "--test-cmd", gate, "--no-apply", "--no-detect")
    return (*words, "--agent-kind", "exec", "--agent-cmd", f"{ASK} && {EDIT}", "--model", MODEL)


@pytest.mark.thorough
def test_bisection_is_killed_resumed_and_repeated_without_a_second_run_of_a_gate(tmp_path: Path) -> None:
    """Sixteen tasks, three guilty. The failure of the whole is confirmed by a second run, which is not repeated either:
    it is the one tree on which the gate runs twice."""
    place, counter = make_place(tmp_path, PARTS | {"test_parts.py": TESTS}), tmp_path / "counter"
    items = [PlanItem(f"t{n}", f"Part {n}", f"Turn {path} on.", (path,)) for n, path in enumerate(PARTS)]
    (tmp_path / "parts.toml").write_text(format_draft(Draft("Be ready", task=tuple(items)), "parts"))
    words = execute(place, counter)
    with ModelServer(lambda request: GOOD) as server:
        shell = f'python=$1; shift 2; exec "$python" "{KILLER}" gate_started 8 "$@"'
        assert place.start(*words, server=server, shell=shell, AIDER_BIN="/nowhere").child.wait(within()) == -9
        wait_until(lambda: place.processes() == {}, what="no orphan")
        half = count_runs(counter)
        resumed = place.run("resume", server=server, AIDER_BIN="/nowhere")
        whole, stamp = count_runs(counter), resumed.summary["timestamp"]
        started = [gate["tree"] for gate in events_of(resumed, "gate_started")]
        second = place.run(*words, server=server, AIDER_BIN="/nowhere")
    assert resumed.code == second.code == 1, resumed.out + resumed.err
    held = {agent["files"][0] for agent in second.agents.values() if agent["held"]}
    assert held == {f"part{n}.py" for n in GUILTY} and second.summary["verified"] == resumed.summary["verified"]
    assert half.total() == 7 and [tree for tree in started if tree.endswith("-again")] == ["combined-again"]
    assert sorted(whole.values())[-2:] == [1, 2] and whole.total() == len(whole) + 1 > 15
    # One was killed as it started, before it had begun.
    assert len(started) == whole.total() + 1
    assert count_runs(counter) == whole and events_of(second, "gate_started") == []
    remembered = {gate["remembered"] for gate in second.summary["gates"]}
    assert remembered == {stamp}, second.summary["gates"]
    assert f"tests passed in run {stamp}, whose outcome is used again" in second.out, second.out
