"""One rate limit for all agents, and a provider that goes away: real runs before a server that counts what it sees."""

import collections
import socket
import time
from pathlib import Path

import pytest

from tests.support.edits import knows
from tests.support.load import wait_until
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import Place, assert_clean, make_place, with_clock_that_jumps
from tests.support.sample import SOAK

FILES = {f"part{n:02}.py": f"value = {n}\n" for n in range(16)}
WANTED = {path: f"{text}more = True\n" for path, text in FILES.items()}
GOOD = knows(WANTED, set())
CHANGE = ("--change", "Add more", "--no-prd")


class Limited:
    """Takes so many requests in any second, and refuses the rest; `told`: with Retry-After."""

    def __init__(self, per_second: int, *, told: bool = False) -> None:
        self.per_second = per_second
        self.headers = {"retry-after": "1"} if told else {}
        self.taken: collections.deque[float] = collections.deque()
        self.refused = 0

    def __call__(self, request: Request) -> Reply:
        now = time.monotonic()
        while self.taken and self.taken[0] <= now - 1:
            self.taken.popleft()
        if len(self.taken) >= self.per_second:
            self.refused += 1
            return Reply("Slow down", status=429, headers=self.headers, latency=0.0)
        self.taken.append(now)
        return GOOD(request)


@pytest.mark.thorough
@pytest.mark.parametrize(("per_second", "told"), [(2, False), (4, True), (8, False)] if SOAK else [(4, False)])
def test_sixteen_agents_before_a_provider_with_a_rate_limit(tmp_path: Path, per_second: int, told: bool) -> None:
    place, limited = make_place(tmp_path, FILES), Limited(per_second, told=told)
    with ModelServer(limited, latency=0.3) as server:
        ran = place.run(*CHANGE, "--agents", "16", "--files", *FILES, server=server)
        assert server.count() == 16 + limited.refused  # how few those are: tests/test_pace.py, bench/rate_limit.py
    assert ran.code == 0, ran.out + ran.err
    assert {path: (place.repo / path).read_text() for path in WANTED} == WANTED
    assert_clean(ran)


@pytest.mark.thorough
def test_rpm_spaces_requests_from_the_start(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    three = list(FILES)[:3]
    with ModelServer(GOOD) as server:
        ran = place.run(*CHANGE, "--agents", "3", "--files", *three, "--rpm", "30", server=server)
        assert server.count() == 3
    assert ran.code == 0, ran.out + ran.err
    assert "waiting for openai" in ran.err  # how evenly: tests/test_lane.py


@pytest.mark.thorough
def test_refusal_of_two_agents_is_not_requested_again(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    with ModelServer(lambda request: Reply("Incorrect API key", status=401)) as server:
        ran = place.run(*CHANGE, "--agents", "2", "--files", *FILES, server=server)
        assert (ran.code, server.count()) == (4, 2), ran.out
    assert set(ran.verdicts) == {"auth"}


# --- a provider that goes away --------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_a_provider_that_is_down_for_a_while_is_waited_for(tmp_path: Path) -> None:
    place, state = make_place(tmp_path, FILES), {"since": 0.0}

    def respond(request: Request) -> Reply:
        """Down after the third reply, for five seconds, for everybody and in every way."""
        if sum(one.status == 200 for one in server.requests) >= 3:
            state["since"] = state["since"] or time.monotonic()
            if time.monotonic() - state["since"] < 5:
                how = server.count() % 3
                return Reply(drop="before") if how == 0 else Reply("Overloaded", status=(503, 529)[how - 1])
        return GOOD(request)

    with ModelServer(respond) as server:
        ran = place.run(*CHANGE, "--agents", "4", "--files", *list(FILES)[:8], server=server)
        # While it was down it was left alone, but for probes.
        assert server.count() < 8 + 4 + 10
    assert ran.code == 0, ran.out + ran.err
    assert {path: (place.repo / path).read_text() for path in list(FILES)[:8]} == dict(list(WANTED.items())[:8])
    assert_clean(ran)


@pytest.mark.thorough
def test_deadline_ends_the_wait_for_a_provider_that_is_gone(tmp_path: Path) -> None:
    """Two agents had their replies; the third waits for the provider until the end, and is resumed."""
    place, late, three = make_place(tmp_path, FILES), tmp_path / "late", list(FILES)[:3]

    def respond(request: Request) -> Reply:
        served = sum(one.status == 200 for one in server.requests)
        return GOOD(request) if served < 2 and "part02.py" not in request.files else Reply(drop="before")

    words = ("--agents", "3", "--files", *three, "--deadline", "10m")
    with ModelServer(respond) as server:
        running = place.start(*CHANGE, *words, server=server, shell=with_clock_that_jumps(late, 600.0))
        wait_until(lambda: {request.status for request in server.requests} == {0, 200} and server.count() >= 4)
        wait_until(lambda: ended(place) == 2, "two that are done")
    late.touch()
    ran = running.end()
    assert ran.code == 6, ran.out + ran.err
    assert sorted(ran.verdicts) == ["applied", "applied", "unreachable"]
    assert "until the deadline of" in ran.out and ran.summary["limits"]["stopped_by"]
    assert sum((place.repo / path).read_text() == WANTED[path] for path in three) == 2
    with ModelServer(GOOD) as server:
        again = place.run("resume", server=server)
        assert (again.code, server.count()) == (0, 1), again.out + again.err
    assert_clean(again)


def ended(place: Place) -> int:
    logs = (place.repo / ".aider_logs").glob("agent*.jsonl")
    return sum('"attempt_ended"' in path.read_text("utf-8") for path in logs)


@pytest.mark.thorough
def test_a_provider_that_was_never_there(tmp_path: Path) -> None:
    """One that is gone at the start ends the run. Behind a proxy, all hear of it from the first agents."""
    place = make_place(tmp_path, FILES)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        base = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    gone = place.run(*CHANGE, "--agents", "2", "--files", *FILES, OPENAI_API_BASE=base)
    assert (gone.code, gone.out, gone.logs.exists()) == (4, "", False), gone.err
    far, proxy = "https://models.example/v1", base.removesuffix("/v1")
    ran = place.run(*CHANGE, "--agents", "2", "--files", *FILES, OPENAI_API_BASE=far, HTTPS_PROXY=proxy)
    assert (ran.code, set(ran.verdicts)) == (4, {"unreachable"}), ran.out
    assert ran.summary["usage"]["requests"] == 0
    assert_clean(ran)
