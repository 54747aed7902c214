"""The commands that look at runs: which one is meant, one that goes on, one that died, one of another machine."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from orchestra.cli.find import match_run_name
from orchestra.errors import UsageError
from orchestra.events import EventLog, event_record, make_event
from orchestra.journal.jsonl import LogTail
from orchestra.journal.open_store import open_store
from orchestra.report.sanitize import escape_controls, escaped_line
from tests.support.databases import database
from tests.support.load import within
from tests.support.runs import PROGRAM
from tests.support.shell import Shell, shell
from tests.support.stories import STAMP, files, logs_of, sentence, stored, story, told

__all__ = ["shell"]


# --- which run ------------------------------------------------------------------------------------------------------

KNOWN = ("20261120_235959", STAMP, f"{STAMP}_2", "20261122_000000")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        (STAMP, STAMP),
        (f"{STAMP}_2", f"{STAMP}_2"),
        ("20261122", "20261122_000000"),
        ("_2", f"{STAMP}_2"),
        ("235959", "20261120_235959"),
        ("101010", STAMP),
    ],
)
def test_enough_of_a_name(name: str, meant: str) -> None:
    assert match_run_name(name, KNOWN) == meant


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "2026112",
            "is ambiguous: 20261120_235959, 20261121_101010, 20261121_101010_2, 20261122_000000. Use more of the name.",
        ),
        ("20261121", "is ambiguous: 20261121_101010, 20261121_101010_2."),
        ("20261121_101011", "there is no run '20261121_101011' here. Similar: 20261121_101010"),
        ("x", "there is no run 'x' here. The latest: 20261121_101010, 20261121_101010_2, 20261122_000000."),
        ("\x1b[2J", r"there is no run '\x1b[2J' here."),
    ],
)
def test_a_name_that_means_no_run(name: str, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        match_run_name(name, KNOWN)
    assert words in str(raised.value)


@pytest.mark.parametrize("words", [("status",), ("logs",), ("show", "1"), ("diff",), ("export",), ("status", "latest")])
def test_where_nothing_was_run(shell: Shell, words: tuple[str, ...]) -> None:
    assert shell.refused(*words) == f"there are no runs in {shell.place.repo / '.aider_logs'}."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show",), "show needs a run and one of its tasks. Usage: aider-orchestrator show [RUN] TASK."),
        (("show", "x"), "the task of run x is missing. Usage: aider-orchestrator show x 1."),
        (("show", "x", "y"), "'y' is not a task: give 3 or agent3."),
        (("runs", "--zzz"), "unknown argument '--zzz'. See `aider-orchestrator runs --help`."),
        (("import", "none.gz"), "none.gz: there is no such file."),
    ],
)
def test_words_that_are_not_understood(shell: Shell, words: tuple[str, ...], said: str) -> None:
    assert shell.refused(*words) == said


def test_no_task_of_that_number(shell: Shell) -> None:
    stored(shell, story(shell.place.repo)).close()
    assert f"run {STAMP} has no agent2: it has agent1." in sentence(shell.run("show", "2"))
    assert f"run {STAMP} has no agent2: it has agent1." in sentence(shell.run("diff", STAMP, "2"))
    assert f"run {STAMP} has no events of agent2." in sentence(shell.run("logs", "--agent", "2"))
    assert f"run {STAMP} has no result: nothing was combined." in sentence(shell.run("diff"))
    assert f"agent1 of run {STAMP} changed nothing." in sentence(shell.run("diff", STAMP, "1"))


def test_the_names_that_other_orchestrators_use(shell: Shell) -> None:
    stored(shell, story(shell.place.repo)).close()
    for theirs, ours in (("agents", "status"), ("task", "show"), ("cleanup", "clean")):
        assert shell.run(theirs, "--help").out == shell.run(ours, "--help").out
    assert told(shell, "agents") == told(shell, "status")
    assert told(shell, "task", "1") == told(shell, "show", "1")


# --- a run that goes on ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["files", "store"])
def test_running_run_differs_from_a_dead_one(shell: Shell, place: str) -> None:
    events = story(shell.place.repo, code=None)
    files(shell, events if place == "files" else [])
    store = stored(shell, events)
    assert store.acquire_run(".", STAMP, "me", "lighthouse", 4711, 60_000) is None
    assert "pid 4711 on lighthouse works on it." in told(shell, "status")
    assert "0 of 1 task ended, $0.2500 so far." in told(shell, "status")
    found = json.loads(told(shell, "status", "--json"))
    assert (found["state"], found["owner"]) == ("running", {"host": "lighthouse", "pid": 4711})
    assert (found["exit_code"], found["failed_agents"], found["usage"]["cost"]) == (None, 0, 0.25)
    assert told(shell, "runs").split()[1] == "running"
    store.release_run(".", STAMP, "me")
    store.close()
    assert f"No process works on it. To continue it: aider-orchestrator resume {STAMP}" in told(shell, "status")
    found = json.loads(told(shell, "status", "--json"))
    assert (found["state"], found["owner"]) == ("interrupted", None)
    assert told(shell, "runs").split()[1:3] == ["not", "ended"]


@pytest.mark.parametrize(("words", "shown"), [(("logs", "-v", "--follow"), 3), (("status", "--watch"), 2)])
def test_looking_on_until_the_end(shell: Shell, words: tuple[str, ...], shown: int) -> None:
    """The files grow as a run writes them; one line comes in two pieces. Only -v prints what has no words."""
    events = story(shell.place.repo)
    files(shell, events[:3])
    with looking_on(shell, *words) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(shown)]
        with (logs_of(shell) / f"agent1_{STAMP}.jsonl").open("a") as file:
            line = json.dumps(event_record(events[3])) + "\n"
            file.write(line[:40])
            file.flush()
            time.sleep(0.5)
            file.write(line[40:])
        files(shell, events[4:])
        rest = child.stdout.read().splitlines()
        assert child.wait(within()) == 0
    verbose = words[0] == "logs"
    assert [line.split()[2] for line in lines] == ["run", "run", "agent1"][:shown]
    assert [line.split()[2] for line in rest[: 5 if verbose else 4]] == ["agent1"] * (4 if verbose else 3) + ["run"]
    assert (len(rest) == 5) == verbose


def looking_on(shell: Shell, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROGRAM), *words]
    pipe, env = subprocess.PIPE, shell.place.environment()
    return subprocess.Popen(command, cwd=shell.place.repo, env=env, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("words", [("logs", "--follow"), ("status", "--watch")])
def test_ctrl_c_while_looking_on(shell: Shell, words: tuple[str, ...]) -> None:
    store = stored(shell, story(shell.place.repo, code=None))
    assert store.acquire_run(".", STAMP, "me", "lighthouse", 4711, 60_000) is None
    with looking_on(shell, *words) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        assert child.wait(within()) == 130
        assert child.stderr.read() == ""
    store.close()


def test_watch_ends_without_an_owner(shell: Shell) -> None:
    stored(shell, story(shell.place.repo, code=None)).close()
    assert told(shell, "logs", "--follow").endswith(f"No process works on run {STAMP}.\n")
    assert f"resume {STAMP}" in told(shell, "status", "--watch")


def test_what_is_missing_is_waited_for_once(tmp_path: Path) -> None:
    """Events 2 and 4 are seen late, event 6 never."""
    lines = {seq: json.dumps(event_record(make_event("s", seq, 1, "k", None, None, {}))) + "\n" for seq in range(1, 9)}
    run, agent = tmp_path / "run_s.jsonl", tmp_path / "agent1_s.jsonl"
    tail = LogTail(tmp_path, "s")
    run.write_text(lines[1] + lines[3] + lines[5] + lines[7])
    assert [event.seq for event in tail.read_more().events] == [1]
    agent.write_text(lines[2] + "\x00torn\n" + lines[4])
    more = tail.read_more()
    assert [event.seq for event in more.events] == [2, 3, 4, 5] and more.torn_lines == 1
    assert [event.seq for event in tail.read_more().events] == [7]
    with run.open("a") as file:
        file.write(lines[8])
    assert [event.seq for event in tail.read_more().events] == [8]
    assert tail.read_more() == EventLog()


def test_events_of_another_version_are_read_as_far_as_they_go(shell: Shell) -> None:
    events = story(shell.place.repo)
    odd = [
        make_event(STAMP, seq, 10**17, kind, 1, 1, {"new": "\x1b[31m"})
        for seq, kind in enumerate(("request", "gate_ended", "of_tomorrow", "note"), 20)
    ]
    stored(shell, [*events[:-1], *odd, replace(events[-1], seq=30)]).close()
    files(shell, [])
    for words in (("runs",), ("status",), ("logs",), ("show", "1"), ("status", "--json"), ("show", "1", "--json")):
        assert "\x1b" not in told(shell, *words)


# --- another machine ------------------------------------------------------------------------------------------------


@pytest.mark.thorough(but="sqlite")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
def test_a_run_of_another_machine_is_shown_from_the_shared_store(shell: Shell, tmp_path: Path, kind: str) -> None:
    base = shell.place.head()
    with database(kind, tmp_path) as found:
        url = str(found.where) if kind != "sqlite" else f"sqlite:///{found.where}"
        store = open_store(found.where)
        store.append_events("ci-7:/builds/app", story(shell.place.repo, base=base))
        store.append_events("ci-7:/builds/app", [make_event(STAMP, 9, 1, "combined", None, None, {"commit": "2" * 40})])
        store.append_events("ci-8:/builds/other", story(shell.place.repo, "20261122_000000", base="1" * 40))
        store.close()
        [line] = told(shell, "runs", "--store", url).splitlines()
        assert line.startswith(f"{STAMP}  exit 0") and line.endswith("(on ci-7:/builds/app)")
        for words in (("logs", STAMP), ("show", STAMP, "1"), ("clean", STAMP, "--dry-run")):
            assert STAMP in told(shell, *words, "--store", url)
        assert told(shell, "status", "--store", url).startswith("agent1  applied")
        assert "it was made on ci-7:/builds/app" in sentence(shell.run("diff", STAMP, "--store", url))
        told(shell, "clean", "--yes", "--store", url)
        assert STAMP in told(shell, "runs", "--store", url)
        told(shell, "clean", STAMP, "--yes", "--store", url)
        assert told(shell, "runs", "--store", url) == ""
        assert told(shell, "store", "check", "--store", url) == "The store is sound.\n"
        assert told(shell, "store", "migrate", "--store", url) == "The store is up to date.\n"


def test_a_store_that_is_not_sound(shell: Shell) -> None:
    events = story(shell.place.repo)
    stored(shell, [*events[:2], *events[4:]]).close()
    said = shell.run("store", "check")
    assert (said.code, said.out) == (1, f"Run {STAMP} of .: 2 of its events are missing, the first is 3.\n")


def test_check_makes_no_store(shell: Shell) -> None:
    assert shell.refused("store", "check") == f"there is no store in {shell.place.repo / '.aider_logs'}."


# --- plain text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ä ☂ 🦊\n\ttab", "ä ☂ 🦊\n\ttab"),
        ("\x1b[31m\r\x07\x00\x7f", r"\x1b[31m\r\x07\x00\x7f"),
        ("\x9b2J\x85\u2028", r"\x9b2J\x85\u2028"),
        ("a\u202eb\u200b\ufeff", r"a\u202eb\u200b\ufeff"),
        ("caf\udce9", r"caf\udce9"),
    ],
)
def test_text_for_a_terminal(text: str, shown: str) -> None:
    assert escape_controls(text) == shown


def test_text_in_one_line() -> None:
    assert escaped_line(" a\n\n b\x1b ", 0) == r"a b\x1b" and escaped_line("x" * 10, 5) == "xxxx…"


def test_words_that_stdout_cannot_take(shell: Shell) -> None:
    stored(shell, story(shell.place.repo, change="ä ☂")).close()
    env = shell.place.environment(PYTHONIOENCODING="ascii")
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "runs"], cwd=shell.place.repo, env=env, capture_output=True, check=True
    )
    assert done.stdout.endswith(b"\\xe4 \\u2602\n")
