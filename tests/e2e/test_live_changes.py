"""Changes of a run that goes on, from another terminal: its tasks, its pace, its budget; and what is refused."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orchestra.journal.open_store import OWN_REPOSITORY, open_store
from tests.e2e.test_screens import Held
from tests.support.edits import knows
from tests.support.load import wait_until
from tests.support.modelserver import ModelServer
from tests.support.runs import make_place

FILES = {f"part{n}.py": f"value = {n}\n" for n in range(1, 6)}
WANTED = {path: f"{text}more = True\n" for path, text in FILES.items()}
TASK = '\n[[task]]\nid = "{0}"\nbrief = "Add more."\nfiles = ["{1}"]\nneeds = {2}\n'
PLAN = 'goal = "Add more"\n' + "".join(
    TASK.format(id, path, json.dumps(needs))
    for id, path, needs in (("a", "part1.py", []), ("b", "part2.py", ["a"]), ("c", "part3.py", ["b"]))
)


@pytest.mark.thorough
def test_run_is_changed_while_it_goes_on(tmp_path: Path) -> None:
    place, model = make_place(tmp_path, FILES), Held(knows(WANTED, set()))
    place.write({".aider_logs/plans/three.toml": PLAN, ".aider_logs/.gitignore": "*\n"})
    with ModelServer(model) as server:
        running = place.start("execute", "three", server=server)
        wait_until(lambda: server.count() == 1, what="the first task at work")

        def steer(*words: str, refused: bool = False) -> str:
            done = place.run(words[0], "latest", *words[1:])
            assert done.code == refused, done.out + done.err
            return done.err.removeprefix("aider-orchestrator: ").strip() if refused else done.out.strip()

        # What is refused changes nothing.
        assert "Task 1 is active: only a task that has not begun" in steer("edit", "1", "--title", "x", refused=True)
        circle = "Task 2 cannot need task 3, because that is a circle: 2 needs 3 needs 2."
        assert steer("edit", "2", "--link", "3", refused=True) == circle
        assert "There is no task 9" in steer("edit", "3", "--link", "9", refused=True)
        shared = steer("add", "Improve it", "--files", "part2.py", refused=True)
        assert shared == "part2.py is a file of task 2: link the new task to it."
        assert "../x" in steer("add", "Improve it", "--files", "../x", refused=True)
        assert "not paused" in steer("unpause", refused=True)
        assert "must be dollars above 0" in steer("budget", "-1", refused=True)

        assert steer("add", "Add more to part4", "--files", "part4.py", "--link", "1") == (
            "Task 4 is added: Add more to part4."
        )
        # Two tasks with the same file stay in order, also if the link between them goes through a third one.
        assert steer("add", "Add to part2", "--files", "part2.py", "--link", "3") == "Task 5 is added: Add to part2."
        parted = "part2.py is a file of task 2: link task 5 to it."
        assert steer("edit", "5", "--unlink", "3", refused=True) == parted
        parted = "part2.py is a file of tasks 2 and 5, which must not run at once."
        assert steer("edit", "3", "--unlink", "2", refused=True) == parted
        assert steer("edit", "5", "--abandon") == "Task 5 is abandoned."
        assert steer("replan") == "Nothing changes: the tasks that have not begun wait for the right ones."

        assert steer("edit", "3", "--link", "1", "--unlink", "2", "--title", "The third") == (
            "Task 3 is changed: title, link, unlink."
        )
        assert steer("edit", "2", "--brief", "Add more, please.", "--priority", "low") == (
            "Task 2 is changed: brief, priority."
        )
        assert steer("budget", "5").startswith("The budget is $5.00; ")
        assert steer("pause") == "The run is paused: no attempt begins until `unpause`; 1 still running."
        assert "paused already" in steer("pause", refused=True)

        model.release = True
        log = next((place.repo / ".aider_logs").glob("agent1_*.jsonl"))
        wait_until(lambda: '"attempt_ended"' in log.read_text())
        status = json.loads(place.run("status", "--json").out)
        assert status["paused"] and status["limits"]["budget"] == 5
        assert "It is paused: `unpause` lets it go on." in place.run("status").out
        # The tasks that could go on have not begun: one of them can still be given up.
        assert steer("edit", "2", "--abandon") == "Task 2 is abandoned."
        assert server.count() == 1
        assert steer("unpause") == "The run goes on."
        ran = running.end()
        again = place.run("resume", server=server)
    assert ran.code == again.code == 1, ran.out + ran.err
    assert [agent["state"] for agent in ran.agents.values()] == [
        *("complete", "abandoned", "complete", "complete", "abandoned")
    ]
    changed = {path: (place.repo / path).read_text() for path in FILES}
    assert changed == FILES | {path: WANTED[path] for path in ("part1.py", "part3.py", "part4.py")}
    briefs = [request.brief for request in server.requests]
    assert sorted("Add more to part4" in brief for brief in briefs) == [False, False, True]
    # A resumed run knows what was changed, and pays for nothing again.
    assert server.count() == 3 and again.summary["limits"]["budget"] == 5


@pytest.mark.thorough
def test_changes_that_come_together_do_not_stop_the_run(tmp_path: Path) -> None:
    """The first one starts the task, and the next one takes it back before its first step."""
    place, model = make_place(tmp_path, FILES), Held(knows(WANTED, set()))
    place.write({".aider_logs/plans/three.toml": PLAN, ".aider_logs/.gitignore": "*\n"})
    with ModelServer(model) as server:
        running = place.start("execute", "three", server=server)
        wait_until(lambda: server.count() == 1, what="the first task at work")
        log = next((place.repo / ".aider_logs").glob("run_*.jsonl"))
        stamp = log.stem.removeprefix("run_")
        with closing(open_store(place.repo / ".aider_logs" / "orchestra.db")) as store:
            changes: list[dict[str, Any]] = [{"unlink": [1]}, *({"title": f"Number {number}"} for number in range(9))]
            for change in changes:
                store.post_command(OWN_REPOSITORY, stamp, "edit", 2, change)

        def answers() -> int:
            return sum(each.read_text().count('"event": "command"') for each in log.parent.glob("*.jsonl"))

        wait_until(lambda: answers() == 10, what="all answers")
        model.release = True
        ran = running.end()
    assert ran.code == 0, ran.out + ran.err
    assert server.count() == 3


@pytest.mark.thorough
def test_replan_links_by_imports_and_frees_tasks_of_abandoned_ones(tmp_path: Path) -> None:
    files = FILES | {"part4.py": "import part5\n"}
    needs: dict[str, list[str]] = {"a": [], "b": ["a"], "c": ["b"], "d": ["a"], "e": ["a"]}
    tasks = "".join(TASK.format(id, f"part{n}.py", json.dumps(ids)) for n, (id, ids) in enumerate(needs.items(), 1))
    place, model = make_place(tmp_path, files), Held(knows({path: f"{files[path]}more = 1\n" for path in files}, set()))
    place.write({".aider_logs/plans/five.toml": f'goal = "Add more"\n{tasks}', ".aider_logs/.gitignore": "*\n"})
    with ModelServer(model) as server:
        running = place.start("execute", "five", server=server)
        wait_until(lambda: server.count() == 1, what="the first task at work")
        abandoned = place.run("edit", "latest", "2", "--abandon").out.strip()
        assert abandoned == "Task 2 is abandoned. Task 3 cannot begin without it: `replan`, or `edit --unlink 2`."
        replanned = place.run("replan", "latest").out.strip()
        assert replanned == "Task 3 begins after task 1. Task 4 begins after task 1 and task 5."
        model.release = True
        ran = running.end()
    assert [agent["state"] for agent in ran.agents.values()] == ["complete", "abandoned", *["complete"] * 3]
    assert sum("more = 1" in (place.repo / path).read_text() for path in files) == 4
