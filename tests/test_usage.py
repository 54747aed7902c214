"""Usage that a provider makes up: field by field on paper, then what it does to the money."""

import asyncio
import json
import math
import random
from typing import Any

import pytest

from orchestra import dialects
from orchestra.dialects import DIALECTS as FORMATS
from orchestra.dialects import Tokens
from orchestra.dialects.usage import LARGEST_COUNT
from orchestra.gateway import billing
from orchestra.gateway.billing import ClientPass, Exchange
from orchestra.gateway.budget import Amount, Budget
from orchestra.gateway.lane import Limits
from orchestra.gateway.recording import text_digest
from orchestra.providers import catalogue
from tests.support.load import holds_soon
from tests.support.modelserver import ModelServer, Reply, Request, Usage, body_pieces
from tests.support.sample import SOAK
from tests.support.seating import CALLS, DIALECTS, MODELS, STREAMS, Listener, client, door, is_final

KNOWN = {dialect: catalogue.resolve_model(name) for dialect, name in MODELS.items()}
NAMES = {
    "openai": ("usage", "prompt_tokens", "completion_tokens"),
    "anthropic": ("usage", "input_tokens", "output_tokens"),
    "gemini": ("usageMetadata", "promptTokenCount", "candidatesTokenCount"),
}
UNREADABLE: dict[str, Any] = {
    "a text": "12",
    "a list": [12],
    "an object": {"a": 1},
    "NaN": math.nan,
    "endless": math.inf,
    "true": True,
    "negative": -1,
    "half": 1.5,
    "10^40": 10**40,
    "a billion and one": LARGEST_COUNT + 1,
    "10^400": 10**400,
}


def body_with(dialect: str, usage: Any) -> dict[str, Any]:
    return {NAMES[dialect][0]: usage}


# --- on paper -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE)
def test_tokens_of_a_field_that_is_no_count_are_unknown(dialect: str, value: Any) -> None:
    _, asked, said = NAMES[dialect]
    both = FORMATS[dialect].token_usage(body_with(dialect, {asked: value, said: value}))
    assert (both.input, both.output, both.unknown_input, both.unknown_output) == (0, 0, True, True)
    assert [one.partition(":")[0] for one in both.unreadable] == [asked, said]
    one = FORMATS[dialect].token_usage(body_with(dialect, {asked: 7, said: value}))
    assert (one.input, one.output, one.unknown_input, one.unknown_output) == (7, 0, False, True)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("value", ["lots", [1], 5, True, math.nan])
def test_tokens_of_a_usage_that_is_no_object_are_unknown(dialect: str, value: Any) -> None:
    told = FORMATS[dialect].token_usage(body_with(dialect, value))
    assert (told.input, told.output, told.unknown_input, told.unknown_output) == (0, 0, True, True)
    assert told.unreadable[0].startswith(NAMES[dialect][0])


def test_tokens_of_the_cache_are_never_more_than_the_input() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 10**6}}
    assert FORMATS["openai"].token_usage({"usage": usage}) == Tokens(10, 10, 0, 1)
    meta = {"promptTokenCount": 10, "cachedContentTokenCount": 10**6, "candidatesTokenCount": 1}
    assert FORMATS["gemini"].token_usage({"usageMetadata": meta}) == Tokens(10, 10, 0, 1)


def test_tokens_in_the_total_count_and_a_whole_float_is_a_count() -> None:
    meta = {"promptTokenCount": 10.0, "totalTokenCount": 30, "toolUsePromptTokenCount": 5}
    assert FORMATS["gemini"].token_usage({"usageMetadata": meta}) == Tokens(15, 0, 0, 15)
    # A total beside an input that cannot be read says nothing of the output.
    odd = FORMATS["openai"].token_usage({"usage": {"prompt_tokens": "x", "completion_tokens": 3, "total_tokens": 900}})
    assert (odd.output, odd.unknown_output) == (3, False)


MOST = billing.max_request_cost(KNOWN["openai"], 30_000, 5_000)
WHOLE = MOST.amount


def bill(told: Tokens, *, said: bool = True) -> Any:
    return billing.usage_of_reply(KNOWN["openai"], told, 1, has_text=said, most=MOST)


def test_bill_assumes_what_was_reserved_for_what_is_unknown() -> None:
    assert bill(Tokens()).assumed == pytest.approx(WHOLE.dollars)
    assert bill(Tokens(unknown_input=True, unknown_output=True)).assumed_tokens == WHOLE.tokens
    no_output = bill(Tokens(input=100, unknown_output=True))
    assert no_output.assumed == pytest.approx(5_000 * MOST.dollars_per_token) and no_output.assumed_tokens == 5_000
    assert bill(Tokens(output=20, unknown_input=True)).assumed == pytest.approx(MOST.input_dollars)
    assert bill(Tokens(input=100, output=20)).assumed == 0


def test_bill_does_not_believe_that_a_text_took_no_tokens() -> None:
    assert bill(Tokens(input=100)).assumed_tokens == 5_000
    assert bill(Tokens(input=100), said=False).assumed_tokens == 0
    assert bill(Tokens(output=20)).assumed_tokens == MOST.input


def test_bill_counts_what_can_be_read_when_that_is_more_than_was_reserved() -> None:
    told = bill(Tokens(input=10**8, output=10, unknown_output=True))
    assert told.dollars > 100 and told.assumed == pytest.approx(4_990 * MOST.dollars_per_token)


def test_remark_says_what_cannot_be_read_and_what_is_not_plausible() -> None:
    odd = Tokens(9 * 10**8, 0, 0, 10**6, unreadable=("prompt_tokens: nan",))
    assert billing.usage_remark(odd, 30_000, MOST, 7) == (
        "a usage that cannot be read (prompt_tokens: nan), so it counts at its maximum cost"
        " and 1,000,000 tokens of output, where 5,000 were allowed and 900,000,000 tokens of input for 30,000 bytes"
    )
    assert billing.usage_remark(Tokens(9_000, 0, 0, 5_000), 30_000, MOST, 0) == ""


# --- whatever is written --------------------------------------------------------------------------------------------


class Luck:
    """Values that JSON can hold, most of them in the wrong place."""

    def __init__(self, seed: int, dialect: str) -> None:
        self.random = random.Random(seed)
        usage = FORMATS[dialect].usage
        fields = [*usage.count_names, *usage.detail_names, "cached_tokens", "tokenCount"]
        shapes = [
            *("choices", "message", "delta", "content", "text", "type", "candidates", "parts", "finishReason"),
            *("usage", "usageMetadata", "stop_reason", "finish_reason", "role", "error", "output", "modality"),
            *("promptFeedback", "response", "thought", "blockReason"),
        ]
        self.names = [*fields, *shapes]

    def value(self, depth: int = 4) -> Any:
        kind = self.random.randrange(12 if depth else 8)
        if kind >= 10:
            return [self.value(depth - 1) for _ in range(self.random.randrange(4))]
        if kind >= 8:
            return self.record(depth - 1)
        plain: tuple[Any, ...] = (
            None,
            True,
            "text",
            math.nan,
            -math.inf,
            10**40,
            -7,
            1.5,
            0,
            12,
            1e300,
            "content_block_delta",
        )
        return self.random.choice((*plain, self.random.randrange(10**10)))

    def record(self, depth: int = 3) -> dict[str, Any]:
        return {self.random.choice(self.names): self.value(depth) for _ in range(self.random.randrange(1, 8))}


@pytest.mark.thorough
@pytest.mark.parametrize("dialect", FORMATS)
def test_nothing_that_json_can_say_is_more_than_a_strange_reply(dialect: str) -> None:
    """No shape raises an error, and no usage becomes a sum that is negative, endless or no number."""
    speaks = FORMATS[dialect]
    model, budget = KNOWN[speaks.family], Budget(10.0, tokens=10**12)
    for seed in range(20_000 if SOAK else 2_000):
        luck = Luck(seed, dialect)
        body = luck.record()
        chunks = [luck.record() for _ in range(3)]
        raw = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
        for each in (body, dialects.join_stream(speaks, raw), dialects.join_whole(speaks, chunks)):
            speaks.is_reply(each), speaks.reply_text(each), speaks.end_reason(each), speaks.read_request_messages(each)
            clean = dialects.readable_reply(speaks, each)
            json.dumps(clean)
            told = speaks.token_usage(each)
            assert told.cached + told.cache_write <= told.input
            claim = budget.reserve(1, billing.max_request_cost(model, 3_000, 1_000))
            used = billing.usage_of_reply(model, told, 1, has_text=True, most=claim.most)
            amount = Amount((used.dollars or 0.0) + used.assumed, used.tokens + used.assumed_tokens)
            assert 0 <= amount.dollars < math.inf and 0 <= amount.tokens < 10**11
            # With a usage told in full the least of both is what was told; without, what was reserved.
            assert amount.tokens >= min(claim.most.amount.tokens, told.input + told.output or 10**12)
            over = budget.record_usage(claim, amount)
            assert 0 <= over.dollars < math.inf
            budget.run.spent = Amount()


# --- at the door ----------------------------------------------------------------------------------------------------


def question(dialect: str, *, stream: bool = False) -> tuple[str, dict[str, Any]]:
    path, body = (STREAMS if stream else CALLS)[dialect]
    name = KNOWN[dialect].upstream_name
    cap = {"generationConfig": {"maxOutputTokens": 5_000}} if dialect == "gemini" else {"max_tokens": 5_000}
    return path.replace("m-1", name), body | {"model": name} | cap


def told_usage(dialect: str, usage: Any) -> Any:
    """A script whose replies are good but for their usage."""

    def respond(request: Request) -> Reply:
        pieces = body_pieces(request, Reply("Hello there"), Usage(100, 20))
        if not request.streamed:
            body = json.loads(pieces[0])
            return Reply(raw_body=json.dumps(body | body_with(dialect, usage)).encode())
        lines = b"".join(pieces).replace(b"[DONE]", b"{}").split(b"\n")
        chunks = [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]
        changed = [with_usage(chunk, NAMES[dialect][0], usage) for chunk in chunks]
        raw = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in changed)
        return Reply(raw_body=raw, headers={"content-type": "text/event-stream"})

    return respond


def with_usage(chunk: dict[str, Any], name: str, usage: Any) -> dict[str, Any]:
    if "message" in chunk:
        return chunk | {"message": chunk["message"] | {name: usage}}
    return chunk | {name: usage} if name in chunk else chunk


async def ask_once(
    server: ModelServer, dialect: str, budget: Budget, *, stream: bool
) -> tuple[Exchange, list[str], int]:
    listener = Listener()
    async with door(server, listener, limits=Limits(budget)) as (gateway, heard), client() as http:
        path, body = question(dialect, stream=stream)
        url = f"{gateway.client_url(gateway.add_client(ClientPass('agent', 1, 1)), dialect)}/{path}"
        answer = await http.post(url, json=body)
        assert await asyncio.to_thread(holds_soon, lambda: heard)
        assert not is_final(answer, dialect)
        return heard[0], listener.notes, answer.status_code


@pytest.mark.thorough(but="openai")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE)
def test_a_reply_with_a_usage_that_cannot_be_read_is_taken_and_settled_at_its_reservation(
    dialect: str, value: Any, stream: bool
) -> None:
    budget, (_, asked, said) = Budget(1.0), NAMES[dialect]
    for usage in (value, {asked: value, said: value}) if value != {"a": 1} else ([], {asked: value, said: value}):
        with ModelServer(told_usage(dialect, usage)) as server:
            before = budget.run.spent
            exchange, notes, status = asyncio.run(ask_once(server, dialect, budget, stream=stream))
            assert server.count() == 1
        used = exchange.usage
        most = billing.max_request_cost(
            KNOWN[dialect], len(json.dumps(question(dialect, stream=stream)[1])) - 4, 5_000
        ).amount
        assert (status, exchange.failure, exchange.reply) == (200, "", "Hello there")
        assert used.dollars == used.overshoot == 0 and used.assumed == pytest.approx(most.dollars, rel=0.01)
        assert budget.run.spent.dollars - before.dollars == pytest.approx(used.assumed)
        assert "a usage that cannot be read" in exchange.remark and exchange.remark in notes[0]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_usage_that_is_not_plausible_is_believed_and_flagged(dialect: str) -> None:
    _, asked, said = NAMES[dialect]
    budget = Budget(1.0)
    with ModelServer(told_usage(dialect, {asked: 50_000, said: 10**6})) as server:
        exchange, notes, status = asyncio.run(ask_once(server, dialect, budget, stream=False))
    used = exchange.usage
    assert (status, used.input, used.output, used.assumed) == (200, 50_000, 10**6, 0)
    assert used.dollars == budget.run.spent.dollars == catalogue.request_cost(KNOWN[dialect], 50_000, 0, 0, 10**6)
    assert 0 < used.overshoot < used.dollars
    assert "1,000,000 tokens of output, where 5,000 were allowed" in notes[0] and "50,000 tokens of input" in notes[0]


def test_after_an_overshoot_nothing_more_is_sent() -> None:
    budget = Budget(1.0)

    async def talk(server: ModelServer) -> list[str]:
        async with door(server, limits=Limits(budget)) as (gateway, heard), client() as http:
            path, body = question("openai")
            for n in range(3):
                url = f"{gateway.client_url(gateway.add_client(ClientPass('agent', 1, n)), 'openai')}/{path}"
                await http.post(url, json=body | {"n": n})
            return [exchange.failure for exchange in heard]

    with ModelServer(told_usage("openai", {"prompt_tokens": 10, "completion_tokens": LARGEST_COUNT})) as server:
        assert asyncio.run(talk(server)) == ["", "budget", "budget"]
        assert server.count() == 1


# --- streams that are none ------------------------------------------------------------------------------------------

NO_STREAMS = {
    "an error": b'data: {"error": {"message": "no such thing", "code": 529}}\n\n',
    "an error in the end": b'data: {"choices": [{"delta": {"content": "Hi"}}]}\n\ndata: {"error": {"code": 1}}\n\n',
    "only usage": b'data: {"choices": [], "usage": {"prompt_tokens": 5}}\n\ndata: [DONE]\n\n',
    "a response that has only begun": b'data: {"response": {"output": [], "status": "in_progress"}}\n\n',
    "nothing": b"data: [DONE]\n\n",
    "other events": b'data: {"type": "ping"}\n\n' * 3,
    "choices of no kind": b'data: {"choices": 5}\n\ndata: {"choices": null}\n\ndata: {"choices": [7]}\n\n',
    "noise": b"data: x\n\ndata: 5\n\ndata: []\n\n",
}


@pytest.mark.parametrize("raw", NO_STREAMS.values(), ids=NO_STREAMS)
def test_a_stream_without_a_reply_is_no_reply(raw: bytes) -> None:
    async def talk(server: ModelServer) -> Exchange:
        async with door(server) as (gateway, heard), client() as http:
            path, body = STREAMS["openai"]
            await http.post(f"{gateway.client_url(gateway.add_client(ClientPass('prd')), 'openai')}/{path}", json=body)
            assert await asyncio.to_thread(holds_soon, lambda: heard)
            return heard[0]

    reply = Reply(raw_body=raw, headers={"content-type": "text/event-stream"})
    with ModelServer(lambda request: reply) as server:
        exchange = asyncio.run(talk(server))
    assert (exchange.failure, exchange.reply, exchange.raw) == ("garbage", "", "")


def test_a_reply_that_is_handed_on_mended_is_kept_as_it_came() -> None:
    """So that it is known to be whole, and mended again when it is given again."""
    with ModelServer(told_usage("openai", "lots")) as server:
        exchange, _, _ = asyncio.run(ask_once(server, "openai", Budget(1.0), stream=False))
    assert json.loads(exchange.raw)["usage"] == "lots" and text_digest(exchange.raw)
