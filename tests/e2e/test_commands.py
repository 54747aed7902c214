"""The commands that look at a run, and take it elsewhere, on a real one: two tasks good, one not, the result aside."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from orchestra.answers.conversation import Turn, pack_turns
from orchestra.events import event_record, make_event, to_json_value
from orchestra.journal import jsonl
from tests.support.edits import appends, search_replace
from tests.support.load import within
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import PROGRAM, Place, Ran, make_place
from tests.support.shell import Said, Shell

FILES = {f"f{n}.py": f"x = {n}\n" for n in range(3)}
RED = "\x1b[31mred\x1b]0;title\x07\u202e\x9b2J"
GOOD = appends("# hi")


def respond(request: Request) -> Reply:
    """The third agent's second block fits nowhere: what the first one did is kept as a patch."""
    said = GOOD(request)
    if "f2.py" not in request.files:
        return Reply(said.text + RED)
    return Reply(said.text + search_replace("f2.py", f"nowhere {RED}\n", "new\n"))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    place = make_place(tmp_path_factory.mktemp("real"), FILES)
    with ModelServer(respond) as server:
        words = ("--change", f"Add a line {RED}", "--no-prd", "--files", *FILES, "--agents", "3", "--no-apply")
        ran = place.run(*words, "--test-cmd", "true", server=server)
    assert ran.code == 1, ran.err
    assert sorted(ran.verdicts) == ["applied", "applied", "rejected_edit"]
    return ran


@dataclass(frozen=True)
class Copy(Shell):
    """A copy of the real run's repository, to do with as one likes."""

    stamp: str = ""

    def told(self, *words: str) -> str:
        said = self.run(*words)
        assert (said.code, said.err) == (0, ""), said
        return said.out

    def json(self, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.told(*words))
        return found

    def elsewhere(self, place: Place) -> "Copy":
        self.patch.chdir(place.repo)
        return replace(self, place=place)


@pytest.fixture
def copy(
    real: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Copy]:
    place = Place(tmp_path / "repo", tmp_path / "home", tmp_path / "tmp")
    for path in (place.home, place.tmp):
        path.mkdir()
    shutil.copytree(real.place.repo, place.repo)
    for name in [name for name in os.environ if name.startswith("ORCHESTRA_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(place.repo)
    yield Copy(place, tmp_path, monkeypatch, capsys, real.summary["timestamp"])


# --- looking --------------------------------------------------------------------------------------------------------


def test_status_shows_summary_and_run_owner(real: Ran, copy: Copy) -> None:
    found = copy.json("status", "--json")
    assert (found.pop("state"), found.pop("owner")) == ("ended", None)
    assert found == real.summary
    told = copy.told("status", copy.stamp)
    verdict, agents, rest = real.out.strip().replace(str(real.place.repo), str(copy.place.repo)).split("\n\n", 2)
    assert f"{verdict}\n\n{rest}" in told
    assert [line.split()[:3] for line in agents.splitlines()[1:]] == [
        ["agent1", "complete", real_cost(real, 1)],
        ["agent2", "complete", real_cost(real, 2)],
        ["agent3", "edit", "rejected"],
    ]
    assert [line.split()[:2] for line in told.splitlines()[:3]] == [
        ["agent1", "applied"],
        ["agent2", "applied"],
        ["agent3", "rejected_edit"],
    ]
    assert copy.told("agents") == told


def real_cost(ran: Ran, task: int) -> str:
    return f"${ran.agents[f'agent{task}']['usage']['cost']:.4f}"


def test_runs_tells_what_the_summary_tells(real: Ran, copy: Copy) -> None:
    [found] = json.loads(copy.told("runs", "--json"))
    assert (found["run"], found["state"], found["exit_code"]) == (copy.stamp, "ended", 1)
    assert (found["tasks"], found["complete"], found["cost"]) == (3, 2, real.summary["usage"]["cost"])
    assert found["seconds"] == real.summary["seconds"]
    assert re.search(rf"^{copy.stamp}  exit 1  .* (s|min) +2 of 3  \$0\.\d+  Add a line", copy.told("runs"))


def test_logs_are_all_events_in_their_order(real: Ran, copy: Copy) -> None:
    events = jsonl.read_run_log(real.logs, copy.stamp).events
    lines = copy.told("logs", "-v").splitlines()
    assert len(lines) == len(events)
    assert [line.split()[2] for line in lines] == [f"agent{e.task}" if e.task else "run" for e in events]
    worded = copy.told("logs").splitlines()
    assert worded == [line for line in lines if line in worded] and not any("task_moved" in line for line in worded)
    assert copy.told("logs", "--agent", "agent2").splitlines() == [
        line for line in worded if line.split()[2] == "agent2"
    ]
    assert sum("edit rejected after" in line for line in lines) == 1


def test_show_tells_all_of_a_task(real: Ran, copy: Copy) -> None:
    agent = real.agents["agent2"]
    told = copy.told("show", copy.stamp, "agent2")
    for part in (agent["cause"], agent["commit"], "+# hi", "Your files", "tests passed", "applied after"):
        assert part in told
    found = copy.json("show", "2", "--json")
    assert (found["verdict"], found["commit"], found["brief"]) == ("applied", agent["commit"], brief(real, 2))
    [attempt] = found["attempts"]
    assert (attempt["verdict"], attempt["usage"]) == ("applied", agent["usage"])
    assert attempt["diff"] == real.place.git("diff", "main", agent["commit"], "--", "f1.py") != ""
    assert copy.told("task", "2") == told


def brief(ran: Ran, task: int) -> object:
    [plan] = [
        event for event in jsonl.read_run_log(ran.logs, ran.summary["timestamp"]).events if event.kind == "plan_made"
    ]
    return plan.data["tasks"][task - 1]["brief"]


def test_show_prints_the_conversation(copy: Copy) -> None:
    examples = (("system", "I am Aider"), ("user", "I switched to a new code base. Forget it."), ("assistant", "Ok."))
    said = [
        Turn((*examples, ("user", f"Please {RED}"), ("user", "x" * 5000)), "Here.\n+not a change"),
        Turn((), "Once more."),
    ]
    logs = copy.place.repo / ".aider_logs"
    event = make_event(copy.stamp, 10_000, 1, "conversation", 1, 1, to_json_value(pack_turns(said, str)))
    with (logs / f"agent1_{copy.stamp}.jsonl").open("a") as file:
        file.write(json.dumps(event_record(event)) + "\n")
    told = copy.told("show", "1")
    assert "[user]\nPlease \\x1b[31mred" in told and "[reply]\nHere.\n+not a change\n\n[reply]\nOnce more." in told
    assert "3,000 characters more" in told and "(54 characters that Aider itself wrote are left out" in told
    assert "I am Aider" not in told and "new code base" not in told
    assert "x" * 5000 in copy.told("show", "1", "--all") and "I am Aider" in copy.told("show", "1", "--all")
    [attempt] = copy.json("show", "1", "--json")["attempts"]
    assert attempt["conversation"] == json.loads(
        json.dumps([{"asked": turn.asked, "said": turn.said} for turn in said])
    )


def test_rejected_work_is_shown_from_its_patch(real: Ran, copy: Copy) -> None:
    patch = real.place.repo / real.agents["agent3"]["patch"]
    assert copy.told("diff", copy.stamp, "3").encode() == patch.read_bytes()
    assert "+# hi" in copy.told("show", "3") and "edit rejected after" in copy.told("show", "3")


def test_diff_is_what_git_says_and_can_be_applied(real: Ran, copy: Copy) -> None:
    result = real.summary["result"]["result"]
    assert copy.told("diff") == copy.place.git("diff", "--no-renames", "--binary", "main", result)
    for task in ("1", "2"):
        commit = real.agents[f"agent{task}"]["commit"]
        assert copy.told("diff", copy.stamp, task) == copy.place.git("diff", f"{commit}^", commit)
        assert copy.told("diff", task) == copy.told("diff", f"agent{task}") == copy.told("diff", "latest", task)
    patch = copy.place.home / "all.patch"
    patch.write_text(copy.told("diff"))
    copy.place.git("apply", str(patch))
    assert copy.place.git("diff", "--quiet", result, "--", "*.py") == ""


def test_a_result_that_git_has_forgotten(real: Ran, copy: Copy) -> None:
    for branch in copy.place.git("for-each-ref", "--format=%(refname)", "refs/heads/aider-orchestrator").split():
        copy.place.git("update-ref", "-d", branch)
    copy.place.git("reflog", "expire", "--expire=now", "--all")
    copy.place.git("gc", "-q", "--prune=now")
    said = copy.run("diff")
    commit = real.summary["result"]["result"][:10]
    assert (said.code, said.out) == (2, "")
    assert f"the result of run {copy.stamp} ({commit}) is not in this repository: its branch was deleted" in said.err
    assert "is not in this repository" in copy.run("diff", copy.stamp, "1").err
    assert "is not in this repository)" in copy.told("show", "1")


# --- safe output ----------------------------------------------------------------------------------------------------

LOOKS = (("runs",), ("status",), ("status", "--watch"), ("logs",), ("show", "1"), ("show", "3"), ("clean", "--dry-run"))
STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")


@pytest.mark.parametrize("words", [*LOOKS, ("runs", "--json"), ("status", "--json"), ("show", "3", "--json")])
def test_nothing_that_steers_a_terminal_is_printed(copy: Copy, words: tuple[str, ...]) -> None:
    assert not STEERING.search(copy.told(*words))


def test_on_a_terminal_only_our_own_colours(copy: Copy) -> None:
    (copy.place.repo / "f0.py").write_text(RED)
    patch = next((copy.place.repo / ".aider_logs").glob("agent3_*.patch"))
    patch.write_text(patch.read_text() + f"+{RED}\n")
    told = on_terminal(copy, "diff", copy.stamp, "3")
    assert "\x1b[32m+# hi\x1b[0m" in told and "\\x1b[31mred" in told
    assert not STEERING.search(re.sub(r"\x1b\[\d*m|\r\n", "", told))
    assert "\x1b" not in on_terminal(copy, "diff", copy.stamp, "3", NO_COLOR="1")


def test_watching_on_a_terminal_ends_with_the_status(copy: Copy) -> None:
    told = on_terminal(copy, "status", "--watch", COLUMNS="500", NO_COLOR="1").replace("\r\n", "\n")
    assert re.search(r"\x1b\[\d+A\x1b\[J", told)
    assert told.endswith(copy.told("status").partition("\n\n")[2])
    shown = on_terminal(copy, "status")
    assert "\x1b[1;33m2 of 3 tasks are complete" in shown or "\x1b[1;31m2 of 3 tasks are complete" in shown
    assert "\x1b[2magent   state" in shown


def test_show_uses_the_pager_on_a_terminal(copy: Copy) -> None:
    paged = on_terminal(copy, "show", "2", PAGER="sed s/^/paged:/").replace("\r\n", "\n")
    assert paged.startswith("paged:agent2 of run") and "paged:\x1b[32m+# hi" in paged
    assert on_terminal(copy, "show", "2", PAGER="cat").startswith("agent2 of run")
    assert copy.told("show", "2").startswith("agent2 of run")


def test_report_is_opened_in_a_browser(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = dict[str, bool]()
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.setdefault(address, True))
    path = copy.told("report", "--open").strip()
    assert list(opened) == [f"file://{path}"] and Path(path).exists()
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    said = copy.run("report", "--open")
    assert (said.code, said.out.strip(), said.err) == (0, path, "No browser was found here: open that file in one.\n")
    assert copy.run("report", "--open", "--markdown").code == 2


def test_clean_asks_on_a_terminal(copy: Copy) -> None:
    question = "Delete all this of 1 run? [y/N] "
    assert question in on_terminal(copy, "clean", answer=b"\n")
    assert copy.told("runs") != ""
    assert question in on_terminal(copy, "clean", answer=b"y\n")
    assert copy.told("runs") == ""
    assert [path.name for path in (copy.place.repo / ".aider_logs").iterdir() if copy.stamp in path.name] == []


def on_terminal(copy: Copy, *words: str, answer: bytes = b"", **env: str) -> str:
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    command = [sys.executable, str(PROGRAM), *words]
    child = subprocess.Popen(
        command, cwd=copy.place.repo, env=copy.place.environment(None, TERM="xterm", **env), stdin=theirs, stdout=theirs
    )
    os.close(theirs)
    told = b""
    try:
        while more := os.read(ours, 65536):
            told += more
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    assert child.wait(within()) == 0
    return told.decode()


@pytest.mark.parametrize("words", [("logs",), ("diff",), ("status", "--json")])
def test_a_reader_that_leaves_early(copy: Copy, words: tuple[str, ...]) -> None:
    """It is gone before the first word."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, str(PROGRAM), *words]
    env = copy.place.environment()
    done = subprocess.run(command, cwd=copy.place.repo, env=env, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert done.stderr == b"" and done.returncode == 1


# --- elsewhere ------------------------------------------------------------------------------------------------------


@pytest.fixture
def parcel(copy: Copy) -> Path:
    target = copy.place.home / "run.tar.gz"
    assert copy.stamp in copy.told("export", "-o", str(target))
    return target


def clone(copy: Copy, tmp_path: Path) -> Copy:
    """A clone from before the run: only what was the user's then."""
    place = Place(tmp_path / "clone", copy.place.home, copy.place.tmp)
    copy.place.git("clone", "-q", "--single-branch", "-b", "main", f"file://{copy.place.repo}", str(place.repo))
    return copy.elsewhere(place)


def test_an_exported_run_is_the_same_in_another_clone(copy: Copy, parcel: Path, tmp_path: Path) -> None:
    looks = (("runs", "--json"), ("logs", "-v"), ("diff",), ("diff", "3"), ("show", copy.stamp, "1", "--json"))
    before = [copy.told(*words) for words in looks]
    branches = copy.place.git("for-each-ref", "refs/heads")
    there = clone(copy, tmp_path)
    assert (
        there.told("import", str(parcel)) == f"Run {copy.stamp} was imported: {len(before[1].splitlines())} events.\n"
    )
    assert [there.told(*words) for words in looks] == before
    assert there.place.git("for-each-ref", "refs/heads") == branches
    assert there.place.status() == []
    assert "2 of 3 tasks are complete" in there.told("status")
    again = there.run("import", str(parcel))
    assert (again.code, again.out) == (2, "") and f"run {copy.stamp} is here already" in again.err
    there.told("clean", copy.stamp, "--yes", "--force")
    assert "aider-orchestrator" not in there.place.git("for-each-ref", "--format=%(refname)")
    there.told("import", str(parcel))
    assert [there.told(*words) for words in looks] == before


def test_a_run_comes_into_a_repository_that_knows_nothing_of_it(copy: Copy, parcel: Path, tmp_path: Path) -> None:
    stranger = copy.elsewhere(make_place(tmp_path / "stranger", {"a": "b"}))
    assert "`diff` has nothing to show here" in stranger.told("import", str(parcel))
    assert "2 of 3 tasks are complete" in stranger.told("status")
    assert "is not in this repository" in stranger.run("diff").err
    assert stranger.place.git("for-each-ref", "--format=%(refname)").split() == ["refs/heads/main"]


def test_an_export_never_writes_over_a_file(copy: Copy, parcel: Path) -> None:
    content = parcel.read_bytes()
    said: Said = copy.run("export", "-o", str(parcel))
    assert said.code == 2 and "exists already" in said.err and parcel.read_bytes() == content
    assert sorted(path.name for path in parcel.parent.iterdir()) == ["run.tar.gz"]
    assert copy.run("export", "-o", str(copy.place.home / "no" / "x.tar.gz")).code == 2
    copy.told("export")
    assert (copy.place.repo / f"run_{copy.stamp}.tar.gz").stat().st_mode & 0o777 == 0o600
