"""Limits of money and time in real runs: never over, nothing lost, nothing paid for twice, and resumed with more."""

import json
import random
from pathlib import Path

import pytest

from orchestra.providers import catalogue
from tests.support.edits import gemini_prd, knows
from tests.support.load import NEVER, wait_until
from tests.support.modelserver import ModelServer, Reply, Request, Usage
from tests.support.runs import Place, Ran, assert_clean, make_place, with_clock_that_jumps
from tests.support.sample import SOAK

MODEL = catalogue.resolve_model("openai/gpt-6.1-sol")
FILES = {f"part{n:02}.py": f"value = {n}\n" for n in range(16)}
WANTED = {path: f"{text}more = True\n" for path, text in FILES.items()}
GOOD = knows(WANTED, set())
CHANGE = ("--change", "Add more", "--no-prd")
PRD = '# More\n\n```json\n{"work": [{"file": "part00.py", "do": "more"}]}\n```\n'


def billed(server: ModelServer) -> float:
    """What the provider writes on its bill."""
    used = server.tokens()
    return catalogue.request_cost(MODEL, used.input, used.cached, 0, used.output) or 0.0


def done(place: Place) -> list[str]:
    return [path for path, text in WANTED.items() if (place.repo / path).read_text() == text]


def assert_held(ran: Ran, server: ModelServer, budget: float) -> None:
    limits = ran.summary["limits"]
    assert limits["spent"] == pytest.approx(billed(server) + limits["reserved"])
    assert billed(server) <= budget + limits["overshoot"]


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(50) if SOAK else range(1))
def test_sixteen_agents_never_pass_the_budget_and_are_resumed_with_more(tmp_path: Path, seed: int) -> None:
    """A reply costs about 7 cents, and may cost 17: so they queue, and the eleventh or so finds too little left."""
    rng, budget = random.Random(seed), 0.75
    place = make_place(tmp_path, FILES)

    def respond(request: Request) -> Reply:
        used = Usage(rng.randint(500, 3000), rng.randint(3000, 9000))
        return Reply(GOOD(request).text, usage=used, latency=rng.uniform(0.0, 0.6))

    with ModelServer(respond) as server:
        words = (*CHANGE, "--agents", "16", "--files", *FILES, "--budget", str(budget))
        first = place.run(*words, server=server)
        assert first.code == 6, first.out + first.err
        assert_held(first, server, budget)
        assert set(first.verdicts) == {"applied", "budget"}
        kept = done(place)
        assert len(kept) == first.verdicts.count("applied") == server.count() >= 5
        assert "is used up" in next(a["cause"] for a in first.agents.values() if a["verdict"] == "budget")
        asked = [json.dumps(request.body, sort_keys=True) for request in server.requests]
        again = place.run("resume", "--budget", "5", server=server)
        assert again.code == 0, again.out + again.err
        assert_held(again, server, 5.0)
        # Nothing is asked for again that has been paid for.
        assert server.count() == 16 and len({json.dumps(r.body, sort_keys=True) for r in server.requests}) == 16
        assert len(asked) == len(kept)
    assert done(place) == list(WANTED)
    assert_clean(again)


@pytest.mark.thorough
def test_a_dollar_is_enough_for_an_ordinary_run_with_its_prd(tmp_path: Path) -> None:
    """16 agents, Gemini's PRD, and models whose longest replies would cost more than a dollar together."""
    place = make_place(tmp_path, FILES)
    work = ", ".join(json.dumps({"file": path, "do": "more"}) for path in FILES)
    prd = f'# More\n\n```json\n{{"work": [{work}]}}\n```\n'
    with ModelServer(gemini_prd(prd, GOOD), latency=0.2) as server:
        ran = place.run("--change", "Add more", "--agents", "16", "--budget", "1", server=server)
        assert server.count() == 17
    assert ran.code == 0, ran.out + ran.err
    assert done(place) == list(WANTED)
    assert ran.summary["limits"]["budget"] == 1.0 and 0 < ran.summary["limits"]["spent"] < 1
    assert "of $1.00 spent" in ran.out


@pytest.mark.thorough
def test_report_names_what_was_billed_beyond_reservations(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)

    def respond(request: Request) -> Reply:
        return Reply(GOOD(request).text, usage=Usage(1000, 60_000))

    with ModelServer(respond) as server:
        # One request's reservation fits, two do not: the second waits until the first is settled, and is refused.
        ran = place.run(*CHANGE, "--agents", "2", "--files", *list(FILES)[:4], "--budget", "0.25", server=server)
        assert_held(ran, server, 0.25)
    assert ran.code == 6 and ran.summary["limits"]["overshoot"] > 0.3
    assert "Overshoot: " in ran.out
    assert_clean(ran, branches=("main",))


@pytest.mark.thorough
def test_a_task_and_the_tokens_of_the_run_have_limits_too(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)

    def respond(request: Request) -> Reply:
        """The first file never fits, so that its agent asks on and on."""
        poor = "part00.py" in request.files
        text = "part00.py\n```\n<<<<<<< SEARCH\nno\n=======\nyes\n>>>>>>> REPLACE\n```\n"
        return Reply(text if poor else GOOD(request).text, usage=Usage(1000, 3000))

    three = list(FILES)[:3]
    with ModelServer(respond) as server:
        words = (*CHANGE, "--agents", "3", "--files", *three)
        ran = place.run(*words, "--task-budget", "0.08", server=server)
        assert (ran.code, sorted(ran.verdicts)) == (6, ["applied", "applied", "budget"]), ran.out + ran.err
        assert "the task's budget is used up" in ran.agents["agent1"]["cause"]
        assert server.count() == 2 + 2
        tokens = place.run(*CHANGE, "--agents", "1", "--files", "part00.py", "--max-tokens", "8000", server=server)
        assert (tokens.code, tokens.verdicts) == (6, ["budget"])
        assert tokens.summary["limits"]["tokens"] <= 8000
        assert "of 8,000 tokens are spent" in tokens.out


@pytest.mark.thorough
def test_a_reply_that_the_budget_cut_short_is_no_reply(tmp_path: Path) -> None:
    """With the last cents the request asks for a shorter reply; if that is cut off, it was the budget."""
    place = make_place(tmp_path, FILES)

    def respond(request: Request) -> Reply:
        cap = request.body["max_completion_tokens"]
        return Reply(GOOD(request).text, usage=Usage(1000, min(cap, 9000)), finish="stop" if cap >= 9000 else "length")

    with ModelServer(respond) as server:
        ran = place.run(*CHANGE, "--agents", "1", "--files", "part00.py", "--budget", "0.07", server=server)
        assert (ran.code, ran.verdicts) == (6, ["budget"]), ran.out
        assert "cut off after the 6," in ran.agents["agent1"]["cause"]
        assert_held(ran, server, 0.07)
        again = place.run("resume", "--budget", "1", server=server)
        assert again.code == 0, again.out + again.err
        assert server.count() == 2
    assert done(place) == ["part00.py"]


def test_a_lost_reply_counts_as_paid_and_is_asked_for_once_more(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    torn = iter([Reply("some text " * 50, drop="mid")])
    with ModelServer(lambda request: next(torn, None) or GOOD(request)) as server:
        ran = place.run(*CHANGE, "--files", "part00.py", "--budget", "1", server=server)
        assert (ran.code, server.count()) == (0, 2), ran.out + ran.err
    assert 0.15 < ran.summary["limits"]["reserved"] < 0.2
    assert ran.summary["limits"]["spent"] > ran.summary["limits"]["reserved"]
    assert "is assumed: replies were lost" in ran.out


@pytest.mark.thorough
def test_what_was_on_its_way_when_the_run_was_killed_counts_as_paid(tmp_path: Path) -> None:
    place, slow = make_place(tmp_path, FILES), {"on": True}
    with ModelServer(lambda request: Reply(GOOD(request).text, latency=NEVER if slow["on"] else 0.0)) as server:
        words = ("--agents", "2", "--files", "part00.py", "part01.py", "--budget", "0.4")
        running = place.start(*CHANGE, *words, server=server)
        wait_until(lambda: server.count() == 2)
        running.child.kill()
        running.child.wait()
        wait_until(lambda: place.processes() == {}, what="no orphan")
        slow["on"] = False
        ran = place.run("resume", server=server)
    assert ran.code == 0, ran.out + ran.err
    limits = ran.summary["limits"]
    assert 0.3 < limits["reserved"] < limits["spent"] <= 0.4
    assert sum(agent["usage"]["assumed_cost"] for agent in ran.agents.values()) == pytest.approx(limits["reserved"])


@pytest.mark.thorough
def test_a_price_must_be_known_for_a_budget(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    words = (*CHANGE, "--model", "openai/my-model", "--files", "part00.py", "--budget", "1")
    with ModelServer(GOOD) as server:
        without = place.run(*words, server=server)
        assert (without.code, server.count()) == (2, 0)
        assert "No price is known for openai/my-model" in without.err and "--price IN,OUT" in without.err
        given = place.run(*words, "--price", "2,10", server=server)
        assert given.code == 0, given.out + given.err
        assert given.summary["usage"]["cost"] == pytest.approx(billed(server))
        place.write({"aider-orchestrator.toml": '[prices]\n"openai/my-model" = [2, 10]\n'})
        assert place.run(*words[:-2], "--budget", "1", "--change", "Again", server=server).code in (0, 1)
        wrong = place.run(*words, "--price", "cheap", server=server)
        assert wrong.code == 2 and "for example 1.25,10" in wrong.err


# --- time -----------------------------------------------------------------------------------------------------------


def test_deadline_keeps_what_is_finished_and_the_rest_is_resumed(tmp_path: Path) -> None:
    place, late, slow = make_place(tmp_path, FILES), tmp_path / "late", {"on": True}

    def respond(request: Request) -> Reply:
        is_late = slow["on"] and "part02.py" in request.files
        return Reply(GOOD(request).text, latency=NEVER if is_late else 0.0)

    four = list(FILES)[:4]
    with ModelServer(respond) as server:
        shell = with_clock_that_jumps(late, 600.0)
        words = (*CHANGE, "--agents", "4", "--files", *four, "--deadline", "10m")
        running = place.start(*words, server=server, shell=shell)
        wait_until(lambda: ended(place) == 3 and server.count() == 4, "three that are done, and one that waits")
        late.touch()
        ran = running.end()
        assert ran.code == 6, ran.out + ran.err
        assert sorted(ran.verdicts) == ["applied"] * 3 + ["budget"]
        first = "Stopped by the deadline of 10m: 3 of 4 tasks are complete; 3 files changed on main"
        assert ran.out.startswith(first)
        assert ran.agents["agent3"]["cause"].startswith("The deadline of 10m was reached while part02.py was")
        slow["on"] = False
        again = place.run("resume", server=server)
        assert again.code == 0, again.out + again.err
    assert done(place) == four
    assert_clean(again)


def ended(place: Place) -> int:
    logs = (place.repo / ".aider_logs").glob("agent*.jsonl")
    return sum('"attempt_ended"' in path.read_text("utf-8") for path in logs)


@pytest.mark.thorough
def test_the_deadline_comes_before_the_agents(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(gemini_prd(PRD, GOOD), latency=NEVER) as server:
        ran = place.run("--change", "Add more", "--deadline", "2s", server=server)
        assert ran.code == 6
        assert "The deadline of 2s was reached before the agents began." in ran.out
    with ModelServer(gemini_prd(PRD, GOOD)) as server:
        again = place.run("resume", "--deadline", "1h", server=server)
        assert again.code == 0, again.out + again.err
    assert done(place) == ["part00.py"]


@pytest.mark.thorough
def test_what_is_set_up_at_the_deadline_is_not_begun(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    words = ("--files", "part00.py", "part01.py", "--agents", "2", "--setup-cmd", "sleep 3600", "--deadline", "5s")
    with ModelServer(GOOD) as server:
        ran = place.run(*CHANGE, *words, server=server)
        assert (ran.code, ran.verdicts, server.count()) == (6, ["budget"] * 2, 0), ran.out + ran.err
    assert_clean(ran)
