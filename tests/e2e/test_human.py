"""A task that failed for good waits for a person: each decision works while the run goes on, and after it has ended."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestra.journal import jsonl
from orchestra.journal.open_store import open_store
from orchestra.journal.store import Store
from orchestra.report.phrases import DECISION_PHRASES
from tests.support.edits import knows
from tests.support.hostserver import HostServer
from tests.support.load import NEVER, wait_until
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place, Ran, assert_clean, make_place
from tests.support.sample import SOAK
from tests.support.shell import Shell, shell

__all__ = ["shell"]

FILES = {f"part{n}.py": f"value = {n}\n" for n in (1, 2)}
WANTED = {path: f"{text}more = True\n" for path, text in FILES.items()}
JOB = ("--change", "Add more", "--agents", "2", "--no-prd", "--files", *FILES, "--ask", "always")
GOOD = knows(WANTED, set())
ACTIONS = ("retry", "brief", "abandon", "spawn", "take")
HELP = "say the magic word"


def helpless(request: Request) -> Reply:
    """Does part2 only for who has the hint."""
    return GOOD(request) if "part2.py" not in request.files or HELP in request.text else Reply("I cannot do that.")


class Slow:
    """The same, but part1 is not answered before a person has decided."""

    def __init__(self) -> None:
        self.decided = threading.Event()

    def __call__(self, request: Request) -> Reply:
        is_asked_about = "part2.py" in request.files
        return replace(helpless(request), until=None if is_asked_about else self.decided.is_set)


def by_file(ran: Ran, path: str) -> dict[str, Any]:
    return next(agent for agent in ran.agents.values() if agent["files"] == [path] and not agent["replaced"])


def number_of(place: Place, path: str) -> str:
    (log,) = (place.repo / ".aider_logs").glob("run_*.jsonl")
    plan = next(event for event in jsonl.read_run_log(log.parent, log.stem[4:]).events if event.kind == "plan_made")
    return str(next(task["id"] for task in plan.data["tasks"] if task["files"][0]["path"] == path))


def stamp_of(place: Place) -> str:
    (log,) = (place.repo / ".aider_logs").glob("run_*.jsonl")
    return log.stem.removeprefix("run_")


def decision(place: Place, action: str) -> list[str]:
    (place.home / "brief.txt").write_text(f"Add `more = True` to part2.py ({HELP}).\n")
    return {
        "retry": ["--retry", HELP],
        "brief": ["--edit-brief", str(place.home / "brief.txt")],
        "abandon": ["--abandon"],
        "spawn": ["--spawn", f"Add more to part2.py, {HELP}"],
        "take": ["--take"],
    }[action]


def assert_decided(place: Place, ran: Ran, action: str) -> None:
    done = {path: (place.repo / path).read_text() for path in FILES}
    assert ran.code == (1 if action == "abandon" else 0), ran.out + ran.err
    assert done == (WANTED | {"part2.py": FILES["part2.py"]} if action == "abandon" else WANTED)
    assert by_file(ran, "part2.py")["state"] == ("abandoned" if action == "abandon" else "complete")
    decided = [each for agent in ran.agents.values() for each in agent["decisions"]]
    assert {each["action"] for each in decided} == {action} and all(each["asked"] for each in decided)
    assert f"A person {DECISION_PHRASES[action]}" in next(ran.logs.glob("report_*.html")).read_text("utf-8")
    assert_clean(ran)


@pytest.mark.thorough
@pytest.mark.parametrize("action", ACTIONS)
def test_after_the_run_has_ended(tmp_path: Path, action: str) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(helpless) as server:
        ran = place.run(*JOB, server=server)
        assert ran.code == 5 and by_file(ran, "part2.py")["state"] == "waiting_human"
        stamp, number = ran.summary["timestamp"], number_of(place, "part2.py")
        assert "needs your decision" in ran.out and f"resolve {stamp} {number} --retry" in ran.out
        assert (place.repo / "part1.py").read_text() == WANTED["part1.py"]
        asked = server.count()
        ran = place.run("resolve", stamp, number, *decision(place, action), server=server)
        if action == "take":
            assert ran.code == 5 and "is yours in" in ran.err
            (tree,) = (place.repo / ".aider_logs" / "by-hand").iterdir()
            (tree / "part2.py").write_text(WANTED["part2.py"])
            assert "you have work of it" in place.run("clean", "--yes").out and tree.exists()
            ran = place.run("resolve", stamp, number, "--take", server=server)
            assert not tree.exists()
        assert server.count() == asked + (action in ("retry", "brief", "spawn"))
    assert_decided(place, ran, action)


@pytest.mark.thorough(but="retry")
@pytest.mark.parametrize("action", ACTIONS if SOAK else ("retry", "take"))
def test_from_another_terminal_while_the_run_goes_on(tmp_path: Path, action: str) -> None:
    place, slow = make_place(tmp_path, FILES), Slow()
    with ModelServer(slow) as server:
        running = place.start(*JOB, server=server)
        wait_until(lambda: "needs your decision" in running.said(1))
        stamp, number = stamp_of(place), number_of(place, "part2.py")
        said = place.run("resolve", stamp, number, *decision(place, action))
        assert said.code == 0 and ("Task" in said.out), said.out + said.err
        if action == "take":
            tree = wait_until(lambda: next(iter((place.repo / ".aider_logs/by-hand").glob("*/part2.py")), None))
            tree.write_text(WANTED["part2.py"])
            said = place.run("resolve", stamp, number, "--take")
            assert said.code == 0 and "are taken as task" in said.out
        slow.decided.set()
        ran = running.end()
    assert_decided(place, ran, action)


@pytest.mark.thorough
def test_a_person_is_called_while_the_run_goes_on(tmp_path: Path) -> None:
    place, slow = make_place(tmp_path, FILES), Slow()
    with ModelServer(slow) as server, HostServer("listener") as listener:
        running = place.start(*JOB, server=server, ORCHESTRA_NOTIFY=listener.url)
        wait_until(lambda: listener.asked)
        (called,) = listener.asked
        place.run("resolve", stamp_of(place), str(called.body["task"]), "--abandon")
        slow.decided.set()
        ran = running.end()
    assert called.body["event"] == "human_needed" and called.body["exit_code"] is None
    assert called.body["resolve"].startswith(f"aider-orchestrator resolve {ran.summary['timestamp']} ")
    assert called.body["why"] and [each.body["event"] for each in listener.asked] == ["human_needed", "run_ended"]


@pytest.mark.thorough
def test_interrupted_it_waits_and_the_others_go_on(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    script = lambda request: Reply(GOOD(request).text, latency=NEVER if "part2.py" in request.files else 0.0)  # noqa: E731
    with ModelServer(script) as server:
        running = place.start(*JOB[:-2], server=server)
        wait_until(lambda: server.count() == 2)
        stamp, number = stamp_of(place), number_of(place, "part2.py")
        assert "is being stopped" in place.run("interrupt", stamp, number).out
        ran = running.end()
        assert ran.code == 5 and by_file(ran, "part2.py")["state"] == "waiting_human"
        assert (place.repo / "part1.py").read_text() == WANTED["part1.py"]
        again = place.run("resume", stamp, server=server)
        assert again.code == 5, "nobody has decided yet"
        assert "no process works on" in place.run("interrupt", stamp, number).err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("1",), "Usage: aider-orchestrator resolve RUN TASK DECISION"),
        (("1", "x"), "is required"),
        (("1", "1", "--retry", "x", "--abandon"), "argument --abandon: not allowed with argument --retry"),
        (("1", "1", "--spawn"), "argument --spawn: expected one argument"),
        (("1", "1", "--edit-brief", "nowhere.txt"), "cannot be read"),
        (("20200101_000000", "1", "--abandon"), "there are no runs"),
    ],
)
def test_resolve_refuses_words_that_it_does_not_understand(shell: Shell, words: tuple[str, ...], sentence: str) -> None:
    said = shell.run("resolve", *words)
    assert (said.code, said.out) == (2, "") and sentence in said.err and "Traceback" not in said.err


@pytest.mark.thorough
def test_a_refused_decision_is_no_success_and_is_not_journaled(tmp_path: Path) -> None:
    """To stderr with exit code 1, while the run goes on and after it has ended."""
    place, slow = make_place(tmp_path, FILES), Slow()
    with ModelServer(slow) as server:
        running = place.start(*JOB, server=server)
        wait_until(lambda: "needs your decision" in running.said(1))
        stamp, number = stamp_of(place), number_of(place, "part2.py")
        other = number_of(place, "part1.py")
        for task, why in ((other, "is active: only a failed"), ("77", "There is no task 77")):
            said = place.run("resolve", stamp, task, "--abandon")
            assert (said.code, said.out) == (1, "") and why in said.err, said.out + said.err
        with store_of(place) as store:
            store.post_command(".", stamp, "resolve", int(number), {"token": "t", "action": "explode", "text": ""})
            (answer,) = wait_until(
                lambda: [e.data for e in store.read_events(".", stamp, kinds=("command",)) if e.data["token"] == "t"]
            )
        assert answer["refused"] and "'explode'" in answer["answer"]
        assert place.run("resolve", stamp, number, "--abandon").code == 0
        slow.decided.set()
        ran = running.end()
    assert_decided(place, ran, "abandon")
    before = jsonl.read_run_log(ran.logs, stamp).events
    assert [event.data["action"] for event in before if event.kind == "resolved"] == ["abandon"]
    told = f"Task {number} was decided already: a person abandoned it, from another terminal."
    for task, why in ((other, "can be resolved"), (number, told)):
        late = place.run("resolve", stamp, task, "--retry", "x")
        assert (late.code, late.out) == (1, "") and why in late.err
    assert jsonl.read_run_log(ran.logs, stamp).events == before


@contextmanager
def store_of(place: Place) -> Iterator[Store]:
    store = open_store(place.repo / ".aider_logs/orchestra.db")
    yield store
    store.close()
