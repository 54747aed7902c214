"""The gates of a whole run: what failed before is told but not held against anybody, what is new is named."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestra.plan.draft import Draft, PlanItem
from orchestra.plan.toml_file import format_draft
from tests.support.edits import appends, knows, search_replace
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Ran, assert_clean, make_place

PYTEST = f"{sys.executable} -m pytest -q -p no:cacheprovider"
OLD = "".join(f"def test_old_{n}():\n    assert {n} < 0\n" for n in range(7))
FLAKY = """
import os, pathlib
def test_flaky():
    seen = pathlib.Path(os.environ["SEEN"])
    assert seen.exists() or not pathlib.Path("a.py").read_text().endswith("hi\\n") or seen.write_text("")
"""
FILES = {
    "a.py": "a = 1\n",
    "b.js": "let b = 1;\n",
    "test_old.py": OLD,
    "test_new.py": "def test_new():\n    assert 'hi' not in open('b.js').read()\n" + FLAKY,
}
HI = "# hi"


@pytest.mark.thorough
def test_only_new_failures_count_and_the_flaky_are_named(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(appends(HI)) as server:
        words = ("--change", "Say hi", "--no-prd", "--test-cmd", PYTEST)
        good = place.run(*words, "--files", "a.py", server=server, SEEN=str(tmp_path / "seen"))
        gates = {gate["name"]: gate for gate in good.summary["gates"]}
    assert good.code == 0, good.err
    assert good.out.splitlines()[0].endswith("verified by the tests, but for 7 that failed before."), good.out
    assert (good.summary["failed_before"], good.summary["unchecked"]) == (7, [])
    old = sorted(f"test_old.py::test_old_{n}" for n in range(7))
    assert gates["tests"]["old"] == old and gates["tests"]["new"] == []
    assert gates["tests"]["flaky"] == ["test_new.py::test_flaky"] and gates["syntax"]["ok"]
    assert "failed before too: test_old.py::test_old_0" in good.out and "flaky: test_new.py::test_flaky" in good.out


def agent_gates(agent: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {gate["name"]: gate for gate in agent["gates"]}


@pytest.mark.thorough
def test_a_task_whose_own_files_do_not_parse_is_not_combined(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(appends(HI)) as server:
        words = ("--change", "Say hi", "--no-prd", "--test-cmd", PYTEST, "--agents", "2")
        ran = place.run(*words, "--files", "a.py", "b.js", server=server, SEEN=str(tmp_path / "seen"))
    assert ran.code == 1, ran.out
    assert sorted(ran.verdicts) == ["applied", "gates_failed"]
    bad = next(agent for agent in ran.agents.values() if agent["verdict"] == "gates_failed")
    assert agent_gates(bad)["syntax"]["new"] == ["b.js: error: does not parse"] and "b.js" in bad["cause"]
    assert (place.repo / "a.py").read_text().endswith("# hi\n") and (place.repo / "b.js").read_text() == FILES["b.js"]
    assert bad["branch"] in place.git("branch", "--list", bad["branch"])
    assert_clean(ran, branches=(bad["branch"], "main"))


# --- who broke it ---------------------------------------------------------------------------------------------------

PARTS = {f"part{n}.py": f"value = {n}\nready = False\n" for n in range(6)}
BETTER = {path: text.replace("False", "True") for path, text in PARTS.items()}
TEN = {f"part{n}.py": f"value = {n}\nready = False\n" for n in range(10)}
LARGER = ("part6.py", "part8.py")
TEN_BETTER = {path: text.replace("False", "True") + "# Larger.\n" * (path in LARGER) for path, text in TEN.items()}
TOGETHER = """
import os, pathlib
import part2, part4, part6, part7, part8, part9
def test_not_both():
    assert not (part2.ready and part4.ready)
def test_not_all_three():
    assert not (part6.ready and part7.ready and part8.ready)
def test_flaky():
    seen = pathlib.Path(os.environ["SEEN"])
    assert not part9.ready or seen.exists() or seen.write_text("")
"""


@pytest.mark.thorough
def test_of_tasks_that_break_it_only_together_one_is_held_back_and_the_rest_is_integrated(tmp_path: Path) -> None:
    """Ten tasks: a pair, of which one is needed by another task; three, of which one is smaller; one that makes a test
    flaky."""
    place = make_place(tmp_path, TEN | {"test_parts.py": TOGETHER})
    items = [
        PlanItem(f"t{n}", f"Part {n}", "Be ready", (path,), needs=("t4",) * (n == 5)) for n, path in enumerate(TEN)
    ]
    (tmp_path / "ten.toml").write_text(format_draft(Draft("Be ready", task=tuple(items)), "ten"))
    with ModelServer(knows(TEN_BETTER, set())) as server:
        words = ("execute", str(tmp_path / "ten.toml"), "--test-cmd", PYTEST, "--agents", "10")
        ran = place.run(*words, server=server, SEEN=str(tmp_path / "seen"))
    assert ran.code == 1, ran.out + ran.err
    held = {path for agent in ran.agents.values() if agent["held"] for path in agent["files"]}
    assert held == {"part2.py", "part7.py"}
    assert {path: (place.repo / path).read_text() for path in TEN} == TEN_BETTER | {path: TEN[path] for path in held}
    assert (
        ran.summary["verified"] == "tests" and ran.out.count("test_flaky") == ran.out.count("test_flaky is flaky") == 1
    )
    reasons = {agent["files"][0]: agent["held"] for agent in ran.agents.values() if agent["held"]}
    assert "together with agent5 it breaks: tests failed: test_parts.py::test_not_both." in reasons["part2.py"]
    assert (
        "together with agent7, agent9 it breaks: tests failed: test_parts.py::test_not_all_three."
        in reasons["part7.py"]
    )
    assert all(reason in ran.out for reason in reasons.values())
    asked = [gate["tree"] for gate in gates_asked(ran)]
    assert len(asked) == len(set(asked)), "a tree was gated twice"
    kept = [agent["branch"] for agent in ran.agents.values() if agent["held"]]
    assert_clean(ran, branches=(*sorted(kept), "main"))


def gates_asked(ran: Ran) -> list[dict[str, Any]]:
    """Each time the tests were really run."""
    log = ran.logs / f"run_{ran.summary['timestamp']}.jsonl"
    events = [json.loads(line) for line in log.read_text().splitlines()]
    return [e["data"] for e in events if e["event"] == "gate_started" and e["data"]["name"] == "tests"]


@pytest.mark.thorough
def test_the_guilty_task_is_tried_again_on_top_of_the_others_with_what_failed(tmp_path: Path) -> None:
    place = make_place(
        tmp_path, PARTS | {"test_parts.py": "import part2\ndef test_two():\n    assert part2.value == 2\n"}
    )
    good = knows(BETTER, set())

    def respond(request: Request) -> Reply:
        if "part2.py" in request.files and "Earlier attempts" not in request.text:
            return Reply(search_replace("part2.py", PARTS["part2.py"], "value = 3\nready = True\n"))
        return good(request)

    with ModelServer(respond) as server:
        words = ("--change", "Be ready", "--no-prd", "--test-cmd", PYTEST, "--agents", "6", "--retries", "3")
        ran = place.run(*words, "--files", *PARTS, server=server)
        assert ran.code == 0, ran.out + ran.err
        assert server.count() == 7
    assert {path: (place.repo / path).read_text() for path in PARTS} == BETTER
    assert ran.agents["agent3"]["attempts"] == 2 or sum(agent["attempts"] for agent in ran.agents.values()) == 7
    assert len(place.git("log", "--oneline").splitlines()) == 7
    assert_clean(ran)


@pytest.mark.thorough
def test_a_change_that_only_works_when_all_its_tasks_are_in_needs_no_retry(tmp_path: Path) -> None:
    whole = "import part0, part1\ndef test_all():\n    assert part0.ready == part1.ready\n"
    place = make_place(tmp_path, PARTS | {"test_parts.py": whole})
    with ModelServer(knows(BETTER, set())) as server:
        words = ("--change", "Be ready", "--no-prd", "--test-cmd", PYTEST, "--agents", "6", "--retries", "3")
        ran = place.run(*words, "--files", *PARTS, server=server)
        assert (ran.code, server.count()) == (0, 6), ran.out + ran.err
    assert ran.summary["verified"] == "tests"


@pytest.mark.thorough
def test_the_model_needs_three_tries_to_satisfy_the_tests(tmp_path: Path) -> None:
    files = {"part.py": "value = 0\n", "test_part.py": "import part\ndef test_it():\n    assert part.value in (0, 3)\n"}
    place = make_place(tmp_path, files)

    def learns(request: Request) -> Reply:
        told = request.text.count("Attempt ")
        return Reply(search_replace("part.py", request.files["part.py"], f"value = {told + 1}\n"))

    with ModelServer(learns) as server:
        words = ("--change", "Three", "--no-prd", "--test-cmd", PYTEST, "--retries", "4", "--files", "part.py")
        ran = place.run(*words, server=server)
        assert ran.code == 0, ran.out + ran.err
        assert server.count() == 3 and "test_it" in server.requests[-1].text
    assert ran.agents["agent1"]["attempts"] == 3 and (place.repo / "part.py").read_text() == "value = 3\n"
    assert_clean(ran)
