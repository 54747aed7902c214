"""The gateway on real sockets before a scripted model server: counted, keyed, final, patient, and quick to stop."""

import asyncio
import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestra import dialects
from orchestra.agents.seat import ForkServer, find_aider_python
from orchestra.dialects import DIALECTS as FORMATS
from orchestra.gateway.billing import ClientPass, Exchange, Upstream
from orchestra.gateway.gateway import Gateway
from orchestra.gateway.server import LoopbackServer
from tests.support.edits import appends
from tests.support.load import NEVER, holds_soon, within
from tests.support.modelserver import ModelServer, Reply, Request, Usage
from tests.support.seating import (
    CALLS,
    DIALECTS,
    MODELS,
    PARTS,
    SAY,
    STREAMS,
    Listener,
    client,
    door,
    is_final,
    make_job,
    plant,
    real_key,
    sit,
    upstreams,
)
from tests.support.warm import aider as warm_aider

HEADERS = {"openai": "authorization", "anthropic": "x-api-key", "gemini": "x-goog-api-key"}
Respond = Callable[[Request], Reply]


def hello(request: Request) -> Reply:
    return Reply("Hello there", usage=Usage(input=100, output=20, cached=40, thoughts=5))


def in_turn(*replies: Reply) -> Respond:
    """These, one after another; then hello."""
    turn = iter(replies)
    return lambda request: next(turn, None) or hello(request)


async def ask(
    gateway: Gateway, ticket: ClientPass, dialect: str, body: dict[str, Any] | bytes | None = None, *, n: int = 0
) -> httpx.Response:
    """`n` makes the question another one."""
    path, said = CALLS[dialect]
    said = said | {"n": n} if n else said
    raw = body if isinstance(body, bytes) else json.dumps(body or said).encode()
    headers = {HEADERS[dialect]: ticket.token, "content-type": "application/json"}
    async with client() as http:
        return await http.post(f"{gateway.client_url(ticket, dialect)}/{path}", content=raw, headers=headers)


def agent(gateway: Gateway, **more: Any) -> ClientPass:
    return gateway.add_client(ClientPass("agent", 1, 1, **more))


async def until(true: Callable[[], object]) -> None:
    assert await asyncio.to_thread(holds_soon, true)


# --- counting and keys ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_request_goes_on_with_the_real_key_and_its_reply_is_counted(dialect: str) -> None:
    async def talk(server: ModelServer) -> tuple[ClientPass, httpx.Response, list[Exchange]]:
        async with door(server) as (gateway, heard):
            ticket = agent(gateway)
            return ticket, await ask(gateway, ticket, dialect), heard

    with ModelServer(hello) as server:
        ticket, answer, heard = asyncio.run(talk(server))
    [request], [exchange] = server.requests, heard
    assert request.body == CALLS[dialect][1] and request.dialect == dialect and request.model == "m-1"
    assert request.headers[HEADERS[dialect]].removeprefix("Bearer ") == real_key(dialect)
    assert ticket.token not in str(request.headers) + request.path
    assert answer.status_code == 200 and FORMATS[dialect].reply_text(answer.json()) == "Hello there"
    assert real_key(dialect) not in answer.text + str(answer.headers)
    used = exchange.usage
    assert (used.requests, used.replies, used.input, used.cached, used.output) == (1, 1, 100, 40, 20)
    assert used.dollars is None, "nobody knows the price of m-1"
    assert (exchange.reply, exchange.status, exchange.failure) == ("Hello there", 200, "")
    assert ticket.usage == used


@pytest.mark.parametrize(("dialect", "model"), MODELS.items())
def test_a_known_model_has_its_price(dialect: str, model: str) -> None:
    from orchestra.providers import catalogue

    known, (path, body) = catalogue.resolve_model(model), CALLS[dialect]
    path, body = path.replace("m-1", known.upstream_name), body | {"model": known.upstream_name}

    async def talk(server: ModelServer) -> Exchange:
        async with door(server) as (gateway, heard), client() as http:
            await http.post(f"{gateway.client_url(agent(gateway), dialect)}/{path}", json=body)
            return heard[0]

    with ModelServer(hello) as server:
        used = asyncio.run(talk(server)).usage
    assert used.dollars == catalogue.request_cost(known, 100, 40, 0, 20) and used.dollars


def test_a_token_opens_nothing_before_it_is_admitted_or_after_it_is_dismissed() -> None:
    async def knock(server: ModelServer) -> list[int]:
        async with door(server) as (gateway, heard):
            strange, known = ClientPass("agent", 1, 1), agent(gateway)
            found = [(await ask(gateway, each, "openai")).status_code for each in (strange, known)]
            gateway.remove_client(known)
            found.append((await ask(gateway, known, "openai")).status_code)
            async with client() as http:
                other = agent(gateway)
                for path in ("", "/", "/t", f"/t/{other.token}", f"/t/{other.token}/nobody/chat/completions"):
                    found.append((await http.post(f"http://127.0.0.1:{gateway.port}{path}")).status_code)
            assert len(heard) == 1
        return found

    with ModelServer(hello) as server:
        assert asyncio.run(knock(server)) == [403, 200, 403, 403, 403, 403, 403, 403]
        assert server.count() == 1


def test_a_key_in_the_query_is_taken_out_and_the_rest_is_kept() -> None:
    async def talk(server: ModelServer) -> None:
        async with door(server) as (gateway, _), client() as http:
            ticket = agent(gateway)
            url = f"{gateway.client_url(ticket, 'gemini')}/models/m-1:streamGenerateContent"
            await http.post(f"{url}?key={ticket.token}&alt=sse&%24x=1", json=PARTS)

    with ModelServer(hello) as server:
        asyncio.run(talk(server))
        assert server.requests[0].path == "/v1beta/models/m-1:streamGenerateContent?alt=sse&%24x=1"


def test_the_users_proxy_is_not_asked_for_a_server_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def talk(server: ModelServer) -> int:
        async with door(server) as (gateway, _):
            return (await ask(gateway, agent(gateway), "openai")).status_code

    with ModelServer(hello) as server:
        assert asyncio.run(talk(server)) == 200


def test_a_compressed_answer_is_read_and_handed_on_plain() -> None:
    with ModelServer(hello) as server:
        whole = httpx.post(server.openai_base + "/chat/completions", json=SAY).content
    packed = Reply(raw_body=gzip.compress(whole), headers={"content-encoding": "gzip"})

    async def talk(server: ModelServer) -> httpx.Response:
        async with door(server) as (gateway, heard):
            answer = await ask(gateway, agent(gateway), "openai")
            assert heard[0].usage.input == 100
            return answer

    with ModelServer(lambda request: packed) as server:
        answer = asyncio.run(talk(server))
    assert (answer.content, answer.headers.get("content-encoding")) == (whole, None)


def test_gateway_carries_a_hundred_requests_at_once_and_counts_all() -> None:
    async def talk(server: ModelServer) -> tuple[list[int], Usage]:
        async with door(server) as (gateway, heard):
            tickets = [agent(gateway) for _ in range(100)]
            answers = await asyncio.gather(*(ask(gateway, each, DIALECTS[n % 3]) for n, each in enumerate(tickets)))
            told = sum((Usage(e.usage.input, e.usage.output, e.usage.cached) for e in heard), Usage())
            assert [ticket.usage.replies for ticket in tickets] == [1] * 100
        return [answer.status_code for answer in answers], told

    with ModelServer(lambda request: replace(hello(request), until=lambda: server.count() == 100)) as server:
        statuses, told = asyncio.run(talk(server))
        assert statuses == [200] * 100 and server.peak == 100
        assert told == Usage(10_000, 2_000, 4_000)


# --- final answers --------------------------------------------------------------------------------------------------

FINAL = [
    (Reply("no", status=400), "bad_request"),
    (Reply("rate limit, content_policy", status=400), "bad_request"),
    (Reply("this model's maximum context length is 9 tokens", status=400), "context"),
    (Reply("bad key", status=401), "auth"),
    (Reply("pay", status=402), "quota"),
    (Reply("not yours", status=403), "auth"),
    (Reply("no such model", status=404), "bad_request"),
    (Reply("conflict", status=409), "bad_request"),
    (Reply("too large", status=413), "context"),
    (Reply("moved", status=302, raw_body=b"", headers={"location": "http://127.0.0.1:9/"}), "garbage"),
    (Reply("wait an hour", status=429, headers={"retry-after": "3600"}), "rate_limit"),
    (Reply(raw_body=b'{"error": {"code": "insufficient_quota"}}', status=429), "quota"),
    (Reply(raw_body=b"<html>hello</html>", headers={"content-type": "text/html"}), "garbage"),
    (Reply(raw_body=b"{}"), "garbage"),
    (Reply(raw_body=b"", status=204), "garbage"),
]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_final_failure_is_one_answer_that_says_nothing_and_one_record_that_says_all(dialect: str) -> None:
    def scripted(request: Request) -> Reply:
        number: int = request.body["n"]
        return FINAL[number - 1][0]

    async def talk(server: ModelServer) -> list[Exchange]:
        async with door(server) as (gateway, heard):
            for n in range(1, len(FINAL) + 1):
                assert is_final(await ask(gateway, agent(gateway), dialect, n=n), dialect)
        return heard

    with ModelServer(scripted) as server:
        heard = asyncio.run(talk(server))
        assert server.count() == len(FINAL)
    assert [(exchange.status, exchange.failure) for exchange in heard] == [(r.status, failure) for r, failure in FINAL]
    assert {(exchange.usage.requests, exchange.usage.replies) for exchange in heard} == {(1, 0)}
    assert heard[3].message == "bad key" and heard[12].message.endswith("<html>hello</html>")
    assert heard[9].message.endswith("it redirects to http://127.0.0.1:9/")


LOCATIONS = [
    ("https://user:pass@x.test:8443/login?key=sk-1#top", "https://x.test:8443/login"),
    ("/v2/chat/completions?token=1", "/v2/chat/completions"),
    ("//evil.test/x", "evil.test/x"),
    ("", "nowhere that can be read"),
    ("http://[::1", "nowhere that can be read"),
    ("https://x.test/" + "a" * 9000, "https://x.test/" + "a" * 185),
]


@pytest.mark.parametrize(("location", "place"), LOCATIONS)
def test_a_redirect_says_where_it_points_and_no_more(location: str, place: str) -> None:
    assert dialects.redirect_target(location) == place


@pytest.mark.thorough
def test_gateway_gives_up_a_provider_that_cannot_be_reached_and_counts_no_request() -> None:
    """After how long: tests/test_lane.py."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    routes = {name: Upstream(name, name, f"http://127.0.0.1:{port}", "k") for name in DIALECTS}

    async def talk() -> tuple[list[httpx.Response], list[Exchange]]:
        async with door(routes) as (gateway, heard):
            return await asyncio.gather(*(ask(gateway, agent(gateway), each) for each in DIALECTS)), heard

    answers, heard = asyncio.run(talk())
    assert all(is_final(answer, dialect) for answer, dialect in zip(answers, DIALECTS, strict=True))
    assert {(e.failure, e.status, e.usage.requests) for e in heard} == {("unreachable", 0, 0)}
    assert all(f"127.0.0.1:{port}" in e.message for e in heard)


BAD_ROUTES = {
    "localhost:8080/v1": "bad_request",
    "ftp://127.0.0.1/v1": "bad_request",
    "http://127.0.0.1:notaport/v1": "bad_request",
    "http://[::1": "bad_request",
}


@pytest.mark.parametrize(("base", "failure"), BAD_ROUTES.items())
def test_an_address_that_is_none_is_final_at_once(base: str, failure: str) -> None:
    async def talk() -> Exchange:
        async with door({"openai": Upstream("openai", "openai", base, "k")}) as (gateway, heard):
            assert is_final(await ask(gateway, agent(gateway), "openai"), "openai")
            return heard[0]

    exchange = asyncio.run(talk())
    assert (exchange.failure, exchange.usage.requests) == (failure, 0)
    assert repr(base) in exchange.message


@pytest.mark.parametrize("key", ["sk-real\nkey", "sk-réal"])
def test_unsendable_key_is_reported_without_the_key(key: str) -> None:
    async def talk(server: ModelServer) -> Exchange:
        async with door({"openai": Upstream("openai", "openai", server.openai_base, key)}) as (gateway, heard):
            assert is_final(await ask(gateway, agent(gateway), "openai"), "openai")
            return heard[0]

    with ModelServer(hello) as server:
        exchange = asyncio.run(talk(server))
    assert (exchange.failure, exchange.usage.requests, server.count()) == ("auth", 0, 0)
    assert "sk-" not in exchange.message


ODD_BODIES = [b"", b"no json", b"[]", b"3", b'{"model": null}', b'{"m": "\\ud800"}', b"\xff\xfe", b"{}"]


def test_nothing_that_a_client_sends_is_answered_with_a_500() -> None:
    async def talk(server: ModelServer) -> set[int]:
        async with door(server) as (gateway, _):
            work = [ask(gateway, agent(gateway), dialect, raw) for dialect in DIALECTS for raw in ODD_BODIES]
            return {answer.status_code for answer in await asyncio.gather(*work)}

    with ModelServer(hello) as server:
        assert asyncio.run(talk(server)) <= {200, 400, 403}


def test_failing_journal_gives_a_final_error_and_no_reply() -> None:
    class Full(Listener):
        def on_exchange(self, ticket: ClientPass, exchange: Exchange) -> None:
            raise OSError(28, "No space left on device")

    async def talk(server: ModelServer) -> None:
        gateway = Gateway(upstreams(server), Full())
        await gateway.start()
        for dialect in DIALECTS:
            assert is_final(await ask(gateway, agent(gateway), dialect), dialect)
        await gateway.stop()

    with ModelServer(hello) as server:
        asyncio.run(talk(server))
        assert server.count() == 3


def test_the_limit_of_replies_holds_and_only_replies_count() -> None:
    async def talk(server: ModelServer) -> tuple[list[bool], list[Exchange]]:
        async with door(server) as (gateway, heard):
            ticket = agent(gateway, iterations=2)
            answers = [await ask(gateway, ticket, "openai", n=n) for n in range(1, 6)]
            return [is_final(answer, "openai") for answer in answers], heard

    with ModelServer(in_turn(Reply("no", status=404))) as server:
        final, heard = asyncio.run(talk(server))
        assert server.count() == 3
    assert final == [True, False, False, True, True]
    assert [exchange.failure for exchange in heard] == ["bad_request", "", "", "iterations", "iterations"]
    assert heard[3].usage.requests == 0


def test_requests_in_flight_count_for_the_limit_of_replies() -> None:
    async def talk(server: ModelServer) -> list[str]:
        async with door(server) as (gateway, heard):
            ticket = agent(gateway, iterations=2)
            asked = [asyncio.create_task(ask(gateway, ticket, "openai", n=n)) for n in range(1, 7)]
            await until(lambda: len(heard) == 4)
            answered.set()
            await asyncio.gather(*asked)
        return [exchange.failure for exchange in heard]

    answered = threading.Event()
    with ModelServer(lambda request: replace(hello(request), until=answered.is_set)) as server:
        assert asyncio.run(talk(server)) == ["iterations"] * 4 + [""] * 2
        assert server.count() == 2


def test_an_agent_that_asks_the_same_again_could_not_read_the_reply_and_is_not_served_twice() -> None:
    async def talk(server: ModelServer) -> list[Exchange]:
        async with door(server) as (gateway, heard):
            ticket, prd = agent(gateway), gateway.add_client(ClientPass("prd"))
            assert (await ask(gateway, ticket, "openai")).status_code == 200
            assert is_final(await ask(gateway, ticket, "openai"), "openai")
            assert [(await ask(gateway, prd, "gemini")).status_code for _ in range(2)] == [200, 200]
            assert (await ask(gateway, agent(gateway), "openai")).status_code == 200
        return heard

    with ModelServer(hello) as server:
        heard = asyncio.run(talk(server))
        assert server.count() == 4
    assert [exchange.failure for exchange in heard] == ["", "garbage", "", "", ""]


# --- patience -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [Reply("busy", status=503), Reply(drop="before")])
def test_what_may_pass_is_asked_again_and_every_request_is_counted(bad: Reply) -> None:
    async def talk(server: ModelServer) -> tuple[int, ClientPass]:
        async with door(server) as (gateway, _):
            ticket = agent(gateway)
            return (await ask(gateway, ticket, "openai")).status_code, ticket

    with ModelServer(in_turn(bad, bad)) as server:
        status, ticket = asyncio.run(talk(server))
        assert (status, server.count()) == (200, 3)
    assert (ticket.usage.requests, ticket.usage.replies) == (3, 1)
    assert ticket.waited_seconds > 1.4, "the agent's clock stands still meanwhile"


def test_gateway_holds_one_provider_for_all_agents_and_no_other_after_retry_after() -> None:
    """For how long: tests/test_lane.py."""

    def respond(request: Request) -> Reply:
        is_limited = request.dialect == "openai"
        return Reply("slow down", status=429, headers={"retry-after": "600"}) if is_limited else hello(request)

    async def talk(server: ModelServer) -> None:
        async with door(server) as (gateway, _):
            first = asyncio.create_task(ask(gateway, agent(gateway), "openai"))
            await until(lambda: gateway.limits.lane_for("openai", "m-1").last_refusal)
            second = asyncio.create_task(ask(gateway, agent(gateway), "openai"))
            assert (await ask(gateway, agent(gateway), "gemini")).status_code == 200
            assert not first.done() and not second.done()
            first.cancel()
            second.cancel()

    with ModelServer(respond) as server:
        asyncio.run(talk(server))
        assert [request.dialect for request in server.requests] == ["openai", "gemini"]


def test_gateway_answers_others_while_one_request_is_in_trouble() -> None:
    def respond(request: Request) -> Reply:
        if request.body.get("n") != 99:
            return hello(request)
        return Reply("oh", status=500, latency=0.0 if server.count() < 2 else NEVER)

    async def talk(server: ModelServer) -> None:
        async with door(server) as (gateway, _):
            poor = asyncio.create_task(ask(gateway, agent(gateway), "openai", n=99))
            await until(lambda: server.count() >= 2)
            assert (await ask(gateway, agent(gateway), "openai")).status_code == 200
            assert not poor.done()
            poor.cancel()

    with ModelServer(respond) as server:
        asyncio.run(talk(server))


# --- streams --------------------------------------------------------------------------------------------------------


async def stream(gateway: Gateway, ticket: ClientPass, dialect: str, pieces: list[bytes]) -> bytes:
    """Read a stream piece by piece."""
    path, body = STREAMS[dialect]
    said = b""
    async with client() as http:
        async with http.stream("POST", f"{gateway.client_url(ticket, dialect)}/{path}", json=body) as answer:
            assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
            async for piece in answer.aiter_raw():
                said += piece
                pieces.append(piece)
    return said


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_slow_stream_passes_piece_by_piece_and_is_counted_before_its_last_one(dialect: str) -> None:
    pieces: list[bytes] = []

    async def talk(server: ModelServer) -> tuple[bytes, list[Exchange]]:
        async with door(server) as (gateway, heard):
            gateway.stream_patience = 0.0
            return await stream(gateway, agent(gateway), dialect, pieces), heard

    in_two = Reply("Hello there", usage=Usage(100, 20, 40, 5), drip=0.02)
    with ModelServer(lambda request: in_two) as server:
        said, [exchange] = asyncio.run(talk(server))
    assert len(pieces) > 1
    assert FORMATS[dialect].reply_text(dialects.join_stream(FORMATS[dialect], said)) == exchange.reply == "Hello there"
    used = exchange.usage
    assert (used.requests, used.replies, used.input, used.cached, used.output) == (1, 1, 100, 40, 20)


def test_a_slow_stream_that_breaks_off_breaks_off_for_the_client_too() -> None:
    async def talk(server: ModelServer) -> list[Exchange]:
        async with door(server) as (gateway, heard):
            gateway.stream_patience = 0.0
            with pytest.raises(httpx.RemoteProtocolError):
                await stream(gateway, agent(gateway), "openai", [])
        return heard

    with ModelServer(lambda request: Reply("a longer answer than that", drop="mid")) as server:
        [exchange] = asyncio.run(talk(server))
    assert (exchange.failure, exchange.usage.requests, exchange.usage.replies) == ("server", 1, 0)
    assert "broke off" in exchange.message


def test_a_stream_that_breaks_off_is_asked_for_again_and_nothing_of_it_is_handed_on() -> None:
    replies = in_turn(Reply("a longer answer than that", drop="mid"), Reply("whole", usage=Usage(100, 20)))

    async def talk(server: ModelServer) -> tuple[bytes, list[Exchange]]:
        async with door(server) as (gateway, heard):
            return await stream(gateway, agent(gateway), "anthropic", []), heard

    with ModelServer(replies) as server:
        said, [exchange] = asyncio.run(talk(server))
    assert b"longer" not in said and exchange.reply == "whole" and not exchange.failure
    assert (exchange.usage.requests, exchange.usage.replies, exchange.usage.output) == (2, 1, 20)


# Each begins a reply, and stops without the event that ends it.
CUT_OFF: dict[str, list[dict[str, Any]]] = {
    "openai": [{"choices": [{"delta": {"content": "Hi"}}]}],
    "anthropic": [
        {"type": "message_start", "message": {"usage": {"input_tokens": 5}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
    ],
    "gemini": [{"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}],
}


@pytest.mark.parametrize("dialect", CUT_OFF)
def test_a_stream_without_its_closing_event_is_a_failure_and_no_reply(dialect: str) -> None:
    raw = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in CUT_OFF[dialect])

    async def talk(server: ModelServer) -> list[Exchange]:
        async with door(server) as (gateway, heard), client() as http:
            path, body = STREAMS[dialect]
            answer = await http.post(f"{gateway.client_url(agent(gateway), dialect)}/{path}", json=body)
            assert is_final(answer, dialect)
        return heard

    reply = Reply(raw_body=raw, headers={"content-type": "text/event-stream"})
    with ModelServer(lambda request: reply) as server:
        [exchange] = asyncio.run(talk(server))
    assert (exchange.failure, exchange.usage.requests, exchange.usage.replies) == ("server", 2, 0)
    assert exchange.message == "the stream ended before its reply was complete"


def test_after_a_final_failure_the_client_asks_nobody_any_more() -> None:
    async def talk(server: ModelServer) -> list[Exchange]:
        async with door(server) as (gateway, heard):
            ticket = agent(gateway)
            ticket.ends_at_failure = True
            for _ in range(3):
                assert is_final(await ask(gateway, ticket, "anthropic"), "anthropic")
        return heard

    with ModelServer(lambda request: Reply("bad key", status=401)) as server:
        [exchange] = asyncio.run(talk(server))
        assert server.count() == 1
    assert exchange.failure == "auth"


def test_a_refused_stream_is_tried_again_and_answered_finally() -> None:
    replies = in_turn(Reply("busy", status=503), Reply("no", status=404))

    async def talk(server: ModelServer) -> list[Exchange]:
        async with door(server) as (gateway, heard), client() as http:
            path, body = STREAMS["gemini"]
            assert is_final(
                await http.post(f"{gateway.client_url(agent(gateway), 'gemini')}/{path}", json=body), "gemini"
            )
        return heard

    with ModelServer(replies) as server:
        [exchange] = asyncio.run(talk(server))
    assert (exchange.failure, exchange.usage.requests) == ("bad_request", 2)


# --- clients that leave, and the end --------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [False, True])
def test_a_reply_that_is_paid_for_is_counted_though_its_client_is_gone(
    streams: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    gone = threading.Event()
    usage = Usage(100, 20, 40, 5)
    if streams:
        reply = Reply("Hello there", usage=usage, pause=gone.is_set)
    else:
        reply = Reply("Hello there", usage=usage, until=gone.is_set)

    async def talk(server: ModelServer) -> ClientPass:
        async with door(server) as (gateway, heard):
            ticket = agent(gateway)
            asked = stream(gateway, ticket, "anthropic", []) if streams else ask(gateway, ticket, "anthropic")
            asking = asyncio.ensure_future(asked)
            await until(server.count)
            asking.cancel()
            gateway.remove_client(ticket)
            assert not heard
            gone.set()
            await until(lambda: heard)
            return ticket

    with ModelServer(lambda request: reply) as server:
        ticket = asyncio.run(talk(server))
    assert (ticket.usage.requests, ticket.usage.replies, ticket.usage.output) == (1, 1, 20)
    assert capfd.readouterr() == ("", "")


def test_stop_answers_waiting_clients_and_leaves_no_task(capfd: pytest.CaptureFixture[str]) -> None:
    async def talk(server: ModelServer) -> tuple[list[Exchange], httpx.Response]:
        before = asyncio.all_tasks()
        async with client() as idle, client() as http:
            listener = Listener()
            gateway = Gateway(upstreams(server), listener)
            gateway.stream_patience = 0.0
            await gateway.start()
            kept, ticket = agent(gateway), agent(gateway)
            assert (
                await idle.post(f"{gateway.client_url(kept, 'openai')}/chat/completions", json=SAY)
            ).status_code == 200
            waiting = asyncio.create_task(ask(gateway, ticket, "openai", n=1))
            pausing = asyncio.create_task(ask(gateway, agent(gateway), "gemini", n=2))
            path, body = STREAMS["anthropic"]
            url = f"{gateway.client_url(agent(gateway), 'anthropic')}/{path}"
            async with http.stream("POST", url, json=body | {"n": 3}) as streaming:
                await until(lambda: server.count() >= 4)
                async with asyncio.timeout(within()):
                    await gateway.stop()
                with pytest.raises(httpx.RemoteProtocolError):
                    await streaming.aread()
            assert is_final(await waiting, "openai") and is_final(await pausing, "gemini")
            with pytest.raises(httpx.ConnectError):
                await ask(gateway, ticket, "openai")
        assert asyncio.all_tasks() == before
        return listener.exchanges, await waiting

    def respond(request: Request) -> Reply:
        slow: dict[int, Reply] = {
            1: Reply("late", latency=NEVER),
            2: Reply("busy", status=503),
            3: Reply("a b c", stall=NEVER),
        }
        return slow.get(request.body.get("n", 0), hello(request))

    with ModelServer(respond) as server:
        heard, _ = asyncio.run(talk(server))
    assert sorted((e.provider, e.failure, e.usage.requests) for e in heard[1:]) == [
        ("anthropic", "cancelled", 1),
        ("gemini", "cancelled", 1),
        ("openai", "cancelled", 1),
    ]
    assert capfd.readouterr() == ("", "")


def test_server_answers_500_until_it_serves_and_stops_twice() -> None:
    async def talk() -> list[int]:
        server = LoopbackServer()
        await server.start()
        async with client() as http:
            early = await http.get(f"http://127.0.0.1:{server.port}/")
            gateway = Gateway({}, Listener(), server=server)
            late = await http.get(f"{gateway.client_url(agent(gateway), 'openai')}/models")
        await gateway.stop()
        await server.stop()
        return [early.status_code, late.status_code]

    assert asyncio.run(talk()) == [500, 403]


def test_when_the_books_are_closed_an_open_request_is_noted_once_and_for_all() -> None:
    async def talk(server: ModelServer) -> list[Exchange]:
        async with door(server) as (gateway, heard):
            asking = asyncio.create_task(ask(gateway, agent(gateway), "openai"))
            await until(server.count)
            gateway.close_open_requests()
            closed.set()
            assert [e.failure for e in heard] == ["cancelled"]
            assert (await asking).status_code == 200
        return heard

    closed = threading.Event()
    with ModelServer(lambda request: replace(hello(request), until=closed.is_set)) as server:
        assert len(asyncio.run(talk(server))) == 1


# --- the real litellm behind the real Aider -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def warm(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    fork = ForkServer(find_aider_python({"AIDER_BIN": warm_aider()}), tmp_path_factory.mktemp("server"))
    runner.run(fork.ready())
    yield fork
    runner.run(fork.close())


def asked_for(status: int) -> str:
    return f"Please answer with the status {status}."


@pytest.mark.thorough
@pytest.mark.parametrize("dialect", DIALECTS)
def test_after_a_final_answer_no_agent_asks_again(
    runner: asyncio.Runner, warm: ForkServer, tmp_path: Path, dialect: str
) -> None:
    statuses = (200, 400, 401, 402, 403, 404, 413, 429, 500)

    def respond(request: Request) -> Reply:
        status = next(each for each in statuses if asked_for(each) in request.brief)
        if status == 200:
            return Reply(raw_body=b"<html></html>", headers={"content-type": "text/html"})
        return Reply("rate limit", status=status, headers={"retry-after": "3600"})

    async def attempts(server: ModelServer) -> list[tuple[str, list[Exchange]]]:
        async with door(server) as (gateway, _):
            trees = {status: plant(tmp_path / str(status) / "tree") for status in statuses}
            work = (sit(warm, gateway, trees[each], model=MODELS[dialect], message=asked_for(each)) for each in trees)
            ended = await asyncio.gather(*work)
        return [(outcome.end, ticket.exchanges) for outcome, ticket in ended]

    with ModelServer(respond) as server:
        ended = runner.run(attempts(server))
        assert server.count() == len(statuses)
    assert [end for end, _ in ended] == ["no_reply"] * len(statuses)
    assert [len(exchanges) for _, exchanges in ended] == [1] * len(statuses)


def test_an_agent_asks_once_while_the_gateway_tries_again_for_it(
    runner: asyncio.Runner, warm: ForkServer, tmp_path: Path
) -> None:
    numbers = count()

    async def attempt(server: ModelServer) -> tuple[str, list[Exchange]]:
        async with door(server) as (gateway, _):
            outcome, ticket = await sit(warm, gateway, plant(tmp_path / "tree"))
        return outcome.end, ticket.exchanges

    with ModelServer(lambda r: Reply("busy", status=529) if next(numbers) < 2 else appends("# hi")(r)) as server:
        end, [exchange] = runner.run(attempt(server))
    assert (end, exchange.usage.requests) == ("accepted", 3)


UNREADABLE = {
    "openai": {"choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "error"}]},
    "anthropic": {"type": "message", "role": "assistant", "content": [{"type": "text"}], "usage": {}},
}


@pytest.mark.thorough
@pytest.mark.parametrize(("dialect", "body"), UNREADABLE.items())
def test_a_reply_that_litellm_cannot_read_is_paid_once(
    runner: asyncio.Runner, warm: ForkServer, tmp_path: Path, dialect: str, body: dict[str, Any]
) -> None:
    async def attempt(server: ModelServer) -> tuple[str, list[Exchange]]:
        async with door(server) as (gateway, _):
            outcome, ticket = await sit(warm, gateway, plant(tmp_path / "tree"), model=MODELS[dialect])
        return outcome.end, ticket.exchanges

    with ModelServer(lambda request: Reply(raw_body=json.dumps(body).encode())) as server:
        end, exchanges = runner.run(attempt(server))
        assert server.count() == 1
    assert (end, [exchange.failure for exchange in exchanges]) == ("no_reply", ["", "garbage"])


@pytest.mark.thorough
def test_stopping_does_not_wait_for_the_connections_that_litellm_keeps(
    runner: asyncio.Runner, warm: ForkServer, tmp_path: Path
) -> None:
    async def attempt(server: ModelServer) -> None:
        async with door(server) as (gateway, _):
            job = make_job(gateway, agent(gateway), plant(tmp_path / "tree"), "--auto-test", "--test-cmd", "sleep 3600")
            seated = asyncio.create_task(warm.run(job))
            await until(lambda: server.count() and (tmp_path / "tree/a.py").read_text() != "x = 1\n")
            async with asyncio.timeout(within()):
                await gateway.stop()
            seated.cancel()
            with pytest.raises(asyncio.CancelledError):
                await seated

    with ModelServer(appends("# hi")) as server:
        runner.run(attempt(server))
