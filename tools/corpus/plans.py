"""Scenarios of plans, of roles, of several agents for one task, and of critics."""

import json
import re
import signal
from collections.abc import Callable
from typing import Any

from tests.support.edits import appends, knows, say, search_replace
from tests.support.modelserver import ModelServer, Reply, Request
from tools.corpus.stage import Stage, scenario

FILES = {"src/app.py": "def run():\n    return 1\n", "README.md": "# App\n"}
GOOD = appends("# hi")


def task(id: str, *files: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "title": id.title(), "brief": f"Do {id}.", "files": list(files)} | more


SLOPPY = [
    task("mail", "src/mail.py", role="wizard"),
    task("use", "app.py", needs=["Mail", "nobody"], reads=["src/mail.py"]),
    task("docs", "README.md", role="writer", priority="low", risk="high", acceptance=["It is told"]),
]


def lead(*plans: Any) -> Callable[[Request], Reply]:
    """Gemini as a lead, and a model that does what its brief is about."""
    left = list(plans)

    def respond(request: Request) -> Reply:
        if request.dialect == "gemini":
            if "Divide the work" not in request.text:
                return Reply("# PRD\n\nSend mails.\n")
            plan = left.pop(0)
            return Reply(plan if isinstance(plan, str) else json.dumps(plan))
        new = re.findall(r"^- (\S+) \(new", request.brief, re.MULTILINE)
        return Reply("".join(search_replace(path, "", f"# {path}\nanswer = 42\n") for path in new) + GOOD(request).text)

    return respond


def plan_file(stage: Stage, name: str, text: str) -> None:
    folder = stage.logs / "plans"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.toml").write_text(text, "utf-8")
    (stage.logs / ".gitignore").write_text("*\n")


@scenario
def plan_drafted_approved_and_executed(stage: Stage) -> None:
    stage.begin(FILES)
    with ModelServer(lead({"tasks": SLOPPY})) as server:
        stage.run("plan", "Send mails", "--name", "mail", server=server)
        stage.run("execute", "mail", "--approve", server=server)
        stage.run("plan", "edit", "mail", "connect", "docs", "use")
        stage.run("plan", "approve", "mail")
        stage.run("execute", "mail", "--approve", "--test-cmd", "true", server=server)
        stage.run("execute", "mail", server=server)


@scenario
def plan_by_a_lead(stage: Stage) -> None:
    stage.begin(FILES)
    words = ("--change", "Send mails", "--decompose", "--max-agents", "1")
    stage.play(lead({"tasks": [task("a", "src")]}, {"tasks": SLOPPY}), *words)


@scenario
def plan_that_is_broken_twice(stage: Stage) -> None:
    stage.begin(FILES)
    stage.play(lead({"tasks": []}, "not even JSON"), "--change", "Send mails", "--decompose")


CHAIN = """
goal = "Do it in turns"

[[task]]
id = "one"
title = "One"
brief = "Do one."
files = ["src/app.py"]
priority = "low"

[[task]]
id = "two"
title = "Two"
brief = "Do two."
files = ["README.md"]
needs = ["one"]

[[task]]
id = "three"
title = "Three"
brief = "Do three."
files = ["three.py"]
needs = ["two"]

[[task]]
id = "four"
title = "Four"
brief = "Do four."
files = ["four.py"]
priority = "high"
"""


@scenario
def need_that_failed(stage: Stage) -> None:
    """What needs it is not begun, and is taken up once it is done."""
    stage.begin(FILES)
    plan_file(stage, "turns", CHAIN)
    helpless = lambda request: Reply("No.") if "Do two." in request.brief else lead()(request)  # noqa: E731
    stage.play(helpless, "execute", "turns", "--max-agents", "1")
    stage.play(lead(), "resume")


@scenario
def plan_with_proposals(stage: Stage) -> None:
    stage.begin(FILES)
    plan_file(stage, "one", 'goal = "G"\n[[task]]\nid = "a"\nbrief = "Do a."\nfiles = ["README.md"]\n')
    more = {"propose": [{"title": "Test it", "brief": "Write tests.", "files": ["src/app.py"]}]}

    def proposing(request: Request) -> Reply:
        said = GOOD(request).text
        return Reply(said + f"\n```json\n{json.dumps(more)}\n```\n" if "README.md" in request.files else said)

    with ModelServer(proposing) as server:
        stage.run("execute", "one", server=server)
        stage.run("plan", "approve", "one")
        stage.run("execute", "one", server=server)


@scenario
def proposal_that_cannot_be_read(stage: Stage) -> None:
    stage.begin(FILES)
    plan_file(stage, "one", 'goal = "G"\n[[task]]\nid = "a"\nbrief = "Do a."\nfiles = ["README.md"]\n')
    broken = '\n```json\n{"propose": [{"title": 3}]}\n```\n'
    stage.play(lambda request: Reply(GOOD(request).text + broken), "execute", "one")


@scenario
def submitted_and_run(stage: Stage) -> None:
    stage.begin(FILES)
    with ModelServer(lead({"tasks": [task("a", "src/new.py"), task("b", "src/app.py")]})) as server:
        stage.run("submit", "Fix the readme", "--files", "README.md", "--agent", "writer", "--priority", "high")
        stage.run("submit", "Do more", "-d", server=server)
        stage.run("run", "--max-agents", "1", server=server)


# --- roles ----------------------------------------------------------------------------------------------------------

APP = "def greeting():\n    return 'hi'\n"
BETTER = "def greeting(name: str) -> str:\n    return f'hi {name}'\n"
CHECK = "from app import greeting\n\ndef test_greeting() -> None:\n    assert greeting('Ada') == 'hi Ada'\n"
ROLES = """
goal = "Greet by name"

[[task]]
id = "look"
title = "Find out how we greet"
brief = "Who calls greeting()?"
role = "researcher"
reads = ["app.py"]

[[task]]
id = "greet"
title = "Greet by name"
brief = "Give greeting() a name."
files = ["app.py"]
needs = ["look"]
role = "coder"

[[task]]
id = "prove"
title = "Test the greeting"
brief = "Test greeting()."
files = ["check_app.py"]
needs = ["greet"]
role = "tester"
"""
SETTINGS = """
[gates]
runs = "python3 -c 'import app'"

[roles.tester]
model = "anthropic/claude-haiku-4-5"
edit-format = "whole"
gates = ["runs"]
"""
PROPOSAL = {"propose": [{"title": "Say goodbye too", "brief": "As politely.", "files": ["bye.py"]}]}


def specialists(request: Request) -> Reply:
    if request.headers.get("authorization") == "Bearer wrong" and "You are the coder" in request.brief:
        return Reply("Wrong key", 401)
    if "You are the researcher" in request.brief:
        return Reply("Nobody calls greeting(), so that its signature is free.")
    if "You are the coder" in request.brief:
        edit = search_replace("app.py", APP, BETTER)
        return Reply(f"It takes a name now.\n\n{edit}\n\n```json\n{json.dumps(PROPOSAL)}\n```\n")
    return Reply(say(request, "check_app.py", "", CHECK))


@scenario
def roles_in_turn(stage: Stage) -> None:
    stage.begin({"app.py": APP})
    stage.write({"aider-orchestrator.toml": SETTINGS})  # not committed, so that all of it counts
    plan_file(stage, "greet", ROLES)
    with ModelServer(specialists) as server:
        stage.run("--plan", "greet", server=server, cwd=None, OPENAI_API_KEY="wrong")
        stage.run("resume", server=server)


@scenario
def questions_only(stage: Stage) -> None:
    stage.begin({"app.py": APP})
    plan_file(stage, "ask", ROLES.partition('\n[[task]]\nid = "greet"')[0])
    answer = f"Nobody does.\n\n```json\n{json.dumps(PROPOSAL)}\n```\n"
    stage.play(lambda request: Reply(answer), "--plan", "ask", "--agents-per-task", "2")


# --- several agents for one task ------------------------------------------------------------------------------------

PARTS = {
    "part.py": "value = 1\n",
    "test_part.py": "import part\ndef test_part():\n    assert part.value in (1, 2)\n",
    "other.py": "other = 1\n",
}
PYTEST = "python -m pytest -q -p no:cacheprovider"
JOB = ("--change", "Two", "--no-prd", "--test-cmd", PYTEST, "--files", "part.py", "--agents-per-task", "3")
BEST, LONG, BAD = "value = 2\n", "# It is two,\n# as was asked.\nvalue = 2\n", "value = 3\n"


def in_turn(*texts: str) -> Callable[[Request], Reply]:
    """Each request gets another answer; they come one after the other."""
    left, last = list(texts), texts[-1]

    def respond(request: Request) -> Reply:
        text, before = (left.pop(0) if left else last), request.files["part.py"]
        return Reply(search_replace("part.py", before, text) if before != text else "It is done.")

    return respond


@scenario
def best_of_three(stage: Stage) -> None:
    stage.begin(PARTS)
    with ModelServer(in_turn(LONG, BAD, BEST)) as server:
        stage.run(*JOB, "--max-agents", "1", server=server)


@scenario
def three_that_all_fail_and_learn(stage: Stage) -> None:
    stage.begin(PARTS)
    texts = in_turn(BAD, "value = 4\n", "value = 5\n", BEST)
    stage.play(lambda request: texts(request), *JOB, "--max-agents", "1", "--retries", "1")


@scenario
def three_that_all_fail(stage: Stage) -> None:
    stage.begin(PARTS)
    stage.play(in_turn(BAD, "value = 4\n", "value = 5\n"), *JOB, "--max-agents", "1")


@scenario
def candidates_killed_and_resumed(stage: Stage) -> None:
    stage.begin(PARTS)
    first: list[int] = []

    def respond(request: Request) -> Reply:
        first.append(1)
        return Reply(search_replace("part.py", PARTS["part.py"], BEST), latency=0.0 if len(first) == 1 else 120.0)

    with stage.playing(respond, *JOB) as running:
        running.wait_for_requests(3)
        stage.wait_for("attempt_ended")
        running.kill()
    stage.play(in_turn(LONG), "resume")


@scenario
def candidates_cancelled(stage: Stage) -> None:
    stage.begin(PARTS)

    def respond(request: Request) -> Reply:
        if "other.py" in request.files:
            return Reply(search_replace("other.py", PARTS["other.py"], "other = 2\n"))
        return Reply("", latency=120.0)

    words = ("--change", "Two", "--no-prd", "--files", "part.py", "other.py", "--agents", "2", "--agents-per-task", "2")
    with ModelServer(respond) as server:
        running = stage.start(*words, server=server)
        running.server = server
        running.wait_for_requests(4)
        stage.run("cancel", stage.stamp, stage.task_of("part.py"))
        running.end()


@scenario
def candidates_interrupted(stage: Stage) -> None:
    stage.begin(PARTS)
    with stage.playing(lambda request: Reply("", latency=120.0), *JOB) as running:
        running.wait_for_requests(3)
        running.signal(signal.SIGINT)


# --- critics --------------------------------------------------------------------------------------------------------

TWO = {"a.py": "a = 1\n", "b.py": "b = 1\n"}
WHY = "The value in {} is 3, and must be 2"
PRD = """# Two

```json
{"requirements": [{"id": "R1", "text": "All is two.", "acceptance": ["The value is 2"]}],
 "work": [{"file": "a.py", "do": "Make it two.", "requirements": ["R1"]},
          {"file": "b.py", "do": "Make it two.", "requirements": ["R1"]}]}
```
"""


def author(request: Request) -> Reply:
    """Makes it three, and two when told better."""
    [(path, before)] = request.files.items()
    value = "2" if WHY.format(path) in request.text else "3"
    return Reply(say(request, path, before, f"{path[0]} = {value}\n"))


def review(request: Request) -> Reply:
    path = "a.py" if "+a = " in request.text else "b.py"
    wrong = "= 3" in request.text.split("Your task")[0]
    answer = {"verdict": "fail", "reasons": [WHY.format(path)]} if wrong else {"verdict": "pass"}
    return Reply(f"```json\n{json.dumps(answer)}\n```")


def reviewed(stage: Stage, critic: Callable[[Request], Reply], *words: str) -> None:
    (stage.home / "prd.md").write_text(PRD)
    usual = ("--change", "Two", "--prd", str(stage.home / "prd.md"), "--agents", "2", "--critic")
    model = ("--critic-model", "anthropic/claude-haiku-5-5")
    stage.play(lambda request: author(request) if request.asks else critic(request), *usual, *model, *words)


@scenario
def critic_fails_then_passes(stage: Stage) -> None:
    stage.begin(TWO)
    reviewed(stage, review, "--retries", "2")


@scenario
def critic_fails_for_good(stage: Stage) -> None:
    stage.begin(TWO)
    reviewed(stage, review, "--ask", "always")


@scenario
def critic_without_a_word(stage: Stage) -> None:
    stage.begin(TWO)

    def tired(request: Request) -> Reply:
        return Reply("LGTM") if "+a = " in request.text else Reply("No credit", status=402)

    reviewed(stage, tired, "--retries", "2")
    passes = lambda request: author(request) if request.asks else Reply('{"verdict": "pass"}')  # noqa: E731
    stage.play(passes, "resume")


@scenario
def leaves_all_to_the_default_model_of_gemini(stage: Stage) -> None:
    stage.begin(TWO)
    edits = {path: text.replace("1", "2") for path, text in TWO.items()}
    stage.play(knows(edits), "--change", "Two", "--no-prd", "--files", *TWO, "--model", "gemini/gemini-3.8-flash")
