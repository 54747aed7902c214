"""A run and other terminals: one owner, files that only one run works on, and cancel, retry, restart from outside."""

import os
import signal
from pathlib import Path

import pytest

from orchestra.journal.open_store import open_store
from orchestra.journal.ownership import try_acquire_run
from tests.support.edits import knows
from tests.support.load import NEVER, wait_until, within
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place, Running, assert_clean, descendants, make_place
from tests.support.shell import Shell, shell

__all__ = ["shell"]

FILES = {f"part{n}.py": f"value = {n}\n" for n in range(1, 4)}
WANTED = {path: f"{text}more = True\n" for path, text in FILES.items()}
JOB = ("--change", "Add more", "--agents", "3", "--no-prd", "--files", *FILES)


class Script:
    """Knows what is wanted; whoever asks for one of the `slow` files waits."""

    def __init__(self) -> None:
        self.slow: set[str] = set(FILES)
        self.good = knows(WANTED, set())

    def __call__(self, request: Request) -> Reply:
        reply = self.good(request)
        return Reply(reply.text, latency=NEVER if self.slow & request.files.keys() else 0.05)


def at_work(place: Place, server: ModelServer, *words: str) -> tuple[Running, str]:
    """A run whose agents all wait for their model, and its name."""
    before = server.count()
    running = place.start(*(words or JOB), server=server)
    wait_until(lambda: server.count() - before >= 3, what="agents at work")
    (log,) = (place.repo / ".aider_logs").glob("run_*.jsonl")
    return running, log.stem.removeprefix("run_")


def in_place(place: Place) -> dict[str, str]:
    return {path: (place.repo / path).read_text() for path in WANTED}


@pytest.mark.thorough
@pytest.mark.cold
def test_cancel_from_another_terminal_ends_every_process_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    place, script = make_place(tmp_path, FILES), Script()
    script.slow = {"part3.py"}
    with ModelServer(script) as server:
        running, stamp = at_work(place, server)
        tree = [running.child.pid, *descendants(running.child.pid)]
        assert len(tree) > 2
        asked = place.run("cancel", stamp)
        assert asked.code == 0, asked.err
        assert f"Run {stamp} has stopped" in asked.out
        ran = running.end()
        assert not any(Path(f"/proc/{pid}").exists() for pid in tree[1:])
        assert (ran.code, place.processes()) == (143, {})
        assert "Stopped by `cancel`" in ran.out
        assert sorted(ran.verdicts) == ["applied", "applied", "cancelled"]
        script.slow = set()
        again = place.run("resume", stamp, server=server)
        assert again.code == 0, again.out + again.err
        assert server.count() == 4
    assert in_place(place) == WANTED
    assert_clean(again)


def test_one_task_is_cancelled_and_the_others_go_on(tmp_path: Path) -> None:
    place, script = make_place(tmp_path, FILES), Script()
    with ModelServer(script) as server:
        running, stamp = at_work(place, server)
        told = place.run("cancel", stamp, "agent2")
        assert (told.code, told.out) == (0, "Task 2 is being stopped; other tasks go on.\n")
        wait_until(lambda: '"verdict": "cancelled"' in (place.repo / f".aider_logs/agent2_{stamp}.jsonl").read_text())
        assert running.child.poll() is None
        script.slow = set()
        for task in ("1", "3"):
            place.run("cancel", stamp, task)
        ran = running.end()
        assert ran.code == 1 and ran.verdicts == ["cancelled"] * 3
        assert f"retry {stamp} 2" in ran.out

        one = place.run("retry", stamp, "2", server=server)
        assert one.code == 1, one.out + one.err
        assert one.verdicts == ["cancelled", "applied", "cancelled"]
        assert in_place(place) == FILES | {"part2.py": WANTED["part2.py"]}
        assert place.run("retry", stamp, "2", server=server).code == 2
        rest = place.run("resume", server=server)
    assert rest.code == 0, rest.out + rest.err
    assert in_place(place) == WANTED
    assert_clean(rest)


@pytest.mark.thorough
def test_a_task_is_retried_while_the_run_is_under_way(tmp_path: Path) -> None:
    place, script = make_place(tmp_path, FILES), Script()
    with ModelServer(script) as server:
        running, stamp = at_work(place, server)
        early = place.run("retry", stamp, "1")
        assert (early.code, early.out) == (1, "") and "only a failed" in early.err
        idle = place.run("cancel", stamp, "9")
        assert (idle.code, idle.out) == (1, "") and "Task 9 is not running" in idle.err
        assert place.run("cancel", stamp, "1").code == 0
        script.slow = {"part2.py", "part3.py"}
        wait_until(lambda: '"state": "failed"' in (place.repo / f".aider_logs/agent1_{stamp}.jsonl").read_text())
        assert place.run("retry", stamp, "1").out == "Task 1 is tried again.\n"
        wait_until(lambda: '"verdict": "applied"' in (place.repo / f".aider_logs/agent1_{stamp}.jsonl").read_text())
        for task in ("2", "3"):
            place.run("cancel", stamp, task)
        ran = running.end()
    assert ran.verdicts == ["applied", "cancelled", "cancelled"] and ran.agents["agent1"]["attempts"] == 2
    assert in_place(place) == FILES | {"part1.py": WANTED["part1.py"]}


@pytest.mark.thorough
def test_a_restarted_run_is_a_new_one(tmp_path: Path) -> None:
    place, script = make_place(tmp_path, FILES), Script()
    script.slow = set()
    with ModelServer(script) as server:
        first = place.run(*JOB, "--no-apply", server=server)
        stamp = first.summary["timestamp"]
        again = place.run("restart", stamp, server=server)
        assert again.code == 0, again.out + again.err
        assert server.count() == 6 and again.summary["timestamp"] != stamp
    assert place.run("restart", "never", server=server).code == 2


@pytest.mark.thorough
def test_only_one_orchestrator_conducts_a_run_and_only_one_run_a_file(tmp_path: Path) -> None:
    place, script = make_place(tmp_path, {**FILES, "other.py": "a = 1\n"}), Script()
    with ModelServer(script) as server:
        running, stamp = at_work(place, server)
        second = place.run("resume", stamp, server=server)
        assert second.code == 2
        assert f"pid {running.child.pid} on" in second.err and f"is at work on run {stamp}" in second.err

        same_file = place.run("--change", "Me too", "--no-prd", "--files", "part2.py", server=server)
        assert same_file.code == 2, same_file.out
        assert f"run {stamp} (pid {running.child.pid} on" in same_file.out and "is at work on part2.py" in same_file.out
        assert server.count() == 3

        running.child.kill()
        running.child.wait()
        wait_until(lambda: place.processes() == {}, what="no orphan")
        script.slow = set()
        # The dead one's claim and leases do not outlive it here, where one can see that it is dead.
        freed = place.run("--change", "Add more", "--no-prd", "--files", "part2.py", server=server)
        assert freed.code == 0, freed.out + freed.err
    assert in_place(place) == FILES | {"part2.py": WANTED["part2.py"]}


@pytest.mark.thorough
def test_a_run_of_another_machine_is_left_alone_until_its_time_is_up(tmp_path: Path) -> None:
    place, script = make_place(tmp_path, FILES), Script()
    with ModelServer(script) as server:
        running, stamp = at_work(place, server)
        os.killpg(running.child.pid, signal.SIGTERM)
        running.end()
        store = open_store(place.repo / ".aider_logs" / "orchestra.db")

        def owns(milliseconds: int) -> object:
            return store.acquire_run(".", stamp, "4711-x", "elsewhere/0", 4711, milliseconds)

        assert owns(3_600_000) is None
        refused = place.run("resume", stamp, server=server)
        assert refused.code == 2 and "pid 4711 on elsewhere is at work" in refused.err
        assert "pid 4711 on elsewhere" in place.run("cancel", stamp).err
        script.slow = set()
        assert owns(500) is None
        wait_until(lambda: store.run_owner(".", stamp) is None)
        store.close()
        assert place.run("resume", stamp, server=server).code == 0
    assert in_place(place) == WANTED


@pytest.mark.thorough
def test_a_run_that_was_taken_over_stops_and_writes_no_more(tmp_path: Path) -> None:
    """As after a laptop has slept, while another one with the same store has taken the run up."""
    place, script = make_place(tmp_path, FILES), Script()
    with ModelServer(script) as server:
        running, stamp = at_work(place, server)
        running.child.send_signal(signal.SIGSTOP)
        store = open_store(place.repo / ".aider_logs" / "orchestra.db")
        wait_until(lambda: try_acquire_run(store, ".", stamp, "test", 15.0) is None)
        written = len(store.read_events(".", stamp))
        running.child.send_signal(signal.SIGCONT)
        ran = running.end()
        assert ran.code == 2 and f"another process has taken over run {stamp}" in ran.err
        lines = [line for path in ran.logs.glob("*.jsonl") for line in path.read_text().splitlines()]
        assert len(lines) == len(store.read_events(".", stamp)) == written
        store.close()
        assert place.processes() == {}


@pytest.mark.thorough
@pytest.mark.cold
def test_an_orchestrator_that_hangs_is_killed_by_cancel(tmp_path: Path) -> None:
    place, script = make_place(tmp_path, FILES), Script()
    with ModelServer(script) as server:
        running, stamp = at_work(place, server)
        running.child.send_signal(signal.SIGSTOP)
        asked = place.run("cancel", stamp)
        assert asked.code == 0 and "did not answer and was killed" in asked.out, asked.err
        assert running.child.wait(within()) == -signal.SIGKILL
        wait_until(lambda: place.processes() == {}, what="no orphan")
        script.slow = set()
        assert place.run("resume", stamp, server=server).code == 0
    assert in_place(place) == WANTED


@pytest.mark.thorough
def test_a_cancel_that_came_too_late_does_not_stop_the_next_one(tmp_path: Path) -> None:
    place, script = make_place(tmp_path, FILES), Script()
    with ModelServer(script) as server:
        running, stamp = at_work(place, server)
        os.killpg(running.child.pid, signal.SIGTERM)
        running.end()
        store = open_store(place.repo / ".aider_logs" / "orchestra.db")
        store.post_command(".", stamp, "cancel")
        store.close()
        assert "no process works on run" in place.run("cancel", stamp).err
        script.slow = set()
        assert place.run("resume", stamp, server=server).code == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("cancel",), "arguments are required: RUN"),
        (("cancel", "20200101_000000"), "there are no runs"),
        (("retry", "20200101_000000"), "retry RUN TASK"),
        (("retry", "20200101_000000", "x"), "'x' is not a task"),
        (("restart",), "restart RUN"),
    ],
)
def test_steering_commands_refuse_words_that_they_do_not_understand(
    shell: Shell, words: tuple[str, ...], sentence: str
) -> None:
    said = shell.run(*words)
    assert said.code == 2 and sentence in said.err and "Traceback" not in said.err


@pytest.mark.thorough
def test_the_conversation_of_every_attempt_is_kept(tmp_path: Path) -> None:
    from orchestra.answers.conversation import unpack_turns
    from orchestra.events import Conversation
    from orchestra.journal import jsonl

    place, script = make_place(tmp_path, FILES), Script()
    script.slow = set()
    with ModelServer(script) as server:
        ran = place.run(*JOB, server=server)
    kept = [
        event for event in jsonl.read_run_log(ran.logs, ran.summary["timestamp"]).events if event.kind == "conversation"
    ]
    assert sorted(event.task or 0 for event in kept) == [1, 2, 3]
    for event in kept:
        assert isinstance(event.payload, Conversation)
        (turn,) = unpack_turns(event.payload)
        assert "Add more" in "".join(text for _, text in turn.asked) and "more = True" in turn.said
