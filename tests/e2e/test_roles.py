"""Specialists carry out a plan: one answers, one writes what it asked for, one tests it with a model of its own."""

import json
from pathlib import Path

import pytest

from tests.support.edits import say, search_replace
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import assert_clean, make_place

APP = "def greeting():\n    return 'hi'\n"
BETTER = "def greeting(name: str) -> str:\n    return f'hi {name}'\n"
CHECK = "from app import greeting\n\ndef test_greeting() -> None:\n    assert greeting('Ada') == 'hi Ada'\n"
PLAN = """
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
role = "test-architect"
"""
SETTINGS = """
[gates]
runs = "python3 -c 'import app'"

[roles.tester]
model = "anthropic/claude-haiku-4-5"
edit-format = "whole"
temperature = 0.5
gates = ["runs"]
"""
ANSWER = f"Nobody calls greeting(), so that its signature is free.\n\n{search_replace('app.py', APP, 'wrong').strip()}"
PROPOSAL = {"propose": [{"title": "Say goodbye too", "brief": "As politely.", "files": ["bye.py"]}]}


def respond(request: Request) -> Reply:
    if request.headers.get("authorization") == "Bearer wrong" and "You are the coder" in request.brief:
        return Reply("Wrong key", 401)
    if "You are the researcher" in request.brief:
        return Reply(ANSWER)
    if "You are the coder" in request.brief:
        edit = search_replace("app.py", APP, BETTER)
        return Reply(f"It takes a name now.\n\n{edit}\n\n```json\n{json.dumps(PROPOSAL)}\n```\n")
    return Reply(say(request, "check_app.py", "", CHECK))


@pytest.mark.thorough
def test_task_gets_its_role_and_notes_of_dependencies(tmp_path: Path) -> None:
    place = make_place(tmp_path, {"app.py": APP})
    place.write({"aider-orchestrator.toml": SETTINGS})  # not committed, so that all of it counts
    (place.repo / ".aider_logs" / "plans").mkdir(parents=True)
    (place.repo / ".aider_logs" / "plans" / "greet.toml").write_text(PLAN)
    (place.repo / ".aider_logs" / ".gitignore").write_text("*\n")
    with ModelServer(respond) as server:
        keyless = place.run("--plan", "greet", server=server, ANTHROPIC_API_KEY="", ANTHROPIC_API_BASE="")
        assert keyless.code == 2 and "anthropic/claude-haiku-4-5 needs ANTHROPIC_API_KEY" in keyless.err
        unchecked = place.run("--plan", "greet", "--gate", "runs=", server=server)
        assert unchecked.code == 2 and "the role tester requires the check 'runs'" in unchecked.out
        assert server.count() == 0

        stopped = place.run("--plan", "greet", server=server, OPENAI_API_KEY="wrong")
        assert stopped.code == 1, stopped.out + stopped.err
        assert [agent["state"] for agent in stopped.agents.values()] == ["complete", "failed", "planned"]
        ran = place.run("resume", server=server)
        look, before, greet, prove = server.requests
    assert ran.code == 0, ran.out + ran.err
    # What was answered is not asked again, and the next one is told the same of it.
    assert before.brief == greet.brief
    assert (place.repo / "app.py").read_text() == BETTER and (place.repo / "check_app.py").read_text() == CHECK
    assert_clean(ran)

    # Who was asked, how, and what each was told of the others.
    assert [(one.dialect, one.asks) for one in (look, greet, prove)] == [
        ("openai", ""),
        ("openai", "diff"),
        ("anthropic", "whole"),
    ]
    assert [one.body.get("temperature") for one in (look, greet, prove)] == [None, None, 0.5]
    assert look.brief.startswith("You are the researcher.") and "left for you" not in look.brief
    assert greet.brief.startswith("You are the coder.") and ANSWER in greet.brief
    assert "def greeting(name: str) -> str" in prove.brief and "It takes a name now." in prove.brief
    assert "Nobody calls greeting()" in prove.brief and prove.brief.count("SEARCH") == 1
    assert '{"propose"' in greet.brief and '{"propose"' not in prove.brief

    # An answer is complete without a commit.
    one, two, three = ran.agents.values()
    assert (one["state"], one["commit"], one["answered"], one["said"]) == ("complete", "", True, ANSWER)
    assert one["changed"] == [] and one["patch"] == ""
    assert (two["state"], two["role"], two["said"]) == ("complete", "coder", "It takes a name now.")
    assert [gate["name"] for gate in three["gates"]] == ["runs"]

    # What was expected of it, and what it took.
    expected, actual = ran.summary["estimate"], ran.summary["estimate"]["actual"]
    assert actual["tokens"] == ran.summary["usage"]["total_tokens"] and actual["minutes"] > 0
    assert 0 < expected["dollars"][0] < expected["dollars"][1] and "work alone: $" in ran.out
    assert all(agent["estimate"]["tokens"][0] > 2_000 for agent in ran.agents.values())

    page = (ran.logs / f"report_{ran.summary['timestamp']}.html").read_text()
    assert "work alone: $" in page and "Nobody calls greeting()" in page.partition("<summary>Answer</summary>")[2]

    # What was proposed is told, and nobody has begun with it.
    assert ran.summary["proposed"] == [{"task": 2, **PROPOSAL["propose"][0]}]
    assert "agent2: Say goodbye too (bye.py)" in ran.out
    assert [event["data"]["tasks"] for event in ran.events() if event["event"] == "tasks_proposed"] == [
        PROPOSAL["propose"]
    ]


def test_a_plan_of_questions_changes_nothing_and_succeeds(tmp_path: Path) -> None:
    place = make_place(tmp_path, {"app.py": APP})
    plan = PLAN.partition('\n[[task]]\nid = "greet"')[0]
    (place.repo / ".aider_logs" / "plans").mkdir(parents=True)
    (place.repo / ".aider_logs" / "plans" / "ask.toml").write_text(plan)
    (place.repo / ".aider_logs" / ".gitignore").write_text("*\n")

    def respond(request: Request) -> Reply:
        return Reply(f"Nobody does.\n\n```json\n{json.dumps(PROPOSAL)}\n```\n")

    with ModelServer(respond) as server:
        # Side by side too: there is a choice between answers.
        ran = place.run("--plan", "ask", "--agents-per-task", "2", server=server)
        assert ran.code == 0, ran.out + ran.err
        assert server.count() == 2
    assert ran.summary["verdict"] == "1 question answered; no file was to be changed."
    [look] = ran.agents.values()
    assert (look["state"], look["said"], len(look["candidates"])) == ("complete", "Nobody does.", 2)
    assert [event["data"]["tasks"] for event in ran.events() if event["event"] == "tasks_proposed"] == [
        PROPOSAL["propose"]
    ]
    assert ran.changed() == {}
    assert_clean(ran)
