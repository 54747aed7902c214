"""The limits at the gateway's door, on real sockets: money set aside in every dialect, and who waits for whom."""

import asyncio
import json
import threading
import time
from dataclasses import replace
from typing import Any

import httpx
import pytest

from orchestra.dialects import DIALECTS as FORMATS
from orchestra.gateway.billing import ClientPass, Exchange
from orchestra.gateway.budget import Amount, Budget
from orchestra.gateway.gateway import Gateway
from orchestra.gateway.lane import Limits
from orchestra.providers import catalogue
from tests.support.load import NEVER, holds_soon
from tests.support.modelserver import ModelServer, Reply, Request, Usage
from tests.support.seating import CALLS, DIALECTS, MODELS, STREAMS, Listener, client, door, is_final

KNOWN = {dialect: catalogue.resolve_model(name) for dialect, name in MODELS.items()}
CAPS = {"openai": "max_completion_tokens", "anthropic": "max_tokens", "gemini": "maxOutputTokens"}


def hello(request: Request) -> Reply:
    return Reply("Hello there", usage=Usage(input=100, output=20))


def question(dialect: str, cap: int = 0, *, stream: bool = False, n: int = 0) -> tuple[str, dict[str, Any]]:
    """A request to a model with a price; gemini carries its caps elsewhere."""
    path, body = (STREAMS if stream else CALLS)[dialect]
    name = KNOWN[dialect].upstream_name
    capped: dict[str, Any] = {"generationConfig": {CAPS[dialect]: cap}} if dialect == "gemini" else {CAPS[dialect]: cap}
    return path.replace("m-1", name), body | {"model": name, "n": n} | (capped if cap else {})


async def ask(gateway: Gateway, ticket: ClientPass, dialect: str, cap: int = 0, **how: Any) -> httpx.Response:
    path, body = question(dialect, cap, **how)
    async with client() as http:
        return await http.post(f"{gateway.client_url(ticket, dialect)}/{path}", json=body)


def agent(gateway: Gateway, task: int = 1) -> ClientPass:
    return gateway.add_client(ClientPass("agent", task, 1))


async def until(true: Any) -> None:
    assert await asyncio.to_thread(holds_soon, true)


def told_cap(dialect: str, body: dict[str, Any]) -> int | None:
    return FORMATS[dialect].output_cap(body)


# --- money ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_request_is_settled_with_what_the_provider_tells(dialect: str, stream: bool) -> None:
    budget = Budget(1.0)

    async def talk(server: ModelServer) -> Exchange:
        async with door(server, limits=Limits(budget)) as (gateway, heard):
            assert (await ask(gateway, agent(gateway), dialect, 5000, stream=stream)).status_code == 200
            await until(lambda: heard)
            return heard[0]

    with ModelServer(hello) as server:
        used = asyncio.run(talk(server)).usage
    assert used.dollars == catalogue.request_cost(KNOWN[dialect], 100, 0, 0, 20) == budget.run.spent.dollars
    assert (used.assumed, used.overshoot, budget.run.reservations, budget.tasks[1].reservations) == (0, 0, set(), set())


def test_listener_hears_of_a_reservation_before_the_exchange_with_its_number() -> None:
    class InOrder(Listener):
        def on_exchange(self, ticket: ClientPass, exchange: Exchange) -> None:
            assert [number for number, _ in self.reservations] == [exchange.number]
            super().on_exchange(ticket, exchange)

    async def talk(server: ModelServer) -> Listener:
        listener = InOrder()
        async with door(server, listener, limits=Limits(Budget(1.0))) as (gateway, _):
            assert (await ask(gateway, agent(gateway), "openai", 5000)).status_code == 200
        return listener

    with ModelServer(hello) as server:
        listener = asyncio.run(talk(server))
    [(_, most)] = listener.reservations
    assert most.tokens > 5_000 and most.dollars > 0 and len(listener.exchanges) == 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_with_little_left_the_request_asks_for_a_shorter_reply(dialect: str) -> None:
    model = KNOWN[dialect]
    assert model.price_out is not None
    budget = Budget(6_000 * model.price_out)

    async def talk(server: ModelServer) -> list[Exchange]:
        async with door(server, limits=Limits(budget)) as (gateway, heard):
            for n, cap in enumerate((20_000, 0, 5_000)):
                assert (await ask(gateway, agent(gateway), dialect, cap, n=n)).status_code == 200
            return heard

    with ModelServer(hello) as server:
        heard = asyncio.run(talk(server))
        caps = [told_cap(dialect, request.body) for request in server.requests]
    assert [5_000 < (cap or 0) < 6_000 for cap in caps[:2]] == [True, True] and caps[2] == 5_000
    assert server.requests[0].messages and server.requests[1].body.keys() >= question(dialect)[1].keys()
    assert len({exchange.identity for exchange in heard}) == 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_reply_cut_off_by_the_budget_is_paid_and_reported(dialect: str, stream: bool) -> None:
    model = KNOWN[dialect]
    assert model.price_out is not None
    budget = Budget(6_000 * model.price_out)

    def cut(request: Request) -> Reply:
        return Reply("Hello th", usage=Usage(100, told_cap(dialect, request.body) or 0), finish="length")

    async def talk(server: ModelServer) -> Exchange:
        async with door(server, limits=Limits(budget)) as (gateway, heard):
            answer = await ask(gateway, agent(gateway), dialect, 20_000, stream=stream)
            assert stream or is_final(answer, dialect)
            await until(lambda: heard)
            return heard[0]

    with ModelServer(cut) as server:
        exchange = asyncio.run(talk(server))
    assert (exchange.failure, exchange.usage.replies, exchange.raw) == ("budget", 1, "")
    assert exchange.usage.dollars == pytest.approx(budget.run.spent.dollars) and "cut off after" in exchange.message


def test_what_does_not_fit_is_refused_and_never_sent() -> None:
    budget = Budget(1.0, spent=Amount(0.99, 0))

    async def talk(server: ModelServer) -> list[Exchange]:
        async with door(server, limits=Limits(budget)) as (gateway, heard):
            for dialect in ("openai", "anthropic"):
                assert is_final(await ask(gateway, agent(gateway), dialect, 8000), dialect)
            return heard

    with ModelServer(hello) as server:
        heard = asyncio.run(talk(server))
        assert server.count() == 0
    assert [exchange.failure for exchange in heard] == ["budget", "budget"]
    assert heard[0].message.startswith("the run's budget is used up: $0.9900 of $1.00 are spent, and this request")


def test_a_model_without_a_price_is_not_asked_under_a_budget() -> None:
    prices = {"openai/m-1": catalogue.with_prices(catalogue.resolve_model("openai/m-1"), 2, 10)}

    async def talk(server: ModelServer, limits: Limits) -> Exchange:
        async with door(server, limits=limits) as (gateway, heard), client() as http:
            path, body = CALLS["openai"]
            await http.post(f"{gateway.client_url(agent(gateway), 'openai')}/{path}", json=body)
            return heard[0]

    with ModelServer(hello) as server:
        assert "no price is known for openai/m-1" in asyncio.run(talk(server, Limits(Budget(1.0)))).message
        assert server.count() == 0
        priced = asyncio.run(talk(server, Limits(Budget(1.0), prices=prices)))
    assert priced.usage.dollars == pytest.approx(100 * 2e-6 + 20 * 1e-5)


NO_USAGE = [
    ("a stream", "openai", True, Reply("Hello there")),
    ("a reply", "openai", False, Reply(raw_body=b'{"choices": [{"message": {"content": "Hi"}}]}')),
]


@pytest.mark.parametrize(("what", "dialect", "stream", "reply"), NO_USAGE)
def test_a_reply_without_usage_counts_at_the_most_that_it_may_cost(
    what: str, dialect: str, stream: bool, reply: Reply
) -> None:
    budget = Budget(1.0)

    async def talk(server: ModelServer) -> Exchange:
        async with door(server, limits=Limits(budget)) as (gateway, heard), client() as http:
            path, body = question(dialect, 5000, stream=stream)
            body.pop("stream_options", None)
            await http.post(f"{gateway.client_url(agent(gateway), dialect)}/{path}", json=body)
            await until(lambda: heard)
            return heard[0]

    with ModelServer(lambda request: reply) as server:
        exchange = asyncio.run(talk(server))
    assert (exchange.failure, exchange.usage.dollars) == ("", 0)
    assert 0.05 < exchange.usage.assumed < 0.051 and exchange.usage.assumed_tokens > 5000
    assert budget.run.spent.dollars == exchange.usage.assumed == exchange.usage.paid


PAID = [
    ("lost in its middle", Reply("a longer answer than that", drop="mid"), 2),
    ("lost before it began", Reply(drop="before"), 1),
    ("half a reply", Reply(raw_body=b'{"choices": [{"mess'), 1),
    ("an error", Reply("busy", status=503), 0),
    ("a refusal", Reply("slow down", status=429, headers={"retry-after": "0"}), 0),
    ("a web page", Reply(raw_body=b"<html></html>"), 0),
]


@pytest.mark.parametrize(("what", "bad", "lost"), PAID)
def test_what_may_be_billed_though_nothing_came_of_it(what: str, bad: Reply, lost: int) -> None:
    """Two bad answers at most, then a good one. Each loss counts at the most that the request may cost."""
    replies = iter([bad, bad] if lost == 2 else [bad])
    budget = Budget(1.0)

    async def talk(server: ModelServer) -> Exchange:
        async with door(server, limits=Limits(budget)) as (gateway, heard):
            await ask(gateway, agent(gateway), "openai", 5000)
            return heard[0]

    with ModelServer(lambda request: next(replies, None) or hello(request)) as server:
        used = asyncio.run(talk(server)).usage
        assert used.requests == server.count() <= 2
    assert used.assumed == pytest.approx(0.0502 * lost, abs=0.001)
    assert budget.run.spent.dollars == pytest.approx(used.paid or 0)


def test_what_is_on_its_way_when_the_run_ends_counts_as_paid() -> None:
    budget = Budget(1.0)

    async def talk(server: ModelServer) -> list[Exchange]:
        async with door(server, limits=Limits(budget)) as (gateway, heard):
            flying = asyncio.create_task(ask(gateway, agent(gateway), "openai", 60_000))
            await until(server.count)
            waiting = asyncio.create_task(ask(gateway, agent(gateway, 2), "openai", 60_000))
            await until(lambda: gateway.limits.budget.waiting)
            gateway.close_open_requests()
            flying.cancel()
            waiting.cancel()
        return heard

    with ModelServer(hello, latency=NEVER) as server:
        heard = asyncio.run(talk(server))
        assert server.count() == 1
    assert sorted(exchange.usage.assumed > 0.5 for exchange in heard) == [False, True]
    assert budget.run.spent.dollars == pytest.approx(max(exchange.usage.assumed for exchange in heard))


def test_waiting_request_of_a_gone_agent_is_not_sent() -> None:
    """Waiting for the budget and waiting in line: neither is sent, and the next one is not held up."""
    budget = Budget(1.0)

    async def talk(server: ModelServer) -> ClientPass:
        async with door(server, limits=Limits(budget)) as (gateway, _):
            first, gone, third = (agent(gateway, task) for task in (1, 2, 3))
            flying = asyncio.create_task(ask(gateway, first, "openai", 60_000))
            await until(server.count)
            leaving = asyncio.create_task(ask(gateway, gone, "openai", 60_000, n=2))
            await until(lambda: gateway.limits.budget.waiting)
            staying = asyncio.create_task(ask(gateway, third, "openai", 20_000, n=3))
            await asyncio.sleep(0.2)
            gateway.remove_client(gone)
            left.set()
            assert is_final(await leaving, "openai")
            assert [answer.status_code for answer in await asyncio.gather(flying, staying)] == [200, 200]
            return gone

    left = threading.Event()
    with ModelServer(lambda request: replace(hello(request), until=left.is_set)) as server:
        gone = asyncio.run(talk(server))
        assert sorted(request.body["n"] for request in server.requests) == [0, 3]
    assert [exchange.failure for exchange in gone.exchanges] == ["cancelled"]
    assert gone.waited_seconds > 0.15


# --- time -----------------------------------------------------------------------------------------------------------


def test_listener_gets_begin_and_end_of_a_wait() -> None:
    listener = Listener()
    limited = iter([Reply("slow down", status=429, headers={"retry-after": "3"})])

    async def talk(server: ModelServer) -> None:
        async with door(server, listener) as (gateway, _):
            assert (await ask(gateway, agent(gateway), "openai")).status_code == 200

    with ModelServer(lambda request: next(limited, None) or hello(request)) as server:
        asyncio.run(talk(server))
    assert listener.waits == [(1, "openai", "rate_limit: slow down"), (1, "", "")]


def test_headers_that_say_that_nothing_is_left_hold_everybody() -> None:
    used_up = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}
    first = iter([Reply("Hello", headers=used_up)])

    async def talk(server: ModelServer) -> None:
        async with door(server) as (gateway, _):
            await ask(gateway, agent(gateway), "openai")
            await asyncio.gather(*(ask(gateway, agent(gateway, n), "openai", n=n) for n in range(3)))

    with ModelServer(lambda request: next(first, None) or hello(request)) as server:
        asyncio.run(talk(server))
    times = [request.time - server.requests[0].time for request in server.requests]
    assert min(times[1:]) > 0.95


def test_two_agents_refused_in_the_same_words_spare_the_third_and_another_model_is_asked() -> None:
    def respond(request: Request) -> Reply:
        return Reply("Incorrect key", status=401) if request.model == "m-1" else hello(request)

    async def talk(server: ModelServer) -> list[int]:
        async with door(server) as (gateway, heard), client() as http:
            path, body = CALLS["openai"]

            async def one(task: int, model: str) -> int:
                url = f"{gateway.client_url(agent(gateway, task), 'openai')}/{path}"
                return (await http.post(url, json=body | {"model": model})).status_code

            found = [await one(task, "m-1") for task in (1, 1, 2, 3, 4)] + [await one(5, "m-2")]
            assert [exchange.failure for exchange in heard] == ["auth"] * 5 + [""]
            return found

    with ModelServer(respond) as server:
        assert asyncio.run(talk(server)) == [400] * 5 + [200]
        assert server.count() == 4


def test_a_provider_that_goes_down_is_asked_by_probes_only_and_then_all_go_on() -> None:
    """Twelve agents, three seconds without an answer."""
    state = {"until": 0.0}

    def respond(request: Request) -> Reply:
        if request.body["n"] < 0:
            state["until"] = time.monotonic() + 3
            return hello(request)
        return Reply(drop="before") if time.monotonic() < state["until"] else hello(request)

    async def talk(server: ModelServer) -> list[int]:
        async with door(server) as (gateway, _):
            await ask(gateway, agent(gateway), "openai", n=-1)
            work = [ask(gateway, agent(gateway, n), "openai", n=n) for n in range(12)]
            return [answer.status_code for answer in await asyncio.gather(*work)]

    with ModelServer(respond) as server:
        assert asyncio.run(talk(server)) == [200] * 12
        lost = [request for request in server.requests if not request.status]
    # All twelve were on their way before anybody knew; after that only probes.
    assert len(lost) <= 12 + 4


def test_a_body_without_json_costs_nothing_and_one_without_messages_is_held() -> None:
    budget = Budget(0.5)

    async def talk(server: ModelServer) -> list[Exchange]:
        async with door(server, limits=Limits(budget)) as (gateway, heard), client() as http:
            for raw in (b"", b"[]", json.dumps({"model": KNOWN["openai"].upstream_name}).encode()):
                await http.post(f"{gateway.client_url(agent(gateway), 'openai')}/chat/completions", content=raw)
            return heard

    with ModelServer(hello) as server:
        heard = asyncio.run(talk(server))
        assert server.count() == 1
    assert [exchange.failure for exchange in heard] == [""]
    assert budget.run.spent.dollars == heard[0].usage.dollars
