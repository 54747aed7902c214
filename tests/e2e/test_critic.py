"""With --critic a model reviews each change: its fail is a gate's, and without its word nothing is taken."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.edits import say
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place, Ran, assert_clean, make_place

FILES = {"a.py": "a = 1\n", "b.py": "b = 1\n"}
REVIEWER = "anthropic/claude-haiku-5-5"
PRD = """# Two

```json
{"requirements": [{"id": "R1", "text": "All is two.", "acceptance": ["The value is 2"]}],
 "work": [{"file": "a.py", "do": "Make it two.", "requirements": ["R1"]},
          {"file": "b.py", "do": "Make it two.", "requirements": ["R1"]}]}
```
"""
WHY = "The value in {} is 3, and must be 2"


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


def both(critic: Callable[[Request], Reply]) -> Callable[[Request], Reply]:
    return lambda request: author(request) if request.asks else critic(request)


def start(place: Place, server: ModelServer, *words: str, google: str = "AIza-planted-google-0123456789") -> Ran:
    prd = place.home / "prd.md"
    prd.write_text(PRD)
    usual = ("--change", "Two", "--prd", str(prd), "--agents", "2", "--critic", "--retries", "2")
    return place.run(*usual, *words, server=server, GOOGLE_API_KEY=google)


def critics(server: ModelServer) -> list[Request]:
    return [request for request in server.requests if not request.asks]


def test_a_fail_goes_back_with_its_reasons_and_a_pass_is_taken(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(both(review)) as server:
        ran = start(place, server, "--critic-model", REVIEWER, google="")
        assert ran.code == 0, ran.out + ran.err
        asked = critics(server)
    assert {path: (place.repo / path).read_text() for path in FILES} == {"a.py": "a = 2\n", "b.py": "b = 2\n"}
    assert_clean(ran)
    assert {(request.dialect, request.model) for request in asked} == {("anthropic", "claude-haiku-5-5")}
    assert len(asked) == 4 and all("- R1: The value is 2" in request.text for request in asked)
    roles = ran.summary["usage"]["roles"]
    assert roles.keys() == {"agent", "critic"} and roles["critic"]["requests"] == 4 and roles["critic"]["cost"] > 0
    for name, agent in ran.agents.items():
        assert (agent["attempts"], agent["iterations"], agent["verdict"]) == (2, 2, "applied"), name
        assert [gate["ok"] for gate in agent["gates"] if gate["name"] == "critic"] == [True]
        ends = [event["data"] for event in ran.events(name) if event["event"] == "attempt_ended"]
        assert [(end["verdict"], end["review"]) for end in ends] == [("gates_failed", "fail"), ("applied", "pass")]
        assert "The critic did not pass it: The value in" in ends[0]["cause"]
        (path,) = agent["files"]
        assert [(each["ok"], each["reasons"]) for each in agent["reviews"]] == [(False, [WHY.format(path)]), (True, [])]
    assert ran.summary["verified"] != "tests", "a critic's word is no test"
    kept = sorted(ran.logs.glob("critic_task1-*.txt"))
    assert ["fail" in path.read_text() for path in kept] == [True, False]


@pytest.mark.thorough
def test_without_a_review_nothing_is_taken_or_lost_and_resume_asks_only_the_critic(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)

    def tired(request: Request) -> Reply:
        """Says rubbish of one, and nothing of the other."""
        return Reply("LGTM \U0001f44d") if "+a = " in request.text else Reply("No credit", status=402)

    with ModelServer(both(tired)) as server:
        ran = start(place, server, "--critic-model", REVIEWER)
        agents = len(server.requests) - len(critics(server))
        assert len(critics(server)) == 3, "the rubbish is to be mended once"
    assert ran.code == 4, ran.out + ran.err
    assert place.head() == ran.head_before and "Traceback" not in ran.err
    one, two = ran.agents.values()
    assert (one["verdict"], two["verdict"]) == ("provider_error", "quota")
    assert "was not reviewed: anthropic/claude-haiku-5-5 gave an unusable answer twice" in one["cause"]
    assert (
        "agent2 was not reviewed: The critic (anthropic/claude-haiku-5-5) could not answer: quota (402), No c"
        in (two["cause"])
    )
    assert ran.out.count("was not reviewed") == 2 and "critic not reviewed in" in ran.out
    assert [gate["missing"] != "" for gate in one["gates"] + two["gates"] if gate["name"] == "critic"] == [True, True]
    for agent in (one, two):
        assert agent["branch"] and "= 3" in place.git("show", agent["branch"])

    with ModelServer(both(lambda request: Reply('{"verdict": "pass"}'))) as server:
        again = place.run("resume", server=server)
        assert again.code == 0, again.out + again.err
        assert (agents, len(server.requests), len(critics(server))) == (2, 2, 2)
    assert (place.repo / "a.py").read_text() == "a = 3\n"
    assert_clean(again)
