"""A question to any model, its answer in a shape of ours: through a real gateway, before a scripted model server."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from orchestra.answers.shape import MisshapenAnswer, described_field, json_schema, parse_answer, shape_instructions
from orchestra.errors import ProviderError
from orchestra.gateway.billing import ClientPass, Exchange
from orchestra.models.ask_model import UnusableAnswer, ask_model
from orchestra.providers import catalogue
from tests.support.modelserver import ModelServer, Reply, Request, Usage
from tests.support.seating import MODELS, door, real_key


@dataclass(frozen=True)
class Part:
    name: str = described_field("its name")
    size: int = described_field("lines", default=0)


@dataclass(frozen=True)
class Answer:
    ok: bool = described_field("whether it is good")
    word: Literal["yes", "no"] = described_field("in a word")
    parts: tuple[Part, ...] = described_field("what it is made of", default=())


GOOD = {"ok": True, "word": "yes", "parts": [{"name": "roof", "size": 3}, {"name": "door"}]}
ANSWER = Answer(True, "yes", (Part("roof", 3), Part("door")))


def asked(model: str, replies: Iterable[Reply], **how: Any) -> tuple[Answer | ProviderError, list[Request], ClientPass]:
    turn = iter(replies)

    async def talk(server: ModelServer) -> tuple[Answer | ProviderError, ClientPass]:
        async with door(server) as (gateway, _):
            ticket = gateway.add_client(ClientPass("critic", 1, 1))
            known = catalogue.resolve_model(model)
            base = gateway.client_url(ticket, known.provider.name)
            try:
                return await ask_model(known, "What is a house?", Answer, base=base, key=ticket.token, **how), ticket
            except ProviderError as error:
                return error, ticket

    with ModelServer(lambda request: next(turn)) as server:
        answer, ticket = asyncio.run(talk(server))
    return answer, server.requests, ticket


@pytest.mark.parametrize("model", MODELS.values())
def test_every_dialect_gives_a_checked_answer(model: str) -> None:
    reply = Reply(json.dumps(GOOD), usage=Usage(100, 20))
    answer, [request], ticket = asked(model, [reply], system="You build houses.")
    assert answer == ANSWER
    assert request.system == "You build houses." and not request.streamed
    assert request.text.count("What is a house?") == 1 and shape_instructions(Answer) in request.text
    assert real_key(request.dialect) in str(request.headers) and ticket.token not in str(request.headers)
    assert f"{request.dialect}/{request.model}" == model
    [exchange] = ticket.exchanges
    assert exchange.usage.dollars == catalogue.request_cost(catalogue.resolve_model(model), 100, 0, 0, 20)
    assert 8_000 < cap_of(request) < 64_000, "so that a budget need not set aside what no answer has"


def cap_of(request: Request) -> int:
    body = request.body.get("generationConfig", request.body)
    [cap] = [body[name] for name in ("max_completion_tokens", "max_tokens", "maxOutputTokens") if name in body]
    return int(cap)


@pytest.mark.parametrize("model", MODELS.values())
def test_a_wrong_answer_is_mended_once_by_telling_what_is_wrong(model: str) -> None:
    wrong = json.dumps({"ok": "yes", "parts": [{"name": 3}]})
    answer, [_, again], ticket = asked(model, [Reply(wrong), Reply(f"Sorry.\n```json\n{json.dumps(GOOD)}\n```")])
    assert answer == ANSWER
    said = [(role, text) for role, text in again.messages]
    assert [role for role, _ in said] == ["user", "assistant", "user"] and said[1][1] == wrong
    for words in ("ok must be true or false, not 'yes'", "word is missing", "parts[0].name must be a string, not a nu"):
        assert words in said[2][1]
    assert len(ticket.exchanges) == 2


def test_caller_may_check_more_than_the_shape() -> None:
    replies = [Reply(json.dumps(GOOD)), Reply(json.dumps(GOOD | {"parts": []}))]
    answer, [_, again], _ = asked(
        MODELS["gemini"], replies, check=lambda answer: "there is no roof in a cave." if answer.parts else ""
    )
    assert answer == Answer(True, "yes") and "cannot be used: there is no roof in a cave.\n" in again.text


HOPELESS = [
    (Reply("I would rather not."), "it holds no JSON object"),
    (Reply(""), "it holds no JSON object"),
    (Reply('{"ok": true, "word": "y', finish="length"), "it was cut off because it was too long"),
    (Reply('{"ok": true, "word": "maybe"}'), "word must be one of 'yes', 'no', not 'maybe'"),
    (Reply('{"ok": true, }'), "it is not valid JSON"),
    (Reply("[" * 100_000), "its JSON cannot be read"),
    (Reply('{"a":' * 50_000 + "1" + "}" * 50_000), "its JSON cannot be read"),
    (Reply(f'{{"ok": {"9" * 5_000}}}'), "its JSON cannot be read"),
]


@pytest.mark.parametrize(("reply", "words"), HOPELESS, ids=[str(n) for n in range(len(HOPELESS))])
def test_twice_wrong_is_one_clear_error(reply: Reply, words: str) -> None:
    error, requests, _ = asked(MODELS["openai"], [reply, reply])
    assert isinstance(error, UnusableAnswer) and len(requests) == 2
    assert str(error).startswith("openai/gpt-6.1-sol gave an unusable answer twice: ")
    assert words in str(error) and "\n" not in str(error)


def test_a_provider_that_fails_is_asked_no_second_time() -> None:
    error, requests, ticket = asked(MODELS["anthropic"], [Reply("Wrong key", status=401)])
    assert isinstance(error, ProviderError) and not isinstance(error, UnusableAnswer) and len(requests) == 1
    [exchange] = ticket.exchanges
    assert (exchange.failure, exchange.message) == ("auth", "Wrong key")


def test_the_same_question_has_the_same_identity() -> None:
    """So that a tape, and a resumed run, know it again."""
    one, two = (asked(MODELS["openai"], [Reply(json.dumps(GOOD))])[2].exchanges[0] for _ in range(2))
    assert isinstance(one, Exchange) and one.identity == two.identity and one.identity


# --- shapes ---------------------------------------------------------------------------------------------------------


def test_shape_becomes_a_schema() -> None:
    part = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "its name"},
            "size": {"type": "integer", "description": "lines"},
        },
        "required": ["name"],
        "additionalProperties": False,
    }
    assert json_schema(Answer) == {
        "type": "object",
        "properties": {
            "ok": {"type": "boolean", "description": "whether it is good"},
            "word": {"enum": ["yes", "no"], "description": "in a word"},
            "parts": {"type": "array", "items": part, "description": "what it is made of"},
        },
        "required": ["ok", "word"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "text",
    [
        '{"ok": true, "word": "no"}',
        'Here:\n```json\n{"ok": true, "word": "no"}\n```\nDone.',
        'I think {"ok": true, "word": "no", "why": "more than was asked"} says it.',
    ],
)
def test_the_object_is_found_among_words(text: str) -> None:
    assert parse_answer(Answer, text) == Answer(True, "no")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"name": null}', "name must be a string, not null"),
        ('{"name": "a", "size": true}', "size must be a whole number, not true or false"),
        ('{"name": "a", "size": 1.5}', "size must be a whole number, not a number"),
        ('{"name": ["a"]}', "name must be a string, not a list"),
        ("[1, 2]", "it holds no JSON object"),
    ],
)
def test_what_does_not_fit_is_named(text: str, complaint: str) -> None:
    with pytest.raises(MisshapenAnswer) as error:
        parse_answer(Part, text)
    assert str(error.value) == complaint


def test_complaints_are_cut_and_unwritable_letters_replaced() -> None:
    with pytest.raises(MisshapenAnswer) as error:
        parse_answer(Answer, json.dumps({"ok": True, "word": "no", "parts": [1] * 30}))
    assert str(error.value).count("must be an object") == 10 and str(error.value).endswith("; and 20 more")
    assert parse_answer(Part, '{"name": "\\u001b[2J \\ud800 \\n"}').name == "\ufffd[2J \ufffd \n"
