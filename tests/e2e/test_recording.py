"""A recorded run is run again without any provider and any key: the same plan, verdicts and tree, or drift is told."""

import gzip
import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.edits import gemini_prd, knows, malformed
from tests.support.load import wait_until
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import KEYS, Place, Ran, assert_clean, make_place

FILES = {f"part{n}.py": f"value = {n}\n" for n in range(3)}
WANTED = {path: f"{text}more = True\n" for path, text in FILES.items()}
PRD = """# More

```json
{"requirements": [{"id": "R1", "text": "There is more."}],
 "work": [{"file": "part0.py", "do": "more"}, {"file": "part1.py", "do": "more"}, {"file": "part2.py", "do": "more"}]}
```
"""
GOOD = gemini_prd(PRD, knows(WANTED, set()))
WORDS = ("--change", "Add more", "--agents", "3")
CLAUDE = ("--model", "anthropic/claude-opus-5-5", "--no-fork-server")
NO_KEYS: dict[str, Any] = dict.fromkeys(KEYS, "")


def recorded(folder: Path, respond: Callable[[Request], Reply], *words: str, code: int = 0) -> tuple[Place, Ran, Path]:
    """A repository as it was before a run, the run, and its tape."""
    place, tape = make_place(folder / "first", FILES), folder / "run.tape"
    shutil.copytree(place.repo, folder / "second" / "repo")
    with ModelServer(respond) as server:
        ran = place.run(*WORDS, *words, "--record", str(tape), server=server)
    assert ran.code == code, ran.out + ran.err
    assert b"planted" not in gzip.decompress(tape.read_bytes())
    second = Place(folder / "second" / "repo", folder / "second" / "home", folder / "second" / "tmp")
    for path in (second.home, second.tmp):
        path.mkdir()
    return second, ran, tape


def replayed(place: Place, tape: Path, *words: str) -> Ran:
    return place.run("--replay", str(tape), *words, **NO_KEYS)


def tree(place: Place) -> str:
    return place.git("rev-parse", "HEAD^{tree}")


def same(first: Ran, again: Ran) -> None:
    for told in ("verdict", "state", "cause", "changed", "files", "iterations", "requirements", "usage"):
        assert {n: a[told] for n, a in again.agents.items()} == {n: a[told] for n, a in first.agents.items()}
    for told in ("verdict", "exit_code", "verified", "files", "usage", "coverage", "error"):
        assert again.summary[told] == first.summary[told], told
    assert tree(again.place) == tree(first.place)
    assert again.summary["replay"] == {"drift": {}, "unused": {}}
    assert "Replayed exactly." in again.out
    assert again.code == first.code


@pytest.mark.parametrize("words", ((), pytest.param(CLAUDE, marks=pytest.mark.soak)))
def test_a_run_is_run_again_with_no_server_and_no_key(words: tuple[str, ...], tmp_path: Path) -> None:
    place, first, tape = recorded(tmp_path, GOOD, *words)
    again = replayed(place, tape, "--replay-strict")
    same(first, again)
    assert {path: (place.repo / path).read_text() for path in WANTED} == WANTED
    assert "nothing, the replies came from a recording" in again.out
    assert_clean(again, prd=True)
    assert first.summary["replay"] is None


def failing(request: Request) -> Reply:
    """One agent's key is refused, one's edits never fit, and one is fine."""
    if "part0.py" in request.files:
        return Reply("Your key is wrong", status=401)
    return malformed()(request) if "part1.py" in request.files else GOOD(request)


@pytest.mark.soak
def test_failures_are_the_same_again(tmp_path: Path) -> None:
    place, first, tape = recorded(tmp_path, failing, code=1)
    assert sorted(first.verdicts) == ["applied", "auth", "rejected_edit"]
    same(first, replayed(place, tape, "--replay-strict"))


@pytest.mark.thorough
def test_a_file_that_was_changed_first_is_drift_and_nothing_is_claimed(tmp_path: Path) -> None:
    """Nor is it where a reply held a key: the agent got it came, and what is kept of it is not whole."""
    key = "sk-proj-" + "Ab1" * 16
    wanted = WANTED | {"part2.py": f'value = "{key}"\n'}
    place, first, tape = recorded(tmp_path, gemini_prd(PRD, knows(wanted, set())))
    assert (first.place.repo / "part2.py").read_text() == wanted["part2.py"]
    assert key.encode() not in gzip.decompress(tape.read_bytes())
    place.write({"part1.py": "value = 'another'\n"})
    place.commit()
    again = replayed(place, tape, "--replay-strict")
    assert again.code == 2
    assert [a["verdict"] for a in again.agents.values()] == ["applied", "provider_error", "provider_error"]
    assert "run.tape has no reply to this request" in again.agents["agent2"]["cause"]
    assert "a secret was redacted from this reply" in again.agents["agent3"]["cause"]
    assert "--record" in again.agents["agent2"]["remedy"]
    assert again.summary["replay"] == {"drift": {"agent2": 1, "agent3": 1, "prd": 1}, "unused": {"agent2": 1}}
    for told in ("agent2: 1 request differs from the recording's", "agent2: 1 recorded reply was not used"):
        assert told in again.out
    assert (place.repo / "part1.py").read_text() == "value = 'another'\n"
    assert again.changed().keys() == {"part0.py"} and "1 of 3 tasks are complete" in again.out
    assert_clean(again, prd=True)


@pytest.mark.soak
def test_flags_override_recorded_settings(tmp_path: Path) -> None:
    place, _, tape = recorded(tmp_path, GOOD, "--test-cmd", "true")
    again = replayed(place, tape, "--change", "Something else", "--no-apply")
    assert again.summary["change"] == "Something else"
    assert again.summary["replay"]["drift"] == {"agent1": 1, "agent2": 1, "agent3": 1, "prd": 1}
    assert any("--test-cmd 'true'" in note for note in again.summary["notes"]), "a tape runs no commands"
    assert again.summary["gates"] == []


@pytest.mark.thorough
def test_replay_divides_and_tries_again_as_recorded(tmp_path: Path) -> None:
    """The flags that decide what is asked need not be given again: --together, --agents-per-task, --retries."""
    files = ("--no-prd", "--files", "part0.py", "part1.py", "part2.py", "--together", "part[01].py")
    how = (*files, "--agents-per-task", "2", "--retries", "0")
    place, first, tape = recorded(tmp_path, failing_part2, *how, code=1)
    assert sorted(len(agent["files"]) for agent in first.agents.values()) == [1, 2]
    again = replayed(place, tape, "--replay-strict")
    same(first, again)
    assert sum(event["event"] == "attempt_started" for event in again.events()) == 4


def failing_part2(request: Request) -> Reply:
    return malformed()(request) if "part2.py" in request.files else GOOD(request)


@pytest.mark.thorough
@pytest.mark.parametrize("torn", [pytest.param(0, marks=pytest.mark.soak), 3])
def test_a_killed_recording_is_continued_and_the_whole_is_played(torn: int, tmp_path: Path) -> None:
    place, tape = make_place(tmp_path / "first", FILES), tmp_path / "run.tape"
    shutil.copytree(place.repo, tmp_path / "second" / "repo")
    second = Place(tmp_path / "second" / "repo", place.home, place.tmp)

    killed = threading.Event()

    def slow(request: Request) -> Reply:
        return replace(GOOD(request), until=killed.is_set if "part2.py" in request.files else None)

    with ModelServer(slow) as server:
        running = place.start(*WORDS, "--record", str(tape), server=server)
        wait_until(lambda: "agent2: applied" in running.said(1) and "agent1: applied" in running.said(1))
        running.child.kill()
        running.child.wait()
        killed.set()
        raw = tape.read_bytes()
        tape.write_bytes(raw[: len(raw) - torn])
        first = place.run("resume", server=server)
    assert first.code == 0, first.out + first.err
    again = replayed(second, tape, "--replay-strict")
    assert again.code == 0, again.out + again.err
    assert tree(second) == tree(place) and again.summary["replay"] == {"drift": {}, "unused": {}}


@pytest.mark.thorough
def test_unusable_recording_is_one_sentence_before_the_run(tmp_path: Path) -> None:
    place, tape = make_place(tmp_path, FILES), tmp_path / "a.tape"
    tape.write_text("no tape\n")
    with ModelServer(GOOD) as server:
        for words, told in (
            (("--replay", "none.tape"), "cannot be read"),
            (("--replay", str(tape)), "damaged"),
            (("--record", str(tape)), "exists: a recording"),
            (("--record", "/dev/full/x"), "cannot be written"),
            (("--record", "x", "--replay", "y"), "exclude each other"),
        ):
            ran = place.run(*WORDS, *words, server=server)
            assert (ran.code, ran.out) == (2, "") and told in ran.err and len(ran.err.splitlines()) == 1, ran.err
        assert server.count() == 0
    assert tape.read_text() == "no tape\n"


@pytest.mark.thorough
def test_recording_of_a_stranger_runs_no_command(tmp_path: Path) -> None:
    """Neither commands nor wrong values of its options take effect."""
    place, tape = make_place(tmp_path, FILES), tmp_path / "a.tape"
    for options, code in (
        ({"files": "--output=x", "agents": "many"}, 2),
        ({"change": "x", "test_cmd": "touch bad"}, 4),
    ):
        head: dict[str, Any] = {"tape": 2, "base": "--output=bad", "options": options}
        tape.write_text(json.dumps(head) + "\n")
        ran = place.run("--change", "c", "--replay", str(tape), **NO_KEYS)
        assert ran.code == code and "Traceback" not in ran.err, ran.err
    assert not list(place.repo.rglob("bad"))
