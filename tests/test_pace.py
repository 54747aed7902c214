"""The pace before providers on paper that refuse in all the ways they do: few refusals, and hardly slower than can be.

Time is simulated, so that hours of it can be looked at: sixteen agents, a server, and the pace between them.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from orchestra.gateway.breaker import CircuitBreaker
from orchestra.gateway.lane import Lane
from orchestra.gateway.pace import UNLIMITED_RATE, Pace
from orchestra.gateway.retry_policy import LIMITED_SECONDS
from tests.support.sample import SOAK

Takes = Callable[[float, int], bool]


@dataclass
class Sliding:
    """So many in any span."""

    most: int
    span: float = 1.0
    times: list[float] = field(default_factory=list)

    def __call__(self, now: float, flying: int) -> bool:
        self.times = [time for time in self.times if time > now - self.span]
        if len(self.times) < self.most:
            self.times.append(now)
            return True
        return False


@dataclass
class Fixed:
    """So many in each second of the server's clock."""

    most: int
    counts: dict[int, int] = field(default_factory=dict)

    def __call__(self, now: float, flying: int) -> bool:
        second = math.floor(now + 0.37)
        self.counts[second] = self.counts.get(second, 0) + 1
        return self.counts[second] <= self.most


@dataclass
class Bucket:
    """It fills evenly, and holds a second's worth."""

    most: int
    level: float = math.inf
    last: float = 0.0

    def __call__(self, now: float, flying: int) -> bool:
        self.level = min(self.most, self.level + (now - self.last) * self.most)
        self.last = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


@dataclass
class Together:
    """So many at once."""

    most: int

    def __call__(self, now: float, flying: int) -> bool:
        return flying < self.most


@dataclass
class Simulation:
    takes: Takes
    agents: int = 16
    each: int = 2
    latency: float = 0.5
    told: float | None = None
    seed: int = 0
    pace: Pace = field(default_factory=Pace)
    sent: int = 0
    ended: float = 0.0

    def run(self) -> "Simulation":
        """Agents want, in turn, `each` replies; requests and answers are on their way for some milliseconds."""
        rng, order = random.Random(self.seed), itertools.count()
        events: list[tuple[float, int, str, Any]] = []
        line: list[int] = []
        now, flying, replies = 0.0, 0, 0

        def later(seconds: float, kind: str, what: Any) -> None:
            heapq.heappush(events, (now + seconds, next(order), kind, what))

        for _ in range(self.agents):
            later(rng.uniform(0, 1), "want", self.each)
        while replies < self.agents * self.each:
            while line and self.pace.wait_seconds(now) <= 0:
                later(abs(rng.gauss(0, 0.004)), "come", (line.pop(0), self.pace.record_send(now)))
                self.sent += 1
            wait = self.pace.wait_seconds(now) if line else math.inf
            if not events or events[0][0] > now + wait:
                now += wait + 1e-6
                continue
            now, _, kind, what = heapq.heappop(events)
            if kind == "want":
                line.append(what)
            elif kind == "come":
                taken = self.takes(now, flying)
                flying += taken
                later(self.latency * rng.uniform(0.7, 1.3) if taken else 0.003, "reply" if taken else "refusal", what)
            else:
                left, sent = what
                self.pace.record_return(sent)
                if kind == "refusal":
                    self.pace.record_refusal(sent, now, self.told)
                    line.append(left)
                    continue
                flying, replies, self.ended = flying - 1, replies + 1, now
                self.pace.record_served(sent, now)
                if left > 1:
                    later(rng.uniform(0.02, 0.3), "want", left - 1)
        return self


KINDS: dict[str, Callable[[int], Takes]] = {"sliding": Sliding, "fixed": Fixed, "bucket": Bucket}
RATES = (1, 2, 3, 4, 6, 8) if SOAK else (2, 4)


@pytest.mark.parametrize("told", [None, 1.0])
@pytest.mark.parametrize("per_second", RATES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_rate_is_learned_from_few_refusals(kind: str, per_second: int, told: float | None) -> None:
    for seed in range(20 if SOAK else 3):
        for latency, each in ((0.05, 2), (0.5, 2), (3.0, 2), (0.5, 6)):
            seen = Simulation(KINDS[kind](per_second), each=each, latency=latency, told=told, seed=seed).run()
            total = 16 * each
            ideal = max((total - 1) / per_second, each * latency) + latency
            assert seen.sent <= 1.3 * total and seen.ended <= 1.5 * ideal + 0.5, (latency, each, seed, seen.sent)


def test_a_limit_of_requests_at_once_is_learned_too() -> None:
    for seed in range(3):
        seen = Simulation(Together(3), each=4, latency=1.0, seed=seed).run()
        assert seen.sent <= 1.3 * 64 and seen.ended <= 1.5 * 64 / 3


def test_pace_finds_an_unstated_limit_per_minute() -> None:
    seen = Simulation(Sliding(10, 60.0), each=4, latency=2.0).run()
    assert seen.sent <= 1.4 * 64 and seen.ended <= 2 * 60 * 5.4


def test_a_provider_without_a_limit_is_hardly_held_back() -> None:
    seen = Simulation(lambda now, flying: True, each=1, latency=10.0).run()
    assert seen.sent == 16 and seen.ended < 13.0 + 1.5
    many = Simulation(lambda now, flying: True, agents=300, each=1, latency=10.0).run()
    assert many.ended < 13.0 + 6
    quick = Simulation(lambda now, flying: True, agents=300, each=5, latency=0.05).run()
    assert quick.ended < 5 and quick.pace.starting_rate(quick.ended) > UNLIMITED_RATE


def test_requests_go_evenly_where_the_user_knows_the_rate() -> None:
    pace, now, times = Pace(per_minute=30), 0.0, []
    for _ in range(5):
        now += pace.wait_seconds(now)
        times.append(now)
        pace.record_send(now)
    assert times == [0.0, 2.0, 4.0, 6.0, 8.0]


def test_what_a_provider_asks_for_is_waited_for() -> None:
    pace = Pace()
    sent = pace.record_send(100.0)
    pace.record_refusal(sent, 100.1, retry_after=7.0)
    assert pace.wait_seconds(100.1) == pytest.approx(7.0)
    pace.hold_until(120.0)
    assert pace.wait_seconds(110.0) == pytest.approx(10.0) and pace.wait_seconds(121.0) == 0.0


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("absurd", [601.0, 1e12, math.inf])
def test_lane_holds_no_longer_than_the_cap_whatever_a_good_answer_says_and_then_one_goes(absurd: float) -> None:
    clock = Clock()
    lane = Lane("openai", 1800.0, set(), Pace(), clock=clock)
    first, slow = lane.pace.record_send(clock.now), lane.pace.record_send(clock.now)
    lane.obey_rate_headers(first, absurd)
    lane.record_reply(first)
    assert lane.pace.wait_seconds(clock.now) == LIMITED_SECONDS
    clock.now += 1.0
    lane.record_reply(slow)
    clock.now += LIMITED_SECONDS - 1.0
    assert lane.pace.wait_seconds(clock.now) == 0.0
    probe = lane.pace.record_send(clock.now)
    clock.now += 5.0
    assert lane.pace.wait_seconds(clock.now) == math.inf, "the others wait for the probe"
    lane.obey_rate_headers(probe, absurd)
    lane.record_reply(probe)
    assert lane.pace.wait_seconds(clock.now) < 1.0, "it was served, so the header was wrong"
    lane.pace.record_send(clock.now)
    clock.now += 1.0
    assert lane.pace.wait_seconds(clock.now) < 1.0


def test_lane_believes_headers_below_the_cap_each_time() -> None:
    clock = Clock()
    lane = Lane("openai", 1800.0, set(), Pace(), clock=clock)
    for _ in range(3):
        sent = lane.pace.record_send(clock.now)
        lane.obey_rate_headers(sent, 20.0)
        lane.record_reply(sent)
        assert lane.pace.wait_seconds(clock.now) == 20.0
        clock.now += 20.0


# --- the breaker ----------------------------------------------------------------------------------------------------


def test_one_that_cannot_be_reached_is_asked_by_one_probe_at_a_time() -> None:
    breaker, now, pauses = CircuitBreaker(), 0.0, []
    assert breaker.wait_seconds(now) == 0.0
    breaker.record_failure(1, now, down=True)
    for ask in range(2, 10):
        pauses.append(breaker.wait_seconds(now))
        now += pauses[-1]
        assert breaker.wait_seconds(now) == 0.0
        breaker.record_send(ask)
        assert breaker.wait_seconds(now) == math.inf, "the others wait for the probe"
        breaker.record_failure(ask, now, down=True)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert breaker.failing_since == 0.0
    breaker.record_success()
    assert (breaker.is_open, breaker.wait_seconds(now), breaker.failing_since) == (False, 0.0, math.inf)


def test_failures_of_one_request_do_not_stop_the_others() -> None:
    breaker = CircuitBreaker()
    for n in range(9):
        breaker.record_failure(7, float(n), down=False)
    assert not breaker.is_open and not breaker.has_several_failures


def test_breaker_opens_after_several_failures_without_a_reply() -> None:
    breaker = CircuitBreaker()
    for n, ask in enumerate((1, 2)):
        breaker.record_failure(ask, float(n), down=False)
    breaker.record_success()
    for n, ask in enumerate((1, 2)):
        breaker.record_failure(ask, float(n), down=False)
    assert not breaker.is_open and breaker.has_several_failures
    breaker.record_failure(3, 5.0, down=False)
    assert breaker.is_open and breaker.wait_seconds(5.0) == 0.5


def test_late_failures_of_what_was_sent_before_say_nothing_new() -> None:
    breaker = CircuitBreaker()
    for ask in range(16):
        breaker.record_failure(ask, 0.0, down=True)
    assert breaker.wait_seconds(0.0) == 0.5


def test_a_probe_that_is_given_up_lets_another_one_go() -> None:
    breaker = CircuitBreaker()
    breaker.record_failure(1, 0.0, down=True)
    breaker.record_send(2)
    breaker.release_probe(1)
    assert breaker.wait_seconds(9.0) == math.inf
    breaker.release_probe(2)
    assert breaker.wait_seconds(9.0) == 0.0
