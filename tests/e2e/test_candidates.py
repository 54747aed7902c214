"""Several agents for one task: side by side, each counted and paid, and the best is kept."""

import itertools
import json
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.edits import search_replace
from tests.support.load import NEVER, wait_until, within
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place, Ran, assert_clean, make_place
from tests.support.sample import SOAK
from tests.support.shell import Shell, shell

__all__ = ["shell"]

TESTS = "import part\ndef test_part():\n    assert part.value in (1, 2)\n"
FILES = {"part.py": "value = 1\n", "test_part.py": TESTS, "other.py": "other = 1\n"}
PYTEST = f"{sys.executable} -m pytest -q -p no:cacheprovider"
JOB = ("--change", "Two", "--no-prd", "--test-cmd", PYTEST, "--files", "part.py", "--agents-per-task", "3")
GOOD, LONG, BAD = "value = 2\n", "# It is two,\n# as was asked.\nvalue = 2\n", "value = 3\n"


def in_turn(*texts: str) -> Callable[[Request], Reply]:
    """Each request gets another answer."""
    lock, left = threading.Lock(), itertools.cycle(texts)

    def respond(request: Request) -> Reply:
        with lock:
            text = next(left)
        before = request.files["part.py"]
        return Reply(search_replace("part.py", before, text) if before != text else "It is done.")

    return respond


def candidates(ran: Ran) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ran.agents["agent1"]["candidates"]
    return found


def branches(place: Place) -> list[str]:
    return place.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split()


def kept_on(ran: Ran) -> list[str]:
    return sorted(one["branch"] for one in candidates(ran) if one["branch"])


@pytest.mark.thorough
def test_the_smallest_change_of_those_that_pass_is_kept_and_the_others_stay_until_clean(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(in_turn(LONG, BAD, GOOD)) as server:
        ran = place.run(*JOB, server=server)
        assert (ran.code, server.count()) == (0, 3), ran.out + ran.err
    assert (place.repo / "part.py").read_text() == GOOD
    found = {one["verdict"]: one for one in candidates(ran)}
    assert sorted((one["verdict"], one["size"], one["chosen"]) for one in candidates(ran)) == [
        ("applied", 2, True),
        ("applied", 4, False),
        ("gates_failed", 2, False),
    ]
    agent = ran.agents["agent1"]
    assert (agent["attempts"], agent["iterations"], agent["verdict"], agent["state"]) == (3, 3, "applied", "complete")
    assert agent["usage"]["requests"] == 3 and [gate["ok"] for gate in agent["gates"]] == [True]
    assert len(kept_on(ran)) == 2 and found["gates_failed"]["branch"] in kept_on(ran)
    assert "of 2 that were accepted, attempt" in ran.out and all(name in ran.out for name in kept_on(ran))
    page = next(ran.logs.glob("report_*.html")).read_text()
    assert all(name in page for name in kept_on(ran))
    assert 'failures="1"' not in next(ran.logs.glob("junit_*.xml")).read_text(), "what was not kept fails nothing"
    assert_clean(ran, branches=(*kept_on(ran), "main"))
    assert BAD in place.git("show", f"{found['gates_failed']['branch']}:part.py")
    assert place.run("clean", "--yes").code == 0
    assert branches(place) == ["main"]


@pytest.mark.soak
def test_what_all_of_them_have_learned_goes_on_to_the_next_round(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    texts = in_turn("value = 3\n", "value = 4\n", "value = 5\n", GOOD)
    with ModelServer(lambda request: texts(request)) as server:
        ran = place.run(*JOB, "--retries", "1", server=server)
        assert (ran.code, server.count()) == (0, 6), ran.out + ran.err
        later = server.requests[3:]
    for request in later:
        lesson = request.text.partition("Earlier attempts at this task")[2]
        assert lesson.count("Attempt ") == 3 and "test_part" in lesson and len(lesson) < 9_000
    assert (place.repo / "part.py").read_text() == GOOD
    assert [one["chosen"] for one in candidates(ran)].count(True) == 2, "the one to go on from, and the result"
    # The critic would have the same word for the same diff, and no tree is gated twice.
    assert ran.agents["agent1"]["attempts"] == 6 and len(place.git("log", "--oneline").splitlines()) == 2


@pytest.mark.soak
def test_a_place_for_each_and_no_more_than_that(tmp_path: Path) -> None:
    """One after the other, where the user wants no more at once; and none is begun that the budget does not allow."""
    place = make_place(tmp_path, FILES)
    busy: list[int] = []
    most: list[int] = []
    answer = in_turn(LONG, GOOD, BAD)

    def respond(request: Request) -> Reply:
        busy.append(1)
        most.append(len(busy))
        threading.Event().wait(0.3)
        busy.pop()
        return answer(request)

    with ModelServer(respond) as server:
        ran = place.run(*JOB, "--max-agents", "1", server=server)
        assert (ran.code, server.count(), max(most)) == (0, 3, 1), ran.out + ran.err
    assert (place.repo / "part.py").read_text() == GOOD


@pytest.mark.thorough
@pytest.mark.parametrize("how", ("kill", "interrupt") if SOAK else ("kill",))
def test_resume_keeps_what_had_ended_and_pays_for_it_no_more(tmp_path: Path, how: str) -> None:
    place = make_place(tmp_path, FILES)
    first = threading.Event()

    def respond(request: Request) -> Reply:
        if first.is_set():
            return Reply("", latency=NEVER)
        first.set()
        return Reply(search_replace("part.py", FILES["part.py"], GOOD))

    with ModelServer(respond) as server:
        running = place.start(*JOB, server=server)
        wait_until(lambda: server.count() == 3 and "applied after" in running.said(1))
        running.child.send_signal(signal.SIGKILL if how == "kill" else signal.SIGINT)
        assert running.child.wait(within()) in (-9, 130)
        wait_until(lambda: place.processes() == {})
    with ModelServer(in_turn(LONG)) as server:
        ran = place.run("resume", server=server)
        assert (ran.code, server.count()) == (0, 2), ran.out + ran.err
    assert (place.repo / "part.py").read_text() == GOOD
    chosen = [one for one in candidates(ran) if one["chosen"]]
    assert [(one["attempt"], one["size"]) for one in chosen] == [(1, 2)] or chosen[0]["size"] == 2
    assert_clean(ran, branches=(*kept_on(ran), "main"))


@pytest.mark.thorough
def test_cancel_ends_all_of_them(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    other = "other = 2\n"

    def respond(request: Request) -> Reply:
        if "other.py" in request.files:
            return Reply(search_replace("other.py", FILES["other.py"], other))
        return Reply("", latency=NEVER)

    words = ("--change", "Two", "--no-prd", "--files", "part.py", "other.py", "--agents", "2")
    with ModelServer(respond) as server:
        running = place.start(*words, "--agents-per-task", "2", server=server)
        wait_until(lambda: server.count() == 4)
        (log,) = (place.repo / ".aider_logs").glob("run_*.jsonl")
        plan = next(json.loads(line)["data"] for line in log.read_text().splitlines() if '"plan_made"' in line)
        number = next(task["id"] for task in plan["tasks"] if task["files"][0]["path"] == "part.py")
        said = place.run("cancel", log.stem.removeprefix("run_"), str(number))
        assert "is being stopped" in said.out, said.out + said.err
        ran = running.end()
    assert ran.code == 1 and (place.repo / "other.py").read_text() == other
    agent = ran.agents[f"agent{number}"]
    assert (agent["verdict"], agent["state"]) == ("cancelled", "failed")
    assert [one["verdict"] for one in agent["candidates"]] == ["cancelled", "cancelled"]
    assert place.processes() == {}


@pytest.mark.parametrize(
    ("value", "words"), [("0", "at least 1"), ("-1", "at least 1"), ("two", "whole number"), ("99", "at most 16")]
)
def test_agents_per_task_refuses_a_number_that_is_none(shell: Shell, value: str, words: str) -> None:
    said = shell.run(*JOB[:-1], value)
    assert said.code == 2 and words in said.err and "--agents-per-task" in said.err and "Traceback" not in said.err


@pytest.mark.thorough
def test_the_dry_run_tells_what_all_of_them_would_cost(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    one, three = [
        json.loads(place.run(*JOB[:-1], count, "--dry-run", "--json").out)["estimate"] for count in ("1", "3")
    ]
    assert three["tokens"] == [3 * count for count in one["tokens"]] and (one["each"], three["each"]) == (1, 3)
    assert three["dollars"] == pytest.approx([3 * dollars for dollars in one["dollars"]])
    assert three["minutes"] == pytest.approx(one["minutes"])
    assert "3 attempts at each task side by side" in place.run(*JOB, "--dry-run").out
