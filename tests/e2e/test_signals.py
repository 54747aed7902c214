"""Stopped or shot at any moment: nobody is left behind, finished work is kept, and the report tells how far it came."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.edits import Respond, appends, gemini_prd, search_replace
from tests.support.load import NEVER, wait_until, within
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import (
    PROGRAM,
    Place,
    Ran,
    Running,
    assert_clean,
    descendants,
    make_place,
    read_proc,
)
from tests.support.sample import SOAK

SLOW, QUICK = "slow.py", ("left.py", "right.py")
FILES = {path: f"name = '{path}'\n" for path in (SLOW, *QUICK)}
JOB = ("--change", "Add a line", "--no-prd", "--files", *FILES, "--agents", "3")
GOOD = appends("# hi")


def two_are_quick(request: Request) -> Reply:
    """The third agent gets a reply of which half fits, and asks again, and waits."""
    reply = GOOD(request)
    if SLOW not in request.files:
        return reply
    first = all(role != "assistant" or "nowhere" not in text for role, text in request.messages)
    return Reply(reply.text + search_replace(SLOW, "nowhere\n", "new\n"), latency=0.0 if first else NEVER)


def half_way(place: Place, server: ModelServer, *words: str, shell: str = "") -> Running:
    """A run whose first two agents are done, and whose third waits for its model."""
    running = place.start(*JOB, *words, server=server, shell=shell)
    wait_until(lambda: ended(place) == 2 and server.count() == 4)
    return running


def ended(place: Place) -> int:
    logs = (place.repo / ".aider_logs").glob("agent*.jsonl")
    return sum('"attempt_ended"' in path.read_text("utf-8") for path in logs)


def stop(running: Running, signum: int) -> Ran:
    """As a terminal does it: the signal goes to the whole foreground group."""
    os.killpg(running.child.pid, signum)
    ran = running.end()
    assert ran.place.processes() == {}
    return ran


def kept_branches(ran: Ran) -> list[str]:
    """The finished agents' work, each on its branch and complete; of the others what they had written."""
    names = {path: ran.agents[name]["branch"] for name in ran.agents for path in ran.agents[name]["files"]}
    assert names.pop(SLOW) == ""
    patch = next(agent["patch"] for agent in ran.agents.values() if SLOW in agent["files"])
    assert "+# hi" in (ran.place.repo / patch).read_text()
    assert patch in ran.out
    for path, branch in names.items():
        assert ran.place.git("show", f"{branch}:{path}") == FILES[path] + "# hi\n"
        assert branch in ran.out
    return sorted(names.values())


# --- Ctrl-C and SIGTERM ---------------------------------------------------------------------------------------------

IGNORING = "trap '' INT TERM HUP; exec \"$@\" <&-"
STOPS = [
    (signal.SIGINT, 130, (), ""),
    (signal.SIGTERM, 143, (), IGNORING),
    (signal.SIGTERM, 143, ("--no-fork-server",), ""),
    (signal.SIGINT, 130, ("--no-fork-server",), IGNORING),
]


@pytest.mark.thorough(but="words0")
@pytest.mark.parametrize(("signum", "code", "words", "shell"), STOPS if SOAK else STOPS[:2])
def test_stopped_in_the_middle(signum: int, code: int, words: tuple[str, ...], shell: str, tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(two_are_quick) as server:
        ran = stop(half_way(place, server, *words, shell=shell), signum)
    assert ran.code == ran.summary["exit_code"] == code
    assert sorted(ran.verdicts) == ["applied", "applied", "cancelled"]
    assert ran.summary["result"] == {}
    assert place.head() == ran.head_before
    assert "Stopped by" in ran.out
    assert_clean(ran, branches=(*kept_branches(ran), "main"))


@pytest.mark.thorough
@pytest.mark.parametrize("words", (("--quiet",), ("--verbose",)))
def test_a_closed_terminal_is_called_by_its_name(words: tuple[str, ...], tmp_path: Path) -> None:
    """A real one: when its other end is closed, the kernel sends SIGHUP, and takes no word any more."""
    place = make_place(tmp_path, FILES)
    ours, terminal = os.openpty()
    command = ["setsid", "--ctty", sys.executable, str(PROGRAM), *JOB, *words]
    with ModelServer(two_are_quick) as server:
        env = place.environment(server)
        child = subprocess.Popen(command, cwd=place.repo, env=env, stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        wait_until(lambda: ended(place) == 2 and server.count() == 4)
        os.close(ours)
        assert child.wait(within()) == 143
    (path,) = (place.repo / ".aider_logs").glob("summary_*.json")
    summary = json.loads(path.read_text("utf-8"))
    assert (summary["exit_code"], place.processes()) == (143, {})
    assert "Stopped by SIGHUP (the terminal was closed)" in summary["verdict"]
    assert not list(place.tmp.glob("aider-orchestrator-*"))


@pytest.mark.thorough
def test_sighup_is_not_called_sigterm(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(two_are_quick) as server:
        ran = stop(half_way(place, server), signal.SIGHUP)
    assert ran.code == ran.summary["exit_code"] == 143
    assert "Stopped by SIGHUP" in ran.out and "SIGTERM" not in ran.out


@pytest.mark.thorough
def test_stopped_while_gemini_writes(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(gemini_prd("# PRD\n", GOOD), latency=NEVER) as server:
        running = place.start("--change", "Add a line", server=server)
        wait_until(lambda: server.count() == 1)
        ran = stop(running, signal.SIGINT)
    assert ran.code == ran.summary["exit_code"] == 130
    assert ran.agents == {}
    assert_clean(ran)


@pytest.mark.thorough
@pytest.mark.parametrize("where", ("--test-cmd", "--setup-cmd"))
def test_stopped_while_a_command_runs(where: str, tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    stubborn = f"trap '' TERM; touch {tmp_path}/begun; sleep 3600 & sleep 3600; wait"
    with ModelServer(GOOD) as server:
        running = place.start(*JOB, where, stubborn, server=server)
        wait_until((tmp_path / "begun").exists)
        ran = stop(running, signal.SIGINT)  # the command is deaf, and would sleep on for an hour
    assert ran.code == ran.summary["exit_code"] == 130
    branches = place.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split()
    assert len(branches) == (4 if where == "--test-cmd" else 1)  # each task's is kept, and the user's
    assert_clean(ran, branches=tuple(branches))


@pytest.mark.thorough
@pytest.mark.parametrize("moment", [n / 10 for n in range(1, 45)] if SOAK else (0.4, 2.4))
def test_stopped_at_any_moment(moment: float, tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(GOOD, latency=1.0) as server:
        running = place.start(*JOB, server=server)
        time.sleep(moment)
        ran = stop(running, signal.SIGINT)
    begun = list((place.repo / ".aider_logs").glob("run_*.jsonl"))
    assert ran.code in ((0, 130) if begun else (130, -signal.SIGINT))
    if begun:
        assert ran.summary["exit_code"] == ran.code
    assert "Traceback" not in ran.err or not begun
    branches = place.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split()
    assert_clean(ran, branches=tuple(branches))


# --- killed ---------------------------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.cold
@pytest.mark.parametrize("words", ((), ("--no-fork-server",)) if SOAK else ((),))
def test_agents_do_not_outlive_the_orchestrator(words: tuple[str, ...], tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(two_are_quick) as server:
        running = half_way(place, server, *words)
        assert len(place.processes()) >= 2
        os.kill(running.child.pid, signal.SIGKILL)
        running.child.wait()
        wait_until(lambda: place.processes() == {}, what="all agents gone")
    assert place.head() == running.head_before
    assert place.status() == []
    with ModelServer(GOOD) as server:
        again = place.run(*JOB, server=server)
    assert again.code == 0, again.err
    assert set(again.changed()) == set(FILES)


def fork_servers(running: Running) -> Iterator[int]:
    return (pid for pid in descendants(running.child.pid) if b"--serve" in read_proc(Path(f"/proc/{pid}/cmdline")))


def fork_server(running: Running) -> int:
    return next(fork_servers(running))


def assert_crashed(ran: Ran, words: str) -> None:
    assert ran.code == 1
    record = next(agent for agent in ran.agents.values() if SLOW in agent["files"])
    assert record["verdict"] == "crashed"
    assert words in record["cause"]
    assert ran.changed() == dict.fromkeys(QUICK, (1, 0))
    assert_clean(ran)


@pytest.mark.thorough
@pytest.mark.cold
def test_the_fork_server_killed(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(two_are_quick) as server:
        running = half_way(place, server)
        os.kill(fork_server(running), signal.SIGKILL)
        ran = running.end()
    assert_crashed(ran, "SIGKILL")


@pytest.mark.soak
@pytest.mark.cold
def test_the_fork_server_killed_before_it_is_needed(tmp_path: Path) -> None:
    """Starting each Aider by itself is slower and just as right."""
    place = make_place(tmp_path, FILES)
    block = {"requirements": [], "contracts": [], "work": [{"file": path, "do": "Add."} for path in FILES]}
    text = f"# PRD\n\n```json\n{json.dumps(block)}\n```\n"
    killed = threading.Event()
    slowly: Respond = lambda request: Reply(text, until=killed.is_set)  # noqa: E731
    with ModelServer(lambda request: GOOD(request) if request.asks else slowly(request)) as server:
        running = place.start("--change", "Add a line", "--agents", "2", server=server)
        wait_until(lambda: server.count() == 1)
        server_pid = wait_until(lambda: next(fork_servers(running), None), "the fork server")
        os.kill(server_pid, signal.SIGKILL)
        killed.set()
        ran = running.end()
    assert ran.code == 0, ran.err
    assert set(ran.changed()) == set(FILES)
    assert_clean(ran, prd=True)


@pytest.mark.thorough
@pytest.mark.cold
@pytest.mark.parametrize("words", ((), ("--no-fork-server",)) if SOAK else ((),))
def test_one_agent_crashes(words: tuple[str, ...], tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(two_are_quick) as server:
        running = half_way(place, server, *words)
        agent = list(descendants(fork_server(running) if not words else running.child.pid))[-1]
        os.kill(agent, signal.SIGSEGV)
        ran = running.end()
    assert_crashed(ran, "SIGSEGV")
