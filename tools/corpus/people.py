"""Scenarios of people: who decide about tasks that wait for them, and who steer a run from another terminal."""

import os
import signal
from pathlib import Path

from orchestra.journal.open_store import open_store
from tests.support.edits import knows
from tests.support.load import wait_until
from tests.support.modelserver import ModelServer, Reply, Request
from tools.corpus.stage import COLD, Stage, scenario

FILES = {f"part{n}.py": f"value = {n}\n" for n in (1, 2)}
WANTED = {path: f"{text}more = True\n" for path, text in FILES.items()}
JOB = ("--change", "Add more", "--agents", "2", "--no-prd", "--files", *FILES, "--ask", "always")
GOOD = knows(WANTED, set())
HELP = "say the magic word"


def helpless(request: Request) -> Reply:
    """Does part2 only for who has the hint."""
    return GOOD(request) if "part2.py" not in request.files or HELP in request.text else Reply("I cannot do that.")


def waiting(stage: Stage, server: ModelServer) -> tuple[str, str]:
    """A run that has ended and of which one task waits for a person: its name, and the task."""
    stage.begin(FILES)
    stage.run(*JOB, server=server)
    return stage.stamp, stage.task_of("part2.py")


@scenario
def person_retries(stage: Stage) -> None:
    with ModelServer(helpless) as server:
        stage.run("resolve", *waiting(stage, server), "--retry", HELP, server=server)


@scenario
def person_edits_the_brief(stage: Stage) -> None:
    with ModelServer(helpless) as server:
        run = waiting(stage, server)
        (stage.home / "brief.txt").write_text(f"Add `more = True` to part2.py ({HELP}).\n")
        stage.run("resolve", *run, "--edit-brief", str(stage.home / "brief.txt"), server=server)


@scenario
def person_abandons(stage: Stage) -> None:
    with ModelServer(helpless) as server:
        run = waiting(stage, server)
        stage.run("resolve", *run, "--abandon", server=server)
        stage.run("resolve", *run, "--retry", "too late", server=server)


@scenario
def person_spawns_a_task(stage: Stage) -> None:
    with ModelServer(helpless) as server:
        stage.run("resolve", *waiting(stage, server), "--spawn", f"Add more to part2.py, {HELP}", server=server)


@scenario
def person_does_it(stage: Stage) -> None:
    with ModelServer(helpless) as server:
        run = waiting(stage, server)
        stage.run("resolve", *run, "--take", server=server)
        (tree,) = (stage.logs / "by-hand").iterdir()
        (tree / "part2.py").write_text(WANTED["part2.py"])
        stage.run("resolve", *run, "--take", server=server)


class Slow:
    """Whoever asks for one of these files waits."""

    def __init__(self, *paths: str) -> None:
        self.paths = set(paths)

    def __call__(self, request: Request) -> Reply:
        reply = helpless(request)
        return Reply(reply.text, latency=120.0 if self.paths & request.files.keys() else 0.0)


@scenario
def person_retries_meanwhile(stage: Stage) -> None:
    """While the run goes on; decisions that make no sense are refused."""
    stage.begin(FILES)
    slow = lambda request: Reply(helpless(request).text, latency=8.0 if "part1.py" in request.files else 0.0)  # noqa: E731
    with stage.playing(slow, *JOB):
        stage.wait_for("human_needed")
        run = stage.stamp, stage.task_of("part2.py")
        stage.run("resolve", run[0], stage.task_of("part1.py"), "--abandon")
        stage.run("resolve", run[0], "77", "--abandon")
        stage.run("resolve", *run, "--retry", HELP)


@scenario
def person_does_it_meanwhile(stage: Stage) -> None:
    stage.begin(FILES)
    slow = lambda request: Reply(helpless(request).text, latency=12.0 if "part1.py" in request.files else 0.0)  # noqa: E731
    with stage.playing(slow, *JOB):
        stage.wait_for("human_needed")
        run = stage.stamp, stage.task_of("part2.py")
        stage.run("resolve", *run, "--take")
        stage.wait_for("lent")
        tree: Path = wait_until(lambda: next(iter((stage.logs / "by-hand").glob("*/part2.py")), None))
        tree.write_text(WANTED["part2.py"])
        stage.run("resolve", *run, "--take")


@scenario
def person_changes_the_run(stage: Stage) -> None:
    """Its pace, its budget and its tasks, while the first two wait for their model."""
    stage.begin(FILES | {"part3.py": "value = 3\n"})
    slow = lambda request: Reply(GOOD(request).text, latency=0.0 if "part3.py" in request.files else 10.0)  # noqa: E731
    with stage.playing(slow, *JOB):
        stage.wait_for("attempt_started")
        run = stage.stamp
        stage.run("pause", run)
        stage.run("budget", run, "5")
        stage.run("add", run, "Add more to part3.py", "--files", "part3.py", "--link", "1")
        stage.run("edit", run, "3", "--title", "The third", "--priority", "high", "--link", "2")
        stage.run("edit", run, "3", "--abandon")
        stage.run("unpause", run)


@scenario
def interrupted_for_a_person(stage: Stage) -> None:
    stage.begin(FILES)
    with ModelServer(Slow("part2.py")) as server:
        running = stage.start(*JOB[:-2], server=server)
        running.server = server
        running.wait_for_requests(2)
        stage.run("interrupt", stage.stamp, stage.task_of("part2.py"))
        running.end()
        stage.run("resume", stage.stamp, server=server)


# --- from another terminal ------------------------------------------------------------------------------------------


@scenario
def cancelled_and_resumed(stage: Stage) -> None:
    stage.begin(FILES)
    slow = Slow("part2.py")
    with ModelServer(slow) as server:
        running = stage.start(*JOB[:-2], server=server)
        stage.wait_for("attempt_ended")
        running.server = server
        running.wait_for_requests(2)
        stage.run("cancel", stage.stamp)
        running.end()
    stage.play(GOOD, "resume")


@scenario
def task_cancelled_and_retried(stage: Stage) -> None:
    stage.begin(FILES)
    slow = Slow(*FILES)
    with ModelServer(slow) as server:
        running = stage.start(*JOB[:-2], server=server)
        running.server = server
        running.wait_for_requests(2)
        stamp = stage.stamp
        stage.run("retry", stamp, "1")
        stage.run("cancel", stamp, "9")
        stage.run("cancel", stamp, "agent2")
        stage.wait_for("attempt_ended", verdict="cancelled")
        stage.run("cancel", stamp, "1")
        running.end()
    with ModelServer(GOOD) as server:
        stage.run("retry", stamp, "2", server=server)
        stage.run("restart", stamp, server=server)


@scenario
def task_retried_meanwhile(stage: Stage) -> None:
    stage.begin(FILES)
    slow = Slow(*FILES)
    with stage.playing(slow, *JOB[:-2]) as running:
        running.wait_for_requests(2)
        stamp = stage.stamp
        stage.run("cancel", stamp, "1")
        stage.wait_for("task_moved", state="failed")
        slow.paths = {"part2.py"}
        stage.run("retry", stamp, "1")
        stage.wait_for("attempt_ended", verdict="applied")
        stage.run("cancel", stamp, "2")


@scenario
def hangs_and_is_killed_by_cancel(stage: Stage) -> None:
    stage.begin(FILES)
    with ModelServer(Slow(*FILES)) as server:
        running = stage.start(*JOB[:-2], server=server, **COLD)  # type: ignore[arg-type]
        running.server = server
        running.wait_for_requests(2)
        running.child.send_signal(signal.SIGSTOP)
        stage.run("cancel", stage.stamp)
        running.kill()


@scenario
def file_of_another_run(stage: Stage) -> None:
    """A second run that wants a file of one that is at work."""
    stage.begin(FILES)
    with ModelServer(Slow(*FILES)) as server:
        running = stage.start(*JOB[:-2], server=server)
        running.server = server
        running.wait_for_requests(2)
        stage.run("--change", "Me too", "--no-prd", "--files", "part2.py", server=server)
        os.killpg(running.child.pid, signal.SIGTERM)
        running.end()


@scenario
def command_that_is_unknown(stage: Stage) -> None:
    """From a newer version, by the store."""
    stage.begin(FILES)
    with stage.playing(Slow(*FILES), *JOB[:-2]) as running:
        running.wait_for_requests(2)
        store = open_store(stage.logs / "orchestra.db")
        store.post_command(".", stage.stamp, "dance", None, {"token": "t"})
        store.close()
        stage.wait_for("command", name="dance")
        running.signal(signal.SIGINT)
