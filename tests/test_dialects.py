"""The three dialects on paper: addresses, keys, shapes, usage, failures. Expected values stand in tables."""

import json
import time
from email.utils import formatdate
from typing import Any

import pytest

from orchestra import dialects
from orchestra.dialects import DIALECTS, Tokens, rate_headers
from orchestra.gateway.decode import reply_facts

ADDRESSES = [
    ("openai", "https://x.test/v1", "chat/completions", "https://x.test/v1/chat/completions"),
    ("openai", "https://x.test/api/v1/", "/chat/completions", "https://x.test/api/v1/chat/completions"),
    ("openai", "https://x.test", "v1/models", "https://x.test/v1/models"),
    ("anthropic", "https://x.test", "v1/messages", "https://x.test/v1/messages"),
    ("anthropic", "https://x.test/v1", "v1/messages", "https://x.test/v1/messages"),
    ("anthropic", "https://x.test/", "messages", "https://x.test/v1/messages"),
    ("gemini", "https://x.test", "models/m:generateContent", "https://x.test/v1beta/models/m:generateContent"),
    ("gemini", "https://x.test", "v1beta/models/m:generateContent", "https://x.test/v1beta/models/m:generateContent"),
    ("gemini", "https://x.test/v1beta", "models/m:generateContent", "https://x.test/v1beta/models/m:generateContent"),
]


@pytest.mark.parametrize(("dialect", "base", "path", "url"), ADDRESSES)
def test_addresses(dialect: str, base: str, path: str, url: str) -> None:
    assert dialects.upstream_url(DIALECTS[dialect], base, path) == url


@pytest.mark.parametrize(
    ("dialect", "name", "value"),
    [
        ("openai", "authorization", "Bearer real"),
        ("anthropic", "x-api-key", "real"),
        ("gemini", "x-goog-api-key", "real"),
    ],
)
def test_the_real_key_takes_the_place_of_every_other(dialect: str, name: str, value: str) -> None:
    given = {"Authorization": "Bearer token", "X-Api-Key": "token", "x-goog-api-key": "token", "api-key": "token"}
    more = {"Host": "h", "Content-Length": "1", "Accept-Encoding": "br", "anthropic-version": "2023-06-01"}
    more |= {"Cookie": "a=b", "Content-Encoding": "gzip", "Proxy-Authorization": "Basic x", "X-Forwarded-For": "me"}
    assert dialects.upstream_headers(DIALECTS[dialect], "real", given | more) == {
        "anthropic-version": "2023-06-01",
        name: value,
    }
    assert dialects.upstream_headers(DIALECTS[dialect], "", given) == {}


def test_the_model_and_whether_it_streams() -> None:
    assert DIALECTS["gemini"].model_of("models/gemini-x:streamGenerateContent", {}) == "gemini-x"
    assert DIALECTS["openai"].model_of("chat/completions", {"model": "m"}) == "m"
    gemini, anthropic = DIALECTS["gemini"], DIALECTS["anthropic"]
    assert gemini.is_streaming("models/m:streamGenerateContent", {}) and anthropic.is_streaming(
        "messages", {"stream": True}
    )
    assert not gemini.is_streaming("models/m:generateContent", {"stream": False})


CHOICE = {"message": {"role": "assistant", "content": "hi"}}
REPLIES: list[tuple[str, Any, bool]] = [
    ("openai", {"choices": [CHOICE]}, True),
    ("openai", {"choices": [{"message": {"content": None}}], "usage": None}, True),
    ("responses", {"output": [{"type": "message"}]}, True),
    ("openai", {"choices": []}, False),
    ("openai", {"choices": None}, False),
    ("openai", {"choices": [None]}, False),
    ("openai", {"choices": [{"index": 0}]}, False),
    ("openai", {"choices": [CHOICE | {"error": {"code": 502}}]}, False),
    ("openai", {"error": {"message": "overloaded"}}, False),
    ("openai", [CHOICE], False),
    ("openai", "hi", False),
    ("anthropic", {"content": [], "usage": {}}, True),
    ("anthropic", {"content": [{"type": "text", "text": "hi"}]}, False),
    ("anthropic", {"type": "message", "content": [{"type": "text", "text": "hi"}]}, True),
    ("anthropic", {"content": [], "usage": "lots"}, True),
    ("anthropic", {"content": "hi", "usage": {}}, False),
    ("anthropic", {"type": "error", "error": {}}, False),
    ("gemini", {"candidates": [{}], "usageMetadata": {}}, True),
    ("gemini", {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {}}, True),
    ("gemini", {"candidates": [{}]}, False),
    ("gemini", {"candidates": [{"content": {"parts": []}}]}, True),
    ("gemini", {"candidates": 5, "usageMetadata": {}}, False),
    ("gemini", {"error": {"code": 400}}, False),
]


@pytest.mark.parametrize(("dialect", "body", "good"), REPLIES)
def test_what_is_a_reply(dialect: str, body: Any, good: bool) -> None:
    assert DIALECTS[dialect].is_reply(body) is good


USAGE: list[tuple[str, dict[str, Any], Tokens]] = [
    ("openai", {}, Tokens()),
    ("openai", {"usage": None}, Tokens()),
    ("openai", {"usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}}, Tokens(9, 0, 0, 4)),
    (
        "openai",
        {
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "total_tokens": 120,
                "prompt_tokens_details": {"cached_tokens": 40},
                "completion_tokens_details": {"reasoning_tokens": 5},
            }
        },
        Tokens(100, 40, 0, 20),
    ),
    ("openai", {"usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 150}}, Tokens(100, 0, 0, 50)),
    (
        "openai",
        {"usage": {"prompt_tokens": 8, "prompt_cache_hit_tokens": 6, "completion_tokens": 1}},
        Tokens(8, 6, 0, 1),
    ),
    (
        "openai",
        {"usage": {"input_tokens": 7, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 2}}},
        Tokens(7, 2, 0, 3),
    ),
    (
        "anthropic",
        {
            "usage": {
                "input_tokens": 10,
                "cache_read_input_tokens": 200,
                "cache_creation_input_tokens": 3000,
                "output_tokens": 40,
            }
        },
        Tokens(3210, 200, 3000, 40),
    ),
    (
        "anthropic",
        {"usage": {"input_tokens": 1, "cache_read_input_tokens": None, "output_tokens": 2}},
        Tokens(1, 0, 0, 2),
    ),
    (
        "gemini",
        {
            "usageMetadata": {
                "promptTokenCount": 100,
                "cachedContentTokenCount": 40,
                "candidatesTokenCount": 15,
                "thoughtsTokenCount": 5,
            }
        },
        Tokens(100, 40, 0, 20),
    ),
    ("gemini", {"usageMetadata": {"promptTokenCount": 6}}, Tokens(6, 0, 0, 0)),
]


@pytest.mark.parametrize(("dialect", "body", "used"), USAGE)
def test_usage(dialect: str, body: dict[str, Any], used: Tokens) -> None:
    assert DIALECTS[dialect].token_usage(body) == used


def events(*chunks: dict[str, Any], end: bytes = b"") -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks) + end


def test_an_openai_stream_amounts_to_one_body() -> None:
    def delta(**more: Any) -> dict[str, Any]:
        return {"choices": [{"delta": {"content": "he"}, "finish_reason": None} | more]}

    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    last = {"choices": [], "usage": usage}
    body = dialects.join_stream(
        DIALECTS["openai"], events(delta(), delta(finish_reason="stop"), last, end=b"data: [DONE]\n\n")
    )
    assert (DIALECTS["openai"].reply_text(body), DIALECTS["openai"].end_reason(body)) == ("hehe", "stop")
    assert DIALECTS["openai"].token_usage(body) == Tokens(3, 0, 0, 2)


def test_an_anthropic_stream_amounts_to_one_body() -> None:
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}}
    thought = {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hm"}}
    piece = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "he"}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    end |= {"usage": {"output_tokens": 9, "input_tokens": None, "cache_read_input_tokens": 4}}
    body = dialects.join_stream(DIALECTS["anthropic"], events(start, thought, piece, piece, end))
    assert (DIALECTS["anthropic"].reply_text(body), DIALECTS["anthropic"].end_reason(body)) == ("hehe", "end_turn")
    assert DIALECTS["anthropic"].token_usage(body) == Tokens(9, 4, 0, 9)
    assert DIALECTS["anthropic"].is_reply(body)


@pytest.mark.parametrize("sse", [True, False])
def test_a_gemini_stream_amounts_to_one_body_as_events_or_as_an_array(sse: bool) -> None:
    def chunk(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"candidates": [{"content": {"parts": list(parts)}} | more], "usageMetadata": {"promptTokenCount": 4}}

    chunks = [chunk({"text": "hm", "thought": True}), chunk({"text": "he"}), chunk({"text": "he"}, finishReason="STOP")]
    chunks[-1]["usageMetadata"] = {"promptTokenCount": 4, "candidatesTokenCount": 2, "thoughtsTokenCount": 7}
    body = dialects.join_stream(DIALECTS["gemini"], events(*chunks) if sse else json.dumps(chunks).encode())
    assert (DIALECTS["gemini"].reply_text(body), DIALECTS["gemini"].end_reason(body)) == ("hehe", "STOP")
    assert DIALECTS["gemini"].token_usage(body) == Tokens(4, 0, 0, 9)


@pytest.mark.parametrize("raw", [b"", b"<html>", b"data: \n\n", b"data: [1]\n\n", b"[]", b"null"])
@pytest.mark.parametrize("dialect", ["openai", "gemini"])
def test_noise_is_no_stream_and_no_crash(dialect: str, raw: bytes) -> None:
    body = dialects.join_stream(DIALECTS[dialect], raw)
    assert DIALECTS[dialect].reply_text(body) == "" and DIALECTS[dialect].token_usage(body) == Tokens()


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_no_json_is_nothing(raw: bytes) -> None:
    assert dialects.parse_json_or_none(raw) is None


TPM = "Rate limit reached on tokens per min (TPM). You can add a payment method at https://openai.test/account/billing."
OPENAI_TPM = json.dumps({"error": {"message": TPM, "code": "rate_limit_exceeded"}})
PER_MINUTE = [{"quotaId": "GenerateRequestsPerMinutePerProject"}, {"@type": "RetryInfo", "retryDelay": "17s"}]
EXCEEDED = "You exceeded your current quota, please check your plan and billing details."
GEMINI_PER_MINUTE = json.dumps({"error": {"code": 429, "message": EXCEEDED, "details": PER_MINUTE}})
FAILURES = [
    (200, "<html>", "garbage"),
    (204, "", "garbage"),
    (302, "<html>billing</html>", "garbage"),
    (400, "no such parameter", "bad_request"),
    (400, '{"error": {"code": "context_length_exceeded"}}', "context"),
    (400, "prompt is too long: 210000 tokens > 200000 maximum", "context"),
    (400, "The input token count (1200000) exceeds the maximum number of tokens", "context"),
    (400, "API key not valid. Please pass a valid API key.", "auth"),
    (400, '{"error": {"message": "API key expired.", "details": [{"reason": "API_KEY_INVALID"}]}}', "auth"),
    (400, "Your credit balance is too low to access the API", "quota"),
    (401, "Incorrect API key provided", "auth"),
    (402, "", "quota"),
    (403, "not allowed", "auth"),
    (403, "This API method requires billing to be enabled", "quota"),
    (404, "model not found", "bad_request"),
    (408, "", "timeout"),
    (413, "", "context"),
    (422, "please reduce the length of the messages", "context"),
    (429, '{"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}}', "quota"),
    (429, EXCEEDED, "quota"),
    (429, OPENAI_TPM, "rate_limit"),
    (429, GEMINI_PER_MINUTE, "rate_limit"),
    (429, GEMINI_PER_MINUTE.replace("PerMinute", "PerDay"), "quota"),
    (500, "maximum context length", "server"),
    (503, "high demand, billing unaffected", "server"),
    (529, "Overloaded", "server"),
]


@pytest.mark.parametrize(("status", "text", "failure"), FAILURES)
def test_failures(status: int, text: str, failure: str) -> None:
    assert dialects.classify_failure(status, text.encode()) == failure


BEGUN = {"type": "response.created", "response": {"status": "in_progress", "output": []}}
SPOKEN = {"type": "message_start", "message": {"usage": {"input_tokens": 5}}}
SAID = "You exceeded your current quota"
STREAM_ERRORS: list[tuple[str, list[dict[str, Any]], str, str]] = [
    ("responses", [BEGUN, {"type": "error", "code": "rate_limit_exceeded", "message": "Wait."}], "rate_limit", "Wait."),
    (
        "responses",
        [BEGUN, {"type": "response.failed", "response": {"status": "failed", "error": {"message": SAID}}}],
        *("quota", SAID),
    ),
    (
        "responses",
        [
            BEGUN,
            {"type": "response.failed", "response": {"output": [], "error": {"code": "server_error", "message": "Oh"}}},
        ],
        *("server", "Oh"),
    ),
    ("anthropic", [SPOKEN, {"type": "error", "error": {"type": "overloaded_error", "message": "Oh"}}], "server", "Oh"),
    (
        "openai",
        [{"choices": [{"delta": {"content": ""}}], "error": {"code": "rate_limit_exceeded", "message": "Wait."}}],
        *("rate_limit", "Wait."),
    ),
]


@pytest.mark.parametrize(("dialect", "chunks", "failure", "message"), STREAM_ERRORS)
def test_error_inside_of_a_stream(dialect: str, chunks: list[dict[str, Any]], failure: str, message: str) -> None:
    reader = dialects.StreamReader(DIALECTS[dialect].new_joiner())
    for chunk in chunks:
        reader.feed(f"data: {json.dumps(chunk)}\n\n".encode())
    assert not reader.finish_stream() and not reader.is_cut_off
    facts = reply_facts(DIALECTS[dialect], reader.joined_body, b"")
    assert (facts.is_reply, facts.message) == (False, message)
    assert dialects.classify_stream_error(f"{facts.codes} {facts.message}") == failure


MESSAGES = [
    ('{"error": {"message": "No  such\\nmodel", "code": 1}}', "No such model"),
    ('{"error": "plain"}', "plain"),
    ('{"detail": "from a proxy"}', "from a proxy"),
    ('[{"error": {"message": "in a list"}}]', "in a list"),
    ('{"type": "error", "error": {"type": "x", "message": "Overloaded"}}', "Overloaded"),
    ('{"choices": [{"error": {"message": "broker"}}]}', "broker"),
    ("<html>Bad\nGateway</html>", "<html>Bad Gateway</html>"),
    ("", ""),
]


@pytest.mark.parametrize(("raw", "message"), MESSAGES)
def test_the_providers_own_sentence(raw: str, message: str) -> None:
    assert dialects.error_message(raw.encode()) == message


def test_a_sentence_is_short_and_one_line() -> None:
    assert len(dialects.error_message(b"x\n" * 9000)) <= 300
    assert dialects.error_message(b'{"error": {"message": "' + b"y" * 9000 + b'"}}') == "y" * 300


WAITS = [
    ({"retry-after": "7"}, "", 7.0),
    ({"retry-after": "0.5"}, "", 0.5),
    ({"retry-after": "-3"}, "", 0.0),
    ({"retry-after": "soon"}, "", None),
    ({}, "", None),
    ({}, GEMINI_PER_MINUTE, 17.0),
    ({}, '{"error": {"details": [{"retryDelay": "0.250s"}]}}', 0.25),
    ({}, '{"error": {"details": null}}', None),
    ({}, '{"error": {"details": [null, 3]}}', None),
    ({}, '{"error": "text"}', None),
    ({"retry-after": "3"}, GEMINI_PER_MINUTE, 3.0),
]


@pytest.mark.parametrize(("headers", "raw", "seconds"), WAITS)
def test_how_long_to_wait(headers: dict[str, str], raw: str, seconds: float | None) -> None:
    assert rate_headers.read_retry_after(headers, raw.encode()) == seconds


def test_how_long_to_wait_until_a_date() -> None:
    told = rate_headers.read_retry_after({"retry-after": formatdate(time.time() + 20, usegmt=True)}, b"")
    assert told is not None and 17 < told <= 20


def test_the_final_answer_has_the_dialects_shape_and_says_nothing() -> None:
    openai, anthropic, gemini = (
        json.loads(dialects.final_error_body(DIALECTS[each])) for each in ("openai", "anthropic", "gemini")
    )
    assert openai["error"] == {
        "message": dialects.NEUTRAL_MESSAGE,
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    assert (anthropic["type"], anthropic["error"]["message"]) == ("error", dialects.NEUTRAL_MESSAGE)
    assert (gemini["error"]["code"], gemini["error"]["status"]) == (400, "INVALID_ARGUMENT")
    for word in ("rate limit", "context", "quota", "http", "content_policy", "overloaded", "timeout"):
        assert word not in dialects.NEUTRAL_MESSAGE.lower()
