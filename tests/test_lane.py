"""All agents of a run before one provider, in virtual time: who asks when, how often in vain, and how long it takes."""

import asyncio
import collections
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from orchestra.gateway.lane import Lane, Refusal, RequestTrouble
from orchestra.gateway.pace import Pace
from tests.support.virtual_time import run_in_virtual_time

Clock = Callable[[], float]
SLOW_DOWN = Refusal("rate_limit", 429, "slow down")
DOWN = Refusal("unreachable", 0, "connection refused")
FAILS = Refusal("server", 500, "oops")
OUTAGE = 1800.0
REFUSAL_SECONDS = 0.01


@dataclass
class Provider:
    """Answers by its script, which is given the moment. A reply (None) takes `latency` seconds."""

    clock: Clock
    script: Callable[[float], Refusal | None]
    latency: float = 0.0
    asked: list[float] = field(default_factory=list)
    refused: int = 0

    async def answer(self) -> Refusal | None:
        self.asked.append(self.clock())
        answer = self.script(self.clock())
        self.refused += answer is not None
        await asyncio.sleep(REFUSAL_SECONDS if answer else self.latency)
        return answer


def make_lane(clock: Clock, *, per_minute: int = 0, name: str = "openai") -> Lane:
    return Lane(name, OUTAGE, set(), Pace(per_minute), clock=clock)


async def ask(lane: Lane, provider: Provider, agent: int) -> Refusal | None:
    """One request as the gateway makes it: until there is a reply (None), or no sense in asking on."""
    trouble = RequestTrouble(agent)
    while True:
        sent = await lane.wait_for_turn(trouble)
        if isinstance(sent, Refusal):
            return sent
        answer = await provider.answer()
        if answer is None:
            lane.record_reply(sent)
            return None
        if not lane.record_failure(sent, trouble, answer):
            return answer


async def ask_all(lane: Lane, provider: Provider, agents: int) -> list[Refusal | None]:
    return await asyncio.gather(*(ask(lane, provider, number) for number in range(agents)))


def in_turn(*answers: Refusal) -> Callable[[float], Refusal | None]:
    """These, one after another; then replies."""
    left = iter(answers)
    return lambda now: next(left, None)


def limited_to(per_second: int, retry_after: float | None = None) -> Callable[[float], Refusal | None]:
    """A provider that takes so many requests in any second and refuses the rest."""
    taken: collections.deque[float] = collections.deque()

    def script(now: float) -> Refusal | None:
        while taken and taken[0] <= now - 1:
            taken.popleft()
        if len(taken) >= per_second:
            return Refusal("rate_limit", 429, "slow down", retry_after)
        taken.append(now)
        return None

    return script


# --- waits that all share -------------------------------------------------------------------------------------------


def test_lane_obeys_retry_after_once_for_all_agents_and_leaves_other_lanes_alone() -> None:
    async def play(clock: Clock) -> tuple[list[float], list[float]]:
        limited = Provider(clock, in_turn(Refusal("rate_limit", 429, "slow down", 30.0)))
        other = Provider(clock, in_turn())
        lane, other_lane = make_lane(clock), make_lane(clock, name="gemini")
        first = asyncio.create_task(ask(lane, limited, 1))
        await asyncio.sleep(0.1)
        rest = [ask(lane, limited, 2), ask(lane, limited, 3), ask(other_lane, other, 4)]
        assert await asyncio.gather(first, *rest) == [None] * 4
        return limited.asked, other.asked

    limited, other = run_in_virtual_time(play)
    assert limited[0] == 0.0 and min(limited[1:]) >= 30.0 and max(limited) < 31.0
    assert other == [0.1]


def test_lane_holds_all_agents_for_as_long_as_headers_say_that_nothing_is_left() -> None:
    async def play(clock: Clock) -> list[float]:
        provider, lane = Provider(clock, in_turn()), make_lane(clock)
        sent = await lane.wait_for_turn(RequestTrouble(1))
        assert not isinstance(sent, Refusal)
        lane.obey_rate_headers(sent, 20.0)
        lane.record_reply(sent)
        await ask_all(lane, provider, 3)
        return provider.asked

    asked = run_in_virtual_time(play)
    assert asked[0] == 20.0 and max(asked) < 21.0


def test_lane_spaces_requests_evenly_when_the_user_tells_the_limit() -> None:
    async def play(clock: Clock) -> list[float]:
        provider = Provider(clock, in_turn(), latency=0.3)
        assert await ask_all(make_lane(clock, per_minute=30), provider, 6) == [None] * 6
        return provider.asked

    asked = run_in_virtual_time(play)
    assert [later - earlier for earlier, later in itertools.pairwise(asked)] == [pytest.approx(2.0)] * 5


# --- a rate that is found out ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize("per_second", [2, 4, 8, 20])
def test_lane_finds_a_rate_limit_with_few_refusals(per_second: int, retry_after: float | None) -> None:
    async def play(clock: Clock) -> tuple[int, float]:
        provider = Provider(clock, limited_to(per_second, retry_after), latency=0.3)
        assert await ask_all(make_lane(clock), provider, 16) == [None] * 16
        return provider.refused, clock()

    refused, seconds = run_in_virtual_time(play)
    assert refused <= 0.3 * 16
    assert seconds < 1.5 * 16 / per_second + 1


# --- a provider that is down ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("down", [DOWN, FAILS])
@pytest.mark.parametrize("seconds", [3.0, 60.0, 600.0])
def test_lane_asks_a_provider_that_is_down_by_probes_only_and_all_go_on_afterwards(
    seconds: float, down: Refusal
) -> None:
    async def play(clock: Clock) -> tuple[Provider, float]:
        provider = Provider(clock, lambda now: down if 0.0 < now < seconds else None)
        lane = make_lane(clock)
        assert await ask(lane, provider, 99) is None
        await asyncio.sleep(0.5)
        assert await ask_all(lane, provider, 12) == [None] * 12
        return provider, clock()

    provider, ended = run_in_virtual_time(play)
    # All twelve may have been on their way before it was known; from then on ever rarer probes.
    assert provider.refused <= 12 + 6 + seconds / 30.0
    assert seconds <= ended < seconds + 31.0


def test_lane_gives_up_a_provider_that_was_never_there_for_all_agents_at_once() -> None:
    async def play(clock: Clock) -> tuple[list[Refusal | None], int, float]:
        provider = Provider(clock, lambda now: DOWN)
        lane = make_lane(clock)
        answers = await ask_all(lane, provider, 16)
        answers.append(await ask(lane, provider, 17))
        return answers, len(provider.asked), clock()

    answers, asked, seconds = run_in_virtual_time(play)
    assert answers == [DOWN] * 17
    assert asked <= 16 + 5 and seconds < 15.0


def test_lane_lets_others_go_on_while_one_request_fails() -> None:
    async def play(clock: Clock) -> tuple[float, float]:
        lane = make_lane(clock)
        poor = asyncio.create_task(ask(lane, Provider(clock, lambda now: FAILS), 1))
        await asyncio.sleep(1.0)
        good, began = Provider(clock, in_turn()), clock()
        assert await ask(lane, good, 2) is None
        seconds = clock() - began
        assert await poor == FAILS
        return seconds, clock()

    seconds, all_of_it = run_in_virtual_time(play)
    assert seconds < 0.5 < all_of_it


@pytest.mark.parametrize("refusal", [FAILS, DOWN])
def test_lane_waits_longer_before_each_try_of_the_same_request(refusal: Refusal) -> None:
    async def play(clock: Clock) -> list[float]:
        provider = Provider(clock, in_turn(refusal, refusal, refusal))
        lane = make_lane(clock)
        lane.known_providers.add("openai")
        assert await ask(lane, provider, 1) is None
        return provider.asked

    first, *_, last = run_in_virtual_time(play)
    assert first == 0.0 and last == pytest.approx(0.5 + 1.0 + 2.0, abs=0.05)


def test_lane_asks_no_third_agent_with_a_key_that_two_were_refused_with() -> None:
    wrong = Refusal("auth", 401, "Incorrect key")

    async def play(clock: Clock) -> int:
        provider, lane = Provider(clock, lambda now: wrong), make_lane(clock)
        for agent in (1, 1, 2, 3, 4):
            assert await ask(lane, provider, agent) == wrong
        return len(provider.asked)

    assert run_in_virtual_time(play) == 3
