"""The gateway lets through what asks one of the run's models for a reply, and nothing that holds one of its keys."""

import asyncio
import base64
import json
import random
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from orchestra.conduct.core.secrets import Secrets
from orchestra.conduct.session.outgoing_keys import forms_of_known_keys, forms_to_refuse
from orchestra.gateway.billing import ClientPass, Exchange
from orchestra.gateway.decode import KeyGuard
from orchestra.gateway.gateway import Gateway
from tests.support.modelserver import ModelServer, Reply, Request, Usage
from tests.support.sample import SOAK
from tests.support.seating import CALLS, DIALECTS, STREAMS, Listener, client, door, is_final

REPLY_PATHS = re.compile(
    r"/v1/chat/completions|/v1/responses|/v1/v1/(chat/completions|responses)|/v1/messages"
    r"|/v1beta/models/m-1:(generateContent|streamGenerateContent)"
)


def hello(request: Request) -> Reply:
    return Reply("Hello there", usage=Usage(input=100, output=20))


async def speak(gateway: Gateway, method: str, target: str, body: bytes = b"{}") -> int:
    """The status of the answer to a request that is sent as it is: a client would put its path right."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = f"{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode("latin-1") + body)
    line = await reader.readline()
    writer.close()
    return int(line.split()[1]) if line else 0


FORBIDDEN = {
    "openai": [
        *("../../../admin/keys", "..", "chat/completions/..", "chat/../models", "%2e%2e/admin", "%2E%2E/admin"),
        *("/chat/completions", "chat//completions", "chat/completions/", "chat%2fcompletions", "chat\\completions"),
        *("files", "fine_tuning/jobs", "embeddings", "images/generations", "audio/speech", "batches", "assistants"),
        *("chat/completions/x", "v1/v1/chat/completions", "v2/chat/completions", "Chat/Completions", "admin/keys"),
        *("chat/completions;x", "chat/completions%00", "messages", "models/m-1:generateContent"),
    ],
    "anthropic": [
        *("v1/messages/batches", "v1/complete", "v1/files", "v1/organizations/api_keys", "messages/..", "v1//messages"),
        *("v1/messages/count_tokens/x", "chat/completions", "%2e%2e/messages"),
    ],
    "gemini": [
        *("v1beta/files", "upload/v1beta/files", "v1beta/models/m-1:embedContent", "v1beta/cachedContents"),
        *("models/../files:generateContent", "models/m-1%3AgenerateContent", "models/a%2f..%2fb:generateContent"),
        *("models/m-1:generateContent/..", "tunedModels/m-1:generateContent", "models/:generateContent"),
        *("models//m-1:generateContent", "models/..:generateContent", "models/a/../b:generateContent"),
    ],
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_paths_beside_the_reply_api_go_nowhere_and_cost_nothing(dialect: str) -> None:
    async def talk(server: ModelServer) -> tuple[list[int], list[Exchange], list[str]]:
        listener = Listener()
        async with door(server, listener) as (gateway, heard):
            ticket = gateway.add_client(ClientPass("agent", 1, 1))
            base, body = f"/t/{ticket.token}/{dialect}", json.dumps(CALLS[dialect][1]).encode()
            found = [await speak(gateway, "POST", f"{base}/{path}", body) for path in FORBIDDEN[dialect]]
            assert ticket.exchanges == []
            return found, heard, listener.notes

    with ModelServer(hello) as server:
        statuses, heard, notes = asyncio.run(talk(server))
        assert server.count() == 0
    assert statuses == [403] * len(FORBIDDEN[dialect])
    assert heard == []
    assert len(notes) == 3 and FORBIDDEN[dialect][0] in notes[0] and notes[0].startswith("agent1 asked ")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "post"])
def test_the_reply_api_takes_posts_only(method: str) -> None:
    async def talk(server: ModelServer) -> list[int]:
        async with door(server) as (gateway, heard):
            ticket = gateway.add_client(ClientPass("agent", 1, 1))
            body = json.dumps(CALLS["openai"][1]).encode()
            found = [await speak(gateway, method, f"/t/{ticket.token}/openai/chat/completions", body)]
            assert heard == []
            return found

    with ModelServer(hello) as server:
        assert asyncio.run(talk(server))[0] in (400, 403)
        assert server.count() == 0


def test_no_path_made_of_anything_reaches_another_path_upstream() -> None:
    pieces = [
        *("..", "%2e", "%2f", "/", "//", "\\", "admin", "v1", "v1beta", "chat", "chat/completions", "messages"),
        *("models", "m-1", ":generateContent", "models/m-1:generateContent", ";", "?", "#", ".", "@", "responses"),
    ]
    luck = random.Random(15)

    async def talk(server: ModelServer) -> None:
        async with door(server) as (gateway, _):
            ticket = gateway.add_client(ClientPass("prd"))
            for n in range(2000 if SOAK else 300):
                dialect = luck.choice(DIALECTS)
                path = "".join(luck.choice(pieces) for _ in range(luck.randint(1, 5)))
                body = json.dumps(CALLS[dialect][1] | {"n": n}).encode()
                status = await speak(gateway, "POST", f"/t/{ticket.token}/{dialect}/{path}", body)
                assert status in (200, 400, 403), path

    with ModelServer(hello) as server:
        asyncio.run(talk(server))
        asked = {request.path.partition("?")[0] for request in server.requests}
    assert asked and all(REPLY_PATHS.fullmatch(path) for path in asked), asked


SIDE = [
    *(("openai", "HEAD", "", 200), ("anthropic", "HEAD", "/", 200), ("openai", "OPTIONS", "", 200)),
    *(("openai", "GET", "/models", 404), ("openai", "GET", "/v1/models", 404), ("anthropic", "GET", "/v1/models", 404)),
    *(("gemini", "GET", "/v1beta/models", 404), ("gemini", "GET", "/v1beta/models/m-1", 404)),
    *(("anthropic", "POST", "/v1/messages/count_tokens", 200), ("gemini", "POST", "/models/m-1:countTokens", 200)),
]


def test_side_requests_of_clients_are_answered_here_and_not_counted() -> None:
    async def talk(server: ModelServer) -> list[int]:
        listener = Listener()
        async with door(server, listener) as (gateway, heard):
            ticket = gateway.add_client(ClientPass("agent", 1, 1))
            found = [
                await speak(gateway, method, f"/t/{ticket.token}/{dialect}{path}?beta=true")
                for dialect, method, path, _ in SIDE
            ]
            assert (heard, ticket.exchanges, listener.notes) == ([], [], [])
            return found

    with ModelServer(hello) as server:
        assert asyncio.run(talk(server)) == [status for *_, status in SIDE]
        assert server.count() == 0


def test_a_count_of_tokens_is_an_estimate() -> None:
    async def talk(server: ModelServer) -> list[Any]:
        async with door(server) as (gateway, _), client() as http:
            url = gateway.client_url(gateway.add_client(ClientPass("agent", 1, 1)), "anthropic")
            answer = await http.post(f"{url}/v1/messages/count_tokens", json=CALLS["anthropic"][1])
            return [answer.headers["content-type"], answer.json()]

    with ModelServer(hello) as server:
        kind, body = asyncio.run(talk(server))
    assert kind == "application/json" and body.keys() == {"input_tokens"}
    assert 10 < body["input_tokens"] < len(json.dumps(CALLS["anthropic"][1]))


# --- models ---------------------------------------------------------------------------------------------------------

BODIES = {
    "another": b'{"model": "m-2", "messages": []}',
    "none": b'{"messages": []}',
    "no text": b'{"model": ["m-1"], "messages": []}',
    "two, the first": b'{"model": "m-1", "model": "m-2", "messages": []}',
    "two, the last": b'{"model": "m-2", "model": "m-1", "messages": []}',
    "two, escaped": b'{"model": "m-1", "mod\\u0065l": "m-2", "messages": []}',
    "with a space": b'{"model": "m-1 ", "messages": []}',
    "no object": b'[{"model": "m-1"}]',
    "no json": b"model=m-1",
    "utf-16": '{"model": "m-1"}'.encode("utf-16"),
    "deep": b'{"model": "m-1", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_model_that_is_not_this_agents_is_not_asked(body: bytes) -> None:
    async def talk(server: ModelServer) -> None:
        async with door(server) as (gateway, heard):
            ticket = gateway.add_client(ClientPass("agent", 1, 1, models=frozenset({"openai/m-1", "openai/weak"})))
            base = f"/t/{ticket.token}/openai"
            assert await speak(gateway, "POST", f"{base}/chat/completions", body) == 403
            assert heard == []
            for model in (b"m-1", b"weak"):
                good = b'{"messages": [], "model": "%b"}' % model
                assert await speak(gateway, "POST", f"{base}/chat/completions", good) == 200

    with ModelServer(hello) as server:
        asyncio.run(talk(server))
        assert [request.model for request in server.requests] == ["m-1", "weak"]


def test_a_token_opens_the_providers_of_its_models_only() -> None:
    async def talk(server: ModelServer) -> list[int]:
        async with door(server) as (gateway, _), client() as http:
            ticket = gateway.add_client(ClientPass("agent", 1, 1, models=frozenset({"gemini/m-1"})))
            found = []
            for dialect in DIALECTS:
                for path, body in (CALLS[dialect], STREAMS[dialect]):
                    url = f"{gateway.client_url(ticket, dialect)}/{path}"
                    found.append((await http.post(url, json=body | {"n": path})).status_code)
                    found.append((await http.post(url.replace("m-1", "m-2"), json=body | {"n": 2})).status_code)
            return found

    with ModelServer(hello) as server:
        assert asyncio.run(talk(server)) == [403] * 8 + [200, 403] * 2
        assert {request.dialect for request in server.requests} == {"gemini"}


# --- keys -----------------------------------------------------------------------------------------------------------

KEY, SHORT = "sk-Real/key+with.odd=signs-0123456789", "sk-short-0123456789"
SECRETS = Secrets.from_variables({"OPENAI_API_KEY": (KEY, ""), "OTHER_API_KEY": (SHORT, "")})
CODED = base64.b64encode(f"user:{KEY}\n".encode()).decode()
WRITTEN: dict[str, str] = {
    "plain": KEY,
    "in a line": f"OPENAI_API_KEY={KEY}\n",
    "in an address": f"https://x.test/?key={quote(KEY, safe='')}",
    "all in percents": "".join(f"%{sign:02x}" for sign in KEY.encode()),
    "in JSON": json.dumps({"key": KEY}),
    "in JSON in JSON": json.dumps(json.dumps({"key": KEY})),
    "in base64": CODED,
    "in base64 over lines": "\n".join(CODED[at : at + 16] for at in range(0, len(CODED), 16)),
    "in base64 over DOS lines": "\r\n".join(CODED[at : at + 16] for at in range(0, len(CODED), 16)),
    "in hexadecimal": KEY.encode().hex(),
    "in HEXADECIMAL": KEY.encode().hex().upper(),
    "in an environment": f"A=1\0OPENAI_API_KEY={KEY}\0B=2",
}


def carrying(dialect: str, text: str) -> dict[str, Any]:
    said = {"role": "user", "parts": [{"text": text}]} if dialect == "gemini" else {"role": "user", "content": text}
    name = "contents" if dialect == "gemini" else "messages"
    return CALLS[dialect][1] | {name: [said]}


def guard(tracked: Callable[[str], bool] = lambda name: False) -> KeyGuard:
    async def is_tracked(name: str) -> bool:
        return tracked(name)

    return KeyGuard(forms_of_known_keys(SECRETS), is_tracked)


@pytest.mark.thorough(but="openai")
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_a_request_that_holds_a_key_is_not_sent(dialect: str, text: str) -> None:
    async def talk(server: ModelServer) -> Exchange:
        async with door(server, guard=guard()) as (gateway, heard), client() as http:
            url = f"{gateway.client_url(gateway.add_client(ClientPass('agent', 1, 1)), dialect)}/{CALLS[dialect][0]}"
            assert is_final(await http.post(url, json=carrying(dialect, text)), dialect)
            assert (await http.post(url, json=carrying(dialect, "harmless"))).status_code == 200
            return heard[0]

    with ModelServer(hello) as server:
        exchange = asyncio.run(talk(server))
        assert server.count() == 1
    assert (exchange.failure, exchange.usage.requests, exchange.usage.paid) == ("key", 0, 0)
    assert "OPENAI_API_KEY" in exchange.message and KEY not in exchange.message


def test_a_key_escaped_sign_by_sign_or_beside_the_body_is_found() -> None:
    escaped = "".join(f"\\u{ord(sign):04x}" for sign in KEY)
    raw = json.dumps(carrying("openai", "KEY")).replace("KEY", escaped).encode()

    async def talk(server: ModelServer) -> list[int]:
        async with door(server, guard=guard()) as (gateway, _), client() as http:
            url = f"{gateway.client_url(gateway.add_client(ClientPass('prd')), 'openai')}/chat/completions"
            body = carrying("openai", "x")
            answers = [
                await http.post(url, content=raw),
                await http.post(f"{url}?x={quote(KEY, safe='')}", json=body),
                await http.post(url, json=body, headers={"x-note": KEY}),
                await http.post(url, json=body | {KEY: 1}),
                await http.post(url, json=body, headers={"authorization": f"Bearer {KEY}"}),
            ]
            return [answer.status_code for answer in answers]

    with ModelServer(hello) as server:
        assert asyncio.run(talk(server)) == [400, 400, 400, 400, 200]
        assert server.count() == 1, "the header that the real key takes the place of"


def test_a_key_that_the_base_holds_or_that_is_short_may_pass() -> None:
    async def talk(server: ModelServer) -> list[int]:
        async with door(server, guard=guard(lambda name: name == "OPENAI_API_KEY")) as (gateway, _), client() as http:
            url = f"{gateway.client_url(gateway.add_client(ClientPass('prd')), 'openai')}/chat/completions"
            return [(await http.post(url, json=carrying("openai", key))).status_code for key in (KEY, SHORT)]

    with ModelServer(hello) as server:
        assert asyncio.run(talk(server)) == [200, 200]


def test_keys_are_found_in_large_requests_too() -> None:
    async def talk(server: ModelServer) -> list[int]:
        async with door(server, guard=guard()) as (gateway, heard), client() as http:
            url = f"{gateway.client_url(gateway.add_client(ClientPass('prd')), 'openai')}/chat/completions"
            words = "word " * 300_000
            found = [(await http.post(url, json=carrying("openai", words + end))).status_code for end in ("", KEY)]
            assert heard[0].asked[0][1] == words
            return found

    with ModelServer(hello) as server:
        assert asyncio.run(talk(server)) == [200, 400]


def test_a_request_that_is_too_large_is_refused() -> None:
    async def talk(server: ModelServer) -> int:
        async with door(server) as (gateway, heard), client() as http:
            url = f"{gateway.client_url(gateway.add_client(ClientPass('prd')), 'openai')}/chat/completions"
            answer = await http.post(url, json=carrying("openai", "x" * (33 << 20)))
            assert heard == []
            return answer.status_code

    with ModelServer(hello) as server:
        assert asyncio.run(talk(server)) == 403
        assert server.count() == 0


def test_every_form_of_a_key_is_one_that_is_looked_for() -> None:
    assert {form for form, _ in forms_of_known_keys(SECRETS)} == set(forms_to_refuse(KEY))
