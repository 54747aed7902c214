"""Plans from the command line: made by a model, read and edited by people, carried out in the order of their needs."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from orchestra.plan.toml_file import parse_draft
from tests.support.edits import appends, search_replace
from tests.support.load import within
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import PROGRAM, Place, Ran, assert_clean, make_place

FILES = {"src/app.py": "def run():\n    return 1\n", "README.md": "# App\n"}
GOOD = appends("# hi")


def task(id: str, *files: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "title": id.title(), "brief": f"Do {id}.", "files": list(files)} | more


SLOPPY = [
    task("mail", "src/mail.py", role="wizard"),
    task("use", "app.py", needs=["Mail", "nobody"], reads=["src/mail.py"]),
    task("docs", "README.md", role="writer", priority="low"),
]
REPAIRS = [
    "use: src/app.py is meant by app.py",
    "mail: unknown role 'wizard', so it is coder",
    "use does not need nobody, which is no task",
    "mail: src/mail.py is new",
]


class Lead:
    """Gemini as a lead, and a model that does what its brief is about."""

    def __init__(self, *plans: Any) -> None:
        self.plans = list(plans)
        self.asked: list[str] = []

    def __call__(self, request: Request) -> Reply:
        if request.dialect == "gemini":
            return self.lead(request.text)
        self.asked.append(request.text)
        new = re.findall(r"^- (\S+) \(new", request.brief, re.MULTILINE)
        made = "".join(search_replace(path, "", f"# {path}\nanswer = 42\n") for path in new)
        return Reply(made + GOOD(request).text)

    def lead(self, text: str) -> Reply:
        if "Divide the work" in text or "asks you about the plan" in text:
            plan = self.plans.pop(0)
            return Reply(plan if isinstance(plan, str) else json.dumps(plan))
        return Reply("# PRD\n\nSend mails.\n")


def folder(place: Place) -> Path:
    return place.repo / ".aider_logs" / "plans"


def write(place: Place, name: str, text: str) -> None:
    folder(place).mkdir(parents=True, exist_ok=True)
    (folder(place) / f"{name}.toml").write_text(text, "utf-8")
    (place.repo / ".aider_logs" / ".gitignore").write_text("*\n")


def events(ran: Ran, kind: str) -> list[dict[str, Any]]:
    log = ran.logs / f"run_{ran.summary['timestamp']}.jsonl"
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    return [line["data"] for line in lines if line["event"] == kind]


# --- a plan's life --------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_a_sloppy_plan_is_put_right_edited_approved_and_carried_out(tmp_path: Path) -> None:
    place, lead = make_place(tmp_path, FILES), Lead({"tasks": SLOPPY})
    with ModelServer(lead) as server:
        made = place.run("plan", "Send mails", "--name", "mail", server=server, OPENAI_API_KEY="")
        assert made.code == 0, made.err
        assert "3 tasks planned in .aider_logs/plans/mail.toml; nothing has been changed." in made.out
        assert "Phase 2\n  use: Use" in made.out and "The longest chain: mail → use" in made.out
        assert events(made, "drafted")[0]["repairs"] == REPAIRS
        assert lead.asked == [] and place.head() == made.head_before
        assert made.summary["usage"]["roles"].keys() == {"prd", "planner"}
        assert place.run("plan", "check", "mail").out == "The plan mail can be executed: 3 tasks.\n"
        assert place.run("execute", "mail", "--approve", server=server).code == 5
        assert place.run("plan", "edit", "mail", "connect", "docs", "use").code == 0
        assert place.run("plan-list").out.startswith("mail  3 of 3 tasks to do, not approved  Send mails")
        assert place.run("plan", "approve", "mail").code == 0
        ran = place.run("execute", "mail", "--approve", "--test-cmd", "true", server=server)
    assert ran.code == 0, ran.out
    order = [line["title"] for line in ran.agents.values() if line["verdict"] == "applied"]
    assert order == ["Mail", "Use", "Docs"]
    # Who needs another sees its code: as a file to read, and as what its own work stands on.
    assert "answer = 42" in lead.asked[1] and "answer = 42" not in lead.asked[0]
    subjects = place.git("log", "--format=%s", f"{ran.head_before}..").split("\n")[:-1]
    assert subjects == ["Docs", "Use", "Mail"]
    done = parse_draft((folder(place) / "mail.toml").read_text("utf-8"), "mail")
    assert {item.done for item in done.task} == {ran.summary["timestamp"]}
    again = place.run("execute", "mail")
    assert (again.code, again.err.count("\n")) == (2, 1) and "no unfinished tasks" in again.err


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("plans", "words"),
    [
        ((["no", "object"], "not even JSON"), "gave an unusable answer twice: it holds no JSON object"),
        (({"tasks": []}, {"tasks": []}), "it has no tasks"),
        (
            ({"tasks": [task("a", "README.md", needs=["b"]), task("b", "src/app.py", needs=["a"])]},) * 2,
            "it goes in a circle: a needs b needs a",
        ),
        (({"tasks": [task("a", "../x")]}, {"tasks": [task("a", "src")]}), "a names src, which is a folder"),
        (({"tasks": "a"}, {"tasks": [{"id": 3}]}), "tasks[0].id must be a string"),
    ],
)
def test_on_a_broken_plan_nothing_starts(plans: tuple[Any, ...], words: str, tmp_path: Path) -> None:
    place, lead = make_place(tmp_path, FILES), Lead(*plans)
    with ModelServer(lead) as server:
        ran = place.run("--change", "Send mails", "--decompose", server=server)
    assert ran.code == ran.summary["exit_code"] == 4
    assert words in ran.summary["verdict"] and ran.agents == {} and lead.asked == []
    assert_clean(ran, prd=True)


def test_a_broken_plan_is_mended_once_by_the_model(tmp_path: Path) -> None:
    place, lead = make_place(tmp_path, FILES), Lead({"tasks": [task("a", "src")]}, {"tasks": [task("a", "README.md")]})
    with ModelServer(lead) as server:
        ran = place.run("--change", "Tell of it", "--decompose", "--no-prd", server=server)
        assert "a names src, which is a folder: name its files" in server.requests[1].text
    assert ran.code == 0 and place.git("show", "HEAD:README.md").endswith("# hi\n")
    assert [path.stem for path in folder(place).glob("*.toml")] == ["tell-of-it"]


@pytest.mark.thorough
def test_a_plan_by_hand_from_the_documentation_alone(tmp_path: Path) -> None:
    text = re.search(r"```toml\n(.*?)```", (PROGRAM.parent / "docs/plans.md").read_text("utf-8"), re.DOTALL)
    assert text is not None and tomllib.loads(text[1])
    place, lead = make_place(tmp_path, {"app/reset.py": "", "README.md": "# App\n"}), Lead()
    (tmp_path / "mine.toml").write_text(text[1], "utf-8")
    with ModelServer(lead) as server:
        shown = place.run("--plan", str(tmp_path / "mine.toml"), "--dry-run", server=server)
        assert shown.code == 0 and "3 files for 1 agent at once" in shown.out, shown.err
        ran = place.run("execute", str(tmp_path / "mine.toml"), server=server)
    assert ran.code == 0
    assert [agent["title"][:8] for agent in ran.agents.values()] == [
        "Write ap",
        "In app/r",
        "Tell use",
    ]


@pytest.mark.thorough
def test_from_an_empty_folder_to_a_program_with_passing_tests(tmp_path: Path) -> None:
    sources = {
        "calc/__init__.py": "",
        "calc/add.py": "def add(a, b):\n    return a + b\n",
        "calc/main.py": "from calc.add import add\n\n\ndef main(words):\n    return add(*map(int, words))\n",
        "tests/__init__.py": "",
        "tests/test_main.py": (
            "import unittest\n\nfrom calc.main import main\n\n\nclass Case(unittest.TestCase):\n"
            "    def test_add(self):\n        self.assertEqual(main(['1', '2']), 3)\n"
        ),
    }

    def write_it(request: Request) -> Reply:
        if request.dialect == "gemini":
            return lead(request)
        new = re.findall(r"^- (\S+) \(new", request.brief, re.MULTILINE)
        return Reply("".join(search_replace(path, "", sources[path] or "# a package\n") for path in new))

    lead = Lead(
        {
            "tasks": [
                task("add", "calc/__init__.py", "calc/add.py"),
                task("main", "calc/main.py", needs=["add"]),
                task("tests", "tests/__init__.py", "tests/test_main.py", needs=["main"], role="tester"),
            ]
        }
    )
    place = Place(tmp_path / "empty", tmp_path / "home", tmp_path / "tmp")
    for path in (place.repo, place.home, place.tmp):
        path.mkdir()
    command = f"{sys.executable} -m unittest"
    with ModelServer(write_it) as server:
        words = ("--change", "A calculator with tests", "--decompose", "--test-cmd", command)
        env = place.environment(server)
        ran = subprocess.run(
            [sys.executable, str(PROGRAM), *words], cwd=place.repo, env=env, capture_output=True, text=True
        )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (
        "All 3 tasks are complete; 5 files changed" in ran.stdout
        and "verified by tests that the agents wrote" in ran.stdout
    )
    assert subprocess.run(command.split(), cwd=place.repo, capture_output=True).returncode == 0


@pytest.mark.thorough
def test_what_an_agent_proposes_waits_in_the_plan_for_a_yes(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    write(place, "one", 'goal = "G"\n[[task]]\nid = "a"\nbrief = "Do a."\nfiles = ["README.md"]\n')
    more = {"propose": [{"title": "Test it", "brief": "Write tests.", "files": ["src/app.py"]}]}

    def proposing(request: Request) -> Reply:
        said = GOOD(request).text
        return Reply(said + f"\n```json\n{json.dumps(more)}\n```\n" if "README.md" in request.files else said)

    with ModelServer(proposing) as server:
        ran = place.run("execute", "one", server=server)
        assert ran.code == 0 and set(ran.changed()) == {"README.md"}, ran.out
        shown = place.run("plan", "show", "one").out
        assert "Proposed by agents, not started without your approval:\n  test-it: Test it" in shown
        assert place.run("execute", "one", server=server).code == 2
        assert place.run("plan", "approve", "one").code == 0
        again = place.run("execute", "one", server=server)
    assert again.code == 0 and set(again.changed()) == {"src/app.py"}


@pytest.mark.thorough
def test_what_was_submitted_is_carried_out_by_run(tmp_path: Path) -> None:
    place, lead = make_place(tmp_path, FILES), Lead({"tasks": [task("a", "src/new.py"), task("b", "src/app.py")]})
    with ModelServer(lead) as server:
        one = ("submit", "Fix the readme", "--files", "README.md", "--agent", "writer", "--priority", "high")
        assert place.run(*one).out.startswith("1 task submitted.")
        assert place.run("submit", "Do more", "-d", server=server).code == 0
        assert "no role 'boss'" in place.run("submit", "x", "--agent", "boss", "--files", "README.md").err
        ran = place.run("run", "--max-agents", "1", server=server)
        assert ran.code == 0 and len(ran.agents) == 3
        assert "- README.md\n" in lead.asked[0]  # the urgent one came first
        assert place.run("run", server=server).code == 2


# --- at a terminal --------------------------------------------------------------------------------------------------


class Terminal:
    """A person who types at the program."""

    def __init__(self, place: Place, *words: str, env: dict[str, str], python: str = sys.executable) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(place.repo)
            os.execve(python, [python, str(PROGRAM), *words], env | {"TERM": "dumb"})
        self.seen = ""

    def expect(self, words: str) -> str:
        """What comes until these words; they are gone then."""
        began = time.monotonic()
        while words not in self.seen:
            assert time.monotonic() - began < within(), f"no {words!r} in {self.seen!r}"
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode("utf-8", "replace")
                except OSError:
                    assert words in self.seen, self.seen
        before, _, self.seen = self.seen.partition(words)
        return before

    def write(self, words: str) -> None:
        os.write(self.fd, words.encode() + b"\n")

    def say(self, words: str) -> str:
        """One line, and what is answered to it."""
        os.write(self.fd, words.encode() + b"\n")
        return self.expect("plan> ")

    def leave(self, words: str) -> int:
        os.write(self.fd, words.encode() + b"\n")
        began = time.monotonic()
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                with suppress(OSError):  # what it printed last
                    while select.select([self.fd], [], [], 0)[0] and (piece := os.read(self.fd, 65536)):
                        self.seen += piece.decode("utf-8", "replace")
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() - began < within()
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode("utf-8", "replace")
                except OSError:
                    time.sleep(0.05)


@pytest.mark.thorough
def test_a_session_with_every_action_continued_and_carried_out(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    proposal = {"say": "I would do the docs in one go.", "tasks": [*SLOPPY[:2], task("docs", "README.md", "NEWS.md")]}
    lead = Lead({"tasks": SLOPPY}, proposal)
    with ModelServer(lead) as server:
        env = place.environment(server)
        person = Terminal(place, "plan", "Send mails", "--name", "mail", env=env)
        person.expect("plan> ")
        assert "connect ID NEEDED-ID" in person.say("help")
        assert '+needs = ["use"]' in person.say("connect docs use")
        assert '-needs = ["use"]' in person.say("undo")
        assert "there is nothing to undo" in person.say("undo")
        os.write(person.fd, b"add extra One more\n")
        person.expect("Files of extra, with blanks between them (Enter: none yet): ")
        assert "extra names no file to change" in person.say("")
        assert '-id = "extra"' in person.say("remove extra")
        os.write(person.fd, b"add kept Kept without files\n")
        person.expect("(Enter: none yet): ")
        assert person.leave("\x03") == 130
        person = Terminal(place, "plan", "continue", "mail", env=env)
        assert "kept" in person.expect("plan> ")
        assert '-id = "kept"' in person.say("remove kept")
        os.write(person.fd, b"add news Tell of the news\n")
        person.expect("(Enter: none yet): ")
        assert '+files = ["NEWS.md"]' in person.say("NEWS.md")
        assert "cannot be executed" not in person.say("set news brief Write it down")
        assert "cannot be executed" not in person.say("set news role writer")
        assert 'priority = "high"' in person.say("set news priority high")
        assert '+needs = ["mail"]' not in person.say("move news before mail")
        assert "there is no command 'sing'" in person.say("sing")
        assert '-id = "news"' in person.say("merge docs news")
        assert '+id = "changes"' in person.say("split docs changes NEWS.md")
        assert '-id = "changes"' in person.say("remove changes")
        assert person.leave("\x03") == 130
        assert "Go on: aider-orchestrator plan continue mail" in " ".join(person.seen.split())
        # Another process, on another day.
        person = Terminal(place, "plan", "continue", "mail", env=env)
        assert "Phase 2\r\n  use: Use" in person.expect("plan> ")
        os.write(person.fd, b"ask Is that all?\n")
        told = person.expect("Apply this change? [y/N] ")
        assert "I would do the docs in one go." in told and 'files = ["README.md", "NEWS.md"]' in told
        assert "cannot be executed" not in person.say("y")
        assert "NEWS.md (new)" in person.say("show")
        assert person.leave("approve") == 0 and "Carry it out: aider-orchestrator execute mail" in person.seen
        assert place.run("plan", "list").out.startswith("mail  3 of 3 tasks to do, approved")
        assert place.run("plan", "edit", "mail", "set", "docs", "risk", "low").code == 0
        # What was approved was another plan: at a terminal, the question is asked again.
        before = place.head()
        person = Terminal(place, "execute", "mail", "--approve", env=env)
        assert "3 tasks to do, not approved yet" in person.expect("Carry out this plan? [y/N]")
        assert person.leave("n") == 5 and place.head() == before
        person = Terminal(place, "plan", "continue", "mail", "--dry-run", env=env)
        person.expect("plan> ")
        assert person.leave("execute") == 0 and "3 tasks in 2 waves" in person.seen and place.head() == before
        assert place.run("plan", "edit", "mail", "set", "docs", "risk", "high").code == 0
        person = Terminal(place, "execute", "mail", "--approve", env=env)
        person.expect("Carry out this plan? [y/N]")
        assert person.leave("y") == 0
    changed = place.git("diff", "--name-only", before, "HEAD").split()
    assert changed == ["NEWS.md", "README.md", "src/app.py", "src/mail.py"]
