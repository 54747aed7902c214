"""A failed attempt is followed by one that knows why, as long as that may help, and no longer."""

import json
from pathlib import Path

import pytest

from tests.support.edits import search_replace
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place, assert_clean, make_place

FILES = {"a.py": "a = 1\n", "b.py": "b = 1\n"}
EARLIER = "Earlier attempts at this task did not succeed"


class Learns:
    """Makes another mistake in each attempt, until it has been told of so many."""

    def __init__(self, tries: int) -> None:
        self.tries = tries

    def __call__(self, request: Request) -> Reply:
        told = request.text.count("Attempt ")
        if told + 1 < self.tries:
            return Reply(search_replace("a.py", f"wrong {told}\n", "a = 2\n"))
        return Reply("".join(search_replace(path, text, text.replace("1", "2")) for path, text in FILES.items()))


def run(place: Place, server: ModelServer, *words: str) -> dict[str, object]:
    ran = place.run("--change", "Two", "--no-prd", "--files", *FILES, "--agents", "1", *words, server=server)
    assert "Traceback" not in ran.err
    assert place.processes() == {}
    agent: dict[str, object] = ran.agents["agent1"]
    return agent | {"code": ran.code, "out": ran.out}


def test_the_third_attempt_knows_of_the_two_before_it(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(Learns(3)) as server:
        ran = place.run(
            "--change", "Two", "--no-prd", "--files", *FILES, "--agents", "1", "--retries", "4", server=server
        )
        assert ran.code == 0, ran.out + ran.err
        first, *_, last = server.requests
    assert ran.agents["agent1"]["attempts"] == 3
    assert EARLIER not in first.text and EARLIER in last.text and last.text.count("Attempt ") == 2
    assert {path: (place.repo / path).read_text() for path in FILES} == {"a.py": "a = 2\n", "b.py": "b = 2\n"}
    assert_clean(ran)
    events = [event["event"] for event in ran.events()]
    assert events.count("retry") == 2 and events.count("attempt_ended") == 3


@pytest.mark.thorough
def test_the_number_of_attempts_has_an_end_and_so_has_the_lesson(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(Learns(99)) as server:
        agent = run(place, server, "--retries", "2")
        briefs = [len(request.text) for request in server.requests]
    assert (agent["attempts"], agent["verdict"], agent["code"]) == (3, "rejected_edit", 1)
    assert max(briefs) < min(briefs) + 9_000  # and three reflections


@pytest.mark.thorough
def test_an_attempt_that_only_repeats_the_last_is_the_last(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(lambda request: Reply("I would rather not.")) as server:
        agent = run(place, server, "--retries", "4")
        assert server.count() == 2
    assert (agent["attempts"], agent["verdict"]) == (2, "no_change")


@pytest.mark.thorough
def test_a_wrong_key_is_not_tried_twice(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(lambda request: Reply("Wrong key", status=401)) as server:
        agent = run(place, server, "--retries", "4")
        assert server.count() == 1
    assert (agent["attempts"], agent["verdict"], agent["code"]) == (1, "auth", 4)


@pytest.mark.thorough
def test_what_is_right_of_a_half_done_task_is_kept_and_the_rest_asked_for(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)

    def one_by_one(request: Request) -> Reply:
        name = "b.py" if EARLIER in request.text else "a.py"
        return Reply(search_replace(name, FILES[name], FILES[name].replace("1", "2")))

    with ModelServer(one_by_one) as server:
        ran = place.run(
            "--change", "Two", "--no-prd", "--files", *FILES, "--agents", "1", "--retries", "4", server=server
        )
        assert ran.code == 0, ran.out + ran.err
        assert server.count() == 2 and "a = 2" in json.dumps(server.requests[-1].files)
    assert {path: (place.repo / path).read_text() for path in FILES} == {"a.py": "a = 2\n", "b.py": "b = 2\n"}
    assert len(place.git("log", "--oneline").splitlines()) == 2
    assert_clean(ran)
