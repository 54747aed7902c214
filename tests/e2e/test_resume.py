"""A run that dies anywhere is taken up again: the same tree in the end, and no reply paid for twice."""

import collections
import json
import os
import random
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from orchestra.conduct.core.locations import store_key
from orchestra.journal import jsonl
from orchestra.journal.open_store import open_store
from orchestra.report.fold import fold_events
from orchestra.settings import Settings
from tests.support.databases import database
from tests.support.edits import gemini_prd, knows
from tests.support.load import wait_until, within
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place, Ran, assert_clean, descendants, make_place
from tests.support.sample import SOAK
from tests.support.shell import Shell, shell

__all__ = ["shell"]

KILLER = Path(__file__).resolve().parents[1] / "support" / "killed_at.py"
KINDS = (
    *("run_started", "prd_asked", "request", "prd_written", "plan_made", "gates_found", "task_moved"),
    *("attempt_started", "assistant_response", "conversation", "attempt_ended", "branch_kept", "task_integrated"),
    *("combined", "gate_started", "gate_ended", "tests_judged", "delivered", "run_ended"),
)
SOME = ("prd_asked", "request", "plan_made", "attempt_ended", "task_integrated", "gate_started", "delivered")
FILES = {f"part{n}.py": f"value = {n}\n" for n in range(4)}
WANTED = {path: f"{text}more = True\n" for path, text in FILES.items()}
PRD = """# More

```json
{"requirements": [{"id": "R1", "text": "There is more."}],
 "work": [{"file": "part0.py", "do": "more"}, {"file": "part1.py", "do": "more"},
          {"file": "part2.py", "do": "more"}, {"file": "part3.py", "do": "more"}]}
```
"""
WORDS = ("--change", "Add more", "--agents", "3", "--test-cmd", "grep -q more part0.py && sleep 0.2")


def killed(place: Place, server: ModelServer, kind: str, *words: str) -> None:
    shell = f'python=$1; shift 2; exec "$python" "{KILLER}" {kind} 1 "$@"'
    child = place.start(*WORDS, *words, server=server, shell=shell).child
    assert child.wait(within()) == -9, f"never came to {kind}"
    wait_until(lambda: place.processes() == {}, what="no orphan")


def prompts(server: ModelServer) -> collections.Counter[str]:
    return collections.Counter(json.dumps([request.path, request.body], sort_keys=True) for request in server.requests)


def journaled(place: Place) -> int:
    """Replies that the run had written down when it died."""
    lines = [line for path in (place.repo / ".aider_logs").glob("*.jsonl") for line in path.read_text().splitlines()]
    events = [json.loads(line) for line in lines if line.endswith("}")]
    replies = [event["data"] for event in events if event["event"] == "request" and not event["data"]["failure"]]
    # One that was given again by a resumed run was written down before.
    return sum(not reply["recalled"] for reply in replies)


def assert_as_if_undisturbed(
    place: Place, resumed: Ran, server: ModelServer, kept: int, asked: int, url: str = ""
) -> None:
    assert resumed.code == 0, resumed.out + resumed.err
    assert {path: (place.repo / path).read_text() for path in WANTED} == WANTED
    assert place.git("status", "--porcelain", "--untracked-files=no") == ""
    assert_clean(resumed, prd=len(resumed.before) == 0)
    assert resumed.summary["successful_agents"] == 3
    # Every prompt has its reply; what was journaled is not asked for again, what was only on its way may be.
    assert len(prompts(server)) == 4
    assert server.count() - asked == 4 - kept
    assert resumed.summary["usage"]["replies"] == 4
    assert_same_in_store(place, resumed.summary["timestamp"], url)


def assert_same_in_store(place: Place, stamp: str, url: str) -> None:
    logs = place.repo / ".aider_logs"
    store = open_store(url or logs / "orchestra.db")
    kept = store.read_events(store_key(Settings(store=url), place.repo), stamp)
    store.close()
    assert kept == list(jsonl.read_run_log(logs, stamp).events)
    assert fold_events(kept) == fold_events(jsonl.read_run_log(logs, stamp).events)


@pytest.mark.thorough(but="gate_started")
@pytest.mark.parametrize("kind", KINDS if SOAK else SOME)
def test_killed_at_each_kind_of_event(tmp_path: Path, kind: str) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(gemini_prd(PRD, knows(WANTED, set()))) as server:
        killed(place, server, kind)
        kept, asked = journaled(place), server.count()
        resumed = place.run("resume", server=server)
        assert_as_if_undisturbed(place, resumed, server, kept, asked)
        if kind in ("delivered", "run_ended"):
            # What had passed on this tree is not run again.
            events = jsonl.read_run_log(resumed.logs, resumed.summary["timestamp"]).events
            started = [event for event in events if event.kind == "gate_started" and event.data["name"] == "tests"]
            assert len(started) == 1


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS if SOAK else ["request"])
@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
def test_killed_with_its_events_on_a_server(tmp_path: Path, engine: str, kind: str) -> None:
    place = make_place(tmp_path, FILES)
    with database(engine, tmp_path) as base, ModelServer(gemini_prd(PRD, knows(WANTED, set()))) as server:
        url = str(base.where)
        killed(place, server, kind, "--store", url)
        kept, asked = journaled(place), server.count()
        resumed = place.run("resume", "--store", url, server=server)
        assert_as_if_undisturbed(place, resumed, server, kept, asked, url)


@pytest.mark.soak
@pytest.mark.cold
@pytest.mark.parametrize("whom", ["the fork server", "one agent", "every agent"] if SOAK else ["the fork server"])
def test_its_helpers_are_killed(tmp_path: Path, whom: str) -> None:
    """The run goes on with whom is left, and what they had not finished is done by `resume`."""
    place = make_place(tmp_path, FILES)
    good, killed = gemini_prd(PRD, knows(WANTED, set())), threading.Event()

    def respond(request: Request) -> Reply:
        return replace(good(request), until=killed.is_set if request.asks else None)

    with ModelServer(respond) as server:
        running = place.start(*WORDS, server=server)
        wait_until(lambda: server.count() == 4, what="agents at work")
        fork_server, *agents = descendants(running.child.pid)
        assert len(agents) == 3
        victims = {"the fork server": [fork_server], "one agent": agents[:1], "every agent": agents}[whom]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        killed.set()
        first = running.end()
        assert set(first.verdicts) <= {"applied", "crashed"} and "crashed" in first.verdicts, first.verdicts
        assert place.processes() == {}
        kept, asked = journaled(place), server.count()
        resumed = place.run("resume", server=server)
        assert_as_if_undisturbed(place, resumed, server, kept, asked)


@pytest.mark.soak
@pytest.mark.parametrize("engine", ["sqlite", "postgresql", "mariadb"])
@pytest.mark.parametrize("seed", range(34))
def test_killed_at_any_moment_again_and_again(tmp_path: Path, seed: int, engine: str) -> None:
    with database(engine, tmp_path) as base:
        url = "" if engine == "sqlite" else str(base.where)
        kill_again_and_again(make_place(tmp_path, FILES), random.Random(f"{seed} {engine}"), url)


def begun(place: Place) -> bool:
    """Whether there is a run to take up: one that was killed before its first word has nothing to go on from."""
    return any('"run_started"' in log.read_text() for log in (place.repo / ".aider_logs").glob("run_*.jsonl"))


def kill_again_and_again(place: Place, rng: random.Random, url: str) -> None:
    where = ("--store", url) if url else ()
    with ModelServer(gemini_prd(PRD, knows(WANTED, set())), latency=0.3) as server:
        first = True
        for _ in range(rng.randint(1, 3)):
            running = place.start(*(WORDS if first else ("resume",)), *where, server=server)
            try:
                running.child.wait(rng.uniform(0.6, 5.0))
                break
            except TimeoutError:
                pass
            except Exception:
                running.child.kill()
                running.child.wait()
                wait_until(lambda: place.processes() == {}, what="no orphan")
            first = first and not begun(place)
        kept, asked = journaled(place), server.count()
        resumed = place.run(*(WORDS if first else ("resume",)), *where, server=server)
        assert_as_if_undisturbed(place, resumed, server, kept, asked, url)


@pytest.mark.thorough
def test_a_failed_task_is_tried_again_and_the_others_stay(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    good, broken = knows(WANTED, set()), {"on": True}

    def respond(request: Request) -> Reply:
        refuse = broken["on"] and "part1.py" in request.files
        return Reply("Wrong key", status=401) if refuse else good(request)

    with ModelServer(respond) as server:
        first = place.run("--change", "Add more", "--agents", "4", "--no-prd", "--files", *FILES, server=server)
        assert first.code == 1 and first.summary["successful_agents"] == 3
        broken["on"] = False
        server.reset()
        again = place.run("resume", server=server)
        assert again.code == 0, again.out + again.err
        assert server.count() == 1
    assert {path: (place.repo / path).read_text() for path in WANTED} == WANTED
    assert again.summary["agents"]["agent2"]["attempts"] == 2
    assert again.summary["files"].keys() == WANTED.keys()
    assert_clean(again)


@pytest.mark.thorough
def test_a_reply_before_a_failure_is_not_paid_for_again(tmp_path: Path) -> None:
    """The first reply does not fit, the second request fails: the resumed run asks only the second again."""
    place = make_place(tmp_path, {"one.py": "a = 1\n"})
    good, broken = knows({"one.py": "a = 2\n"}, set()), {"on": True}

    def respond(request: Request) -> Reply:
        if len(request.messages) < 3 or "failed to match" not in request.brief:
            return Reply("one.py\n```\n<<<<<<< SEARCH\nnot there\n=======\na = 2\n>>>>>>> REPLACE\n```\n")
        return Reply("No", status=401) if broken["on"] else good(request)

    with ModelServer(respond) as server:
        first = place.run("--change", "Two", "--no-prd", "--files", "one.py", server=server)
        assert (first.code, server.count()) == (4, 2)
        broken["on"] = False
        server.reset()
        again = place.run("resume", server=server)
        assert (again.code, server.count()) == (0, 1), again.out + again.err
    assert (place.repo / "one.py").read_text() == "a = 2\n"


@pytest.mark.thorough
def test_stopped_by_a_signal_and_resumed(tmp_path: Path) -> None:
    place, stopped, good = make_place(tmp_path, FILES), threading.Event(), knows(WANTED, set())
    with ModelServer(lambda request: replace(good(request), until=stopped.is_set)) as server:
        running = place.start("--change", "More", "--agents", "2", "--no-prd", "--files", *FILES, server=server)
        wait_until(lambda: server.count() >= 1, what="agents at work")
        running.child.terminate()
        assert running.end().code == 143
        stopped.set()
        again = place.run("resume", server=server)
    assert again.code == 0, again.out + again.err
    assert {path: (place.repo / path).read_text() for path in WANTED} == WANTED
    assert_clean(again)


@pytest.mark.thorough
def test_runs_and_status_tell_of_a_run_from_the_store(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(knows(WANTED, set())) as server:
        ran = place.run("--change", "More of it", "--agents", "2", "--no-prd", "--files", *FILES, server=server)
    stamp = ran.summary["timestamp"]
    assert place.run("runs").out.startswith(f"{stamp}  exit 0  ")
    assert "\nAll 2 tasks are complete; 4 files changed on main" in place.run("status").out
    assert place.run("status", "20000101_000000").code == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(("resume",), "there are no runs"), (("resume", "20200101_000000"), "there are no runs")],
)
def test_resume_says_that_there_are_no_runs(shell: Shell, words: tuple[str, ...], sentence: str) -> None:
    said = shell.run(*words)
    assert said.code == 2 and sentence in said.err
