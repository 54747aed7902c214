"""What every wire format must do, tried on one canned request, reply and stream of each."""

import copy
import json
from dataclasses import dataclass
from typing import Any

import pytest

from orchestra import dialects
from orchestra.dialects import (
    CUT_OFF_FINISHES,
    DIALECTS,
    FAMILIES,
    FILTERED_FINISHES,
    KEY_HEADERS,
    Dialect,
    StreamReader,
    Tokens,
)
from orchestra.gateway import billing
from orchestra.providers import catalogue

Record = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """All requests ask m-1, with the order S and the question U; all replies say "Hello there"."""

    path: str
    request: Record
    reply: Record
    stream: list[Record]
    finish: str
    used: Tokens
    counted: str = ""  # a path that asks for a count of tokens


ORDER = {"role": "system", "content": "S"}
OPENAI_USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 40}}
RESPONSES_USAGE = {"input_tokens": 100, "output_tokens": 20, "input_tokens_details": {"cached_tokens": 40}}
ANTHROPIC_USAGE = {
    "input_tokens": 55,
    "cache_read_input_tokens": 40,
    "cache_creation_input_tokens": 5,
    "output_tokens": 20,
}
GEMINI_USAGE = {"promptTokenCount": 100, "cachedContentTokenCount": 40, "candidatesTokenCount": 20}
RESPONSE = {
    "output": [{"type": "reasoning"}, {"type": "message", "content": [{"text": "Hello "}, {"text": "there"}]}],
    "status": "incomplete",
    "incomplete_details": {"reason": "max_output_tokens"},
    "usage": RESPONSES_USAGE,
}


def gemini_chunk(text: str, **more: Any) -> Record:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}} | more
    return {"candidates": [candidate], "usageMetadata": GEMINI_USAGE}


CASES = {
    "openai": Case(
        "chat/completions",
        {
            "model": "m-1",
            "messages": [ORDER, {"role": "user", "content": [{"text": "U"}]}],
        },
        {
            "choices": [{"message": {"role": "assistant", "content": "Hello there"}, "finish_reason": "stop"}],
            "usage": OPENAI_USAGE,
        },
        [
            {"choices": [{"delta": {"content": "Hello "}}]},
            {"choices": [{"delta": {"content": "there"}, "finish_reason": "stop"}]},
            {"choices": [], "usage": OPENAI_USAGE},
        ],
        "stop",
        Tokens(100, 40, 0, 20),
    ),
    "responses": Case(
        "responses",
        {"model": "m-1", "instructions": "S", "input": [{"role": "user", "content": [{"text": "U"}]}]},
        RESPONSE,
        [{"type": "response.output_text.delta", "delta": "Hello "}, {"type": "response.done", "response": RESPONSE}],
        "max_output_tokens",
        Tokens(100, 40, 0, 20),
    ),
    "anthropic": Case(
        "v1/messages",
        {"model": "m-1", "system": [{"text": "S"}], "messages": [{"role": "user", "content": "U"}]},
        {
            "type": "message",
            "role": "assistant",
            "model": "m-1",
            "content": [{"type": "text", "text": "Hello there"}],
            "stop_reason": "end_turn",
            "usage": ANTHROPIC_USAGE,
        },
        [
            {"type": "message_start", "message": {"usage": ANTHROPIC_USAGE | {"output_tokens": 1}}},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hello "}},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "there"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 20}},
        ],
        "end_turn",
        Tokens(100, 40, 5, 20),
        "v1/messages/count_tokens",
    ),
    "gemini": Case(
        "v1beta/models/m-1:generateContent",
        {"systemInstruction": {"parts": [{"text": "S"}]}, "contents": [{"role": "user", "parts": [{"text": "U"}]}]},
        gemini_chunk("Hello there", finishReason="STOP"),
        [gemini_chunk("Hello "), gemini_chunk("there", finishReason="STOP")],
        "STOP",
        Tokens(100, 40, 0, 20),
        "models/m-1:countTokens",
    ),
}
GARBAGE: list[Any] = [
    *(None, True, 5, "hi", [], [5], {}, {"error": {"message": "overloaded"}}, {"choices": [], "candidates": 5}),
    *({"content": "hi"}, {"output": "hi"}, {"usage": {}, "usageMetadata": {}}, {"message": "down", "detail": []}),
]
pytestmark = pytest.mark.parametrize("name", DIALECTS)


def raw_stream(case: Case) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in case.stream)


def answers(dialect: Dialect, body: Record) -> tuple[bool, str, str, Tokens]:
    return dialect.is_reply(body), dialect.reply_text(body), dialect.end_reason(body), dialect.token_usage(body)


def plain(name: str) -> str:
    return dialects.path_without_version(DIALECTS[name], CASES[name].path)


def test_dialect_is_listed_under_its_name_with_a_case_here(name: str) -> None:
    assert DIALECTS[name].name == name and CASES.keys() == DIALECTS.keys()
    assert DIALECTS[name] in FAMILIES[DIALECTS[name].family] and DIALECTS[name].family in DIALECTS
    assert {provider.dialect for provider in catalogue.PROVIDERS.values()} <= FAMILIES.keys()


# --- requests -------------------------------------------------------------------------------------------------------


PATCH = "*** Begin Patch\n*** Update File: app.py\n@@\n-1\n+2\n*** End Patch\n"
# A reply that edits app.py by a tool call: whole, and as a stream whose arguments come in pieces.
CALLS: dict[str, tuple[Record, list[Record], str]] = {
    "openai": (
        {"choices": [{"message": {"tool_calls": [{"function": {"name": "edit", "arguments": '{"path": "app.py"}'}}]}}]},
        [
            {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"name": "edit", "arguments": '{"pa'}}]}}]},
            {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": 'th": "app.py"}'}}]}}]},
            {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
        ],
        "[edit app.py]",
    ),
    "responses": (
        {"output": [{"type": "custom_tool_call", "name": "apply_patch", "input": PATCH}], "status": "completed"},
        [
            {"type": "response.created", "response": {"output": [], "status": "in_progress"}},
            {
                "type": "response.output_item.done",
                "item": {"type": "custom_tool_call", "name": "apply_patch", "input": PATCH},
            },
            {"type": "response.completed", "response": {"status": "completed", "output": [], "usage": RESPONSES_USAGE}},
        ],
        "[apply_patch app.py]",
    ),
    "anthropic": (
        {"type": "message", "content": [{"type": "tool_use", "name": "Edit", "input": {"file_path": "app.py"}}]},
        [
            {"type": "message_start", "message": {"usage": ANTHROPIC_USAGE}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "name": "Edit"}},
            {"type": "content_block_delta", "index": 0, "delta": {"partial_json": '{"file_pa'}},
            {"type": "content_block_delta", "index": 0, "delta": {"partial_json": 'th": "app.py"}'}},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        ],
        "[Edit app.py]",
    ),
    "gemini": (
        {
            "candidates": [{"content": {"parts": [{"functionCall": {"name": "edit", "args": {"path": "app.py"}}}]}}],
            "usageMetadata": GEMINI_USAGE,
        },
        [
            {
                "candidates": [
                    {
                        "content": {"parts": [{"functionCall": {"name": "edit", "args": {"path": "app.py"}}}]},
                        "finishReason": "STOP",
                    }
                ]
            }
        ],
        "[edit app.py]",
    ),
}


def test_tool_call_is_told_in_a_line(name: str) -> None:
    dialect, (reply, events, line) = DIALECTS[name], CALLS[name]
    assert dialect.is_reply(reply) and dialect.reply_text(reply) == line
    reader = StreamReader(dialect.new_joiner())
    for event in events:
        reader.feed(f"data: {json.dumps(event)}\n\n".encode())
    assert not reader.finish_stream() and not reader.is_cut_off
    assert dialect.is_reply(reader.joined_body) and dialect.reply_text(reader.joined_body) == line


def test_stream_without_its_closing_event_is_cut_off(name: str) -> None:
    reader = StreamReader(DIALECTS[name].new_joiner())
    for event in CALLS[name][1][:-1] or [{"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}]:
        reader.feed(f"data: {json.dumps(event)}\n\n".encode())
    assert not reader.finish_stream() and reader.is_cut_off


def test_request_for_a_reply_is_recognised_in_its_family_only(name: str) -> None:
    for family in FAMILIES:
        found = dialects.route_request(family, "POST", CASES[name].path)
        if family != DIALECTS[name].family:
            assert found is None or found.kind != "reply"
        else:
            assert found is not None and (found.kind, found.dialect) == ("reply", DIALECTS[name])
            assert found.path and dialects.path_without_version(found.dialect, found.path) == plain(name)
            assert dialects.route_request(family, "GET", CASES[name].path) is None


def test_request_for_a_count_is_answered_here(name: str) -> None:
    dialect, path = DIALECTS[name], CASES[name].counted
    assert bool(path) == bool(dialect.count_path)
    if path:
        found = dialects.route_request(dialect.family, "POST", path)
        assert found is not None and (found.kind, found.dialect) == ("count", dialect)
        assert list(dialect.count_reply(12).values()) == [12]


def test_request_tells_its_model_messages_and_whether_it_streams(name: str) -> None:
    dialect, request = DIALECTS[name], CASES[name].request
    assert dialect.model_of(plain(name), request) == "m-1"
    assert dialect.read_request_messages(request) == [("system", "S"), ("user", "U")]
    assert not dialect.is_streaming(plain(name), request)
    assert dialect.is_streaming(plain(name), request | {"stream": True})


@pytest.mark.parametrize("provider", ["openai", "another"])
def test_cap_is_set_lowered_under_its_name_and_read_again(name: str, provider: str) -> None:
    dialect, request = DIALECTS[name], copy.deepcopy(CASES[name].request)
    assert dialect.output_cap(request) is None
    capped = dialect.with_cap(provider, request, 900)
    lower = dialect.with_cap(provider, capped, 7)
    assert (dialect.output_cap(capped), dialect.output_cap(lower)) == (900, 7)
    assert json.dumps(lower) == json.dumps(capped).replace("900", "7")
    assert request == CASES[name].request, "the request itself is not changed"
    assert dialect.read_request_messages(lower) == dialect.read_request_messages(request)


def test_question_of_our_own_is_a_request_of_this_dialect(name: str) -> None:
    dialect = DIALECTS[name]
    turns = [("user", "U"), ("assistant", "A"), ("user", "V")]
    path, body = dialect.compose_request("m-1", "S", turns)
    found = dialects.route_request(dialect.family, "POST", path)
    assert found is not None and found.dialect is dialect
    assert dialect.model_of(dialects.path_without_version(dialect, path), body) == "m-1"
    assert dialect.read_request_messages(body) == [("system", "S"), *turns]
    assert dialect.output_cap(body) is None and not dialect.is_streaming(path, body)
    assert dialect.read_request_messages(dialect.compose_request("m-1", "", turns)[1]) == turns


def test_key_takes_the_place_of_every_other(name: str) -> None:
    dialect = DIALECTS[name]
    header, value = dialect.auth_header("real")
    assert header in KEY_HEADERS and "real" in value
    given = dict.fromkeys([each.upper() for each in KEY_HEADERS], "token") | {"host": "h", "x-kind": "kept"}
    assert dialects.upstream_headers(dialect, "real", given) == {"x-kind": "kept", header: value}
    assert dialects.upstream_headers(dialect, "", given) == {"x-kind": "kept"}


def test_base_may_end_in_whatever_the_path_brings_along(name: str) -> None:
    dialect = DIALECTS[name]
    wanted = dialects.upstream_url(dialect, "https://x.test", CASES[name].path)
    assert wanted.endswith(plain(name))
    for provider in catalogue.PROVIDERS.values():
        if provider.dialect == dialect.family and provider.name != "ollama":
            for tail in ("", "/", *dialect.base_tails):
                base = catalogue.provider_base_url(provider, f"https://x.test{tail}")
                assert dialects.upstream_url(dialect, base, CASES[name].path) == wanted


# --- replies --------------------------------------------------------------------------------------------------------


def test_reply_tells_its_text_finish_and_usage(name: str) -> None:
    case = CASES[name]
    assert answers(DIALECTS[name], case.reply) == (True, "Hello there", case.finish, case.used)


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_stream_amounts_to_what_comes_unstreamed(name: str, size: int) -> None:
    dialect, case = DIALECTS[name], CASES[name]
    reader, raw = StreamReader(dialect.new_joiner()), raw_stream(case)
    for at in range(0, len(raw), size):
        reader.feed(raw[at : at + size])
    assert reader.finish_stream() == b""
    assert answers(dialect, reader.joined_body) == answers(dialect, case.reply)
    assert answers(dialect, dialects.join_stream(dialect, json.dumps(case.stream).encode())) == answers(
        dialect, case.reply
    )
    assert dialects.join_stream(dialect, json.dumps(case.reply).encode()) == case.reply


def test_stream_that_ends_in_an_error_is_no_reply(name: str) -> None:
    dialect = DIALECTS[name]
    raw = raw_stream(CASES[name]) + b'data: {"error": {"message": "overloaded"}}\n\n'
    assert not dialect.is_reply(dialects.join_stream(dialect, raw))


@pytest.mark.parametrize("body", GARBAGE, ids=json.dumps)
def test_garbage_is_no_reply_and_no_error_of_ours(name: str, body: Any) -> None:
    dialect = DIALECTS[name]
    assert not dialect.is_reply(body)
    joined = dialects.join_whole(dialect, body)
    assert (
        not dialect.is_reply(joined)
        and dialect.reply_text(joined) == ""
        and isinstance(dialect.token_usage(joined), Tokens)
    )


def test_reply_of_another_family_is_none(name: str) -> None:
    for other, case in CASES.items():
        assert DIALECTS[name].is_reply(case.reply) == (other == name), other


def test_reply_without_usage_counts_as_the_most_that_it_may_cost(name: str) -> None:
    dialect = DIALECTS[name]
    body = {key: value for key, value in CASES[name].reply.items() if key != dialect.usage.name}
    model = catalogue.resolve_model("openai/gpt-6.1-sol")
    most = billing.max_request_cost(model, 3_000, 1_000)
    for unknown in (body, body | {dialect.usage.name: "lots"}):
        assert dialect.is_reply(unknown)
        told = dialect.token_usage(unknown)
        used = billing.usage_of_reply(model, told, 1, has_text=True, most=most)
        assert (told.input, told.output, used.dollars) == (0, 0, 0)
        assert used.assumed == pytest.approx(most.amount.dollars) and used.assumed_tokens == most.amount.tokens


def test_good_reply_is_handed_on_as_it_is(name: str) -> None:
    reply = CASES[name].reply
    assert dialects.readable_reply(DIALECTS[name], reply) is reply


@pytest.mark.parametrize("usage", ["lots", [], 5, {"total_tokens": "x", "totalTokenCount": "x", "output_tokens": -1}])
def test_reply_with_a_strange_usage_is_mended_once(name: str, usage: Any) -> None:
    dialect, before = DIALECTS[name], copy.deepcopy(CASES[name].reply)
    body = before | {dialect.usage.name: usage}
    clean = dialects.readable_reply(dialect, body)
    assert dialect.usage.is_clean(clean[dialect.usage.name])
    assert dialects.readable_reply(dialect, clean) is clean
    assert (dialect.is_reply(clean), dialect.reply_text(clean)) == (True, "Hello there")
    assert body == CASES[name].reply | {dialect.usage.name: usage}, "what came is not changed"


# --- ends and errors ------------------------------------------------------------------------------------------------


def test_words_for_ends_are_looked_for_in_every_dialect(name: str) -> None:
    dialect = DIALECTS[name]
    assert dialect.cut_off and dialect.filtered
    assert dialect.cut_off <= CUT_OFF_FINISHES and dialect.filtered <= FILTERED_FINISHES
    assert CUT_OFF_FINISHES.isdisjoint(FILTERED_FINISHES)


def test_final_error_is_a_bad_request_that_says_nothing(name: str) -> None:
    raw = dialects.final_error_body(DIALECTS[name])
    assert dialects.classify_failure(400, raw) == "bad_request"
    assert dialects.error_message(raw) == dialects.NEUTRAL_MESSAGE
    assert not DIALECTS[name].is_reply(json.loads(raw))


# --- what thinking needs --------------------------------------------------------------------------------------------


def test_cap_is_never_lowered_below_what_thinking_needs(name: str) -> None:
    request = CASES[name].request | {"thinking": {"type": "enabled", "budget_tokens": 31_999}}
    least = DIALECTS[name].least_cap(request)
    assert least == (31_999 if name == "anthropic" else 0)
    model = catalogue.resolve_model("openai/gpt-4o")
    most = billing.max_request_cost(model, 300, 64_000, least)
    assert most.least_output > least and most.least_amount.tokens > least
