"""The three dialects of model traffic: where a request goes, what a reply used, how a failure is told."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from orchestra.dialects.joining import StreamReader, TooLarge, join_stream, join_whole
from orchestra.dialects.routes import Route, route
from orchestra.dialects.usage import Tokens, readable, tokens
from orchestra.dialects.values import Body, are_records, parse, record, records, string

# Beside what stands here: what callers need of the rooms below.
__all__ = [
    "Body",
    "Route",
    "StreamReader",
    "Tokens",
    "TooLarge",
    "are_records",
    "join_stream",
    "join_whole",
    "parse",
    "readable",
    "route",
    "tokens",
]

NEUTRAL = "The request was not answered; the orchestrator's report says why."
KEY_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
HOP_HEADERS = (
    *("host", "content-length", "connection", "accept-encoding", "transfer-encoding", "expect"),
    *("content-encoding", "cookie", "te", "trailer", "upgrade", "keep-alive", "forwarded", "via"),
)
HOP_PREFIXES = ("proxy-", "x-forwarded-")
CONTEXT_WORDS = (
    "context_length_exceeded",
    "context length",
    "context window",
    "context limit",
    "context size",
    "maximum prompt length",
    "maximum model length",
    "prompt is too long",
    "input is too long",
    "too many tokens",
    "exceeds the maximum number of tokens",
    "input token count",
    "reduce the length of the messages",
)
QUOTA_WORDS = (
    "insufficient_quota",
    "billing_hard_limit",
    "requires billing",
    "credit balance",
    "insufficient credits",
    "payment required",
    "requestsperday",
)
# What Gemini also says of a limit per minute, but then with the time to wait.
PERHAPS_QUOTA = "exceeded your current quota"
KEY_WORDS = ("api key not valid", "api_key_invalid")


def rest_path(dialect: str, path: str) -> str:
    """The path without the version prefix that clients may or may not have put before it."""
    path = path.strip("/")
    for prefix in ("v1beta/", "v1/"):
        if dialect != "openai" and path.startswith(prefix):
            return path.removeprefix(prefix)
    return path


def upstream_url(dialect: str, base: str, path: str) -> str:
    base = base.rstrip("/")
    version = {"openai": "", "anthropic": "/v1", "gemini": "/v1beta"}[dialect]
    if version and base.endswith(("/v1", "/v1beta")):
        version = ""
    return f"{base}{version}/{rest_path(dialect, path)}"


def upstream_headers(dialect: str, key: str, headers: Mapping[str, str]) -> dict[str, str]:
    """The client's headers with the real key in the dialect's own place, and no other key."""
    dropped = KEY_HEADERS + HOP_HEADERS
    kept = {
        name: value
        for name, value in headers.items()
        if name.lower() not in dropped and not name.lower().startswith(HOP_PREFIXES)
    }
    if not key:
        return kept
    name, value = {
        "openai": ("authorization", f"Bearer {key}"),
        "anthropic": ("x-api-key", key),
        "gemini": ("x-goog-api-key", key),
    }[dialect]
    return kept | {name: value}


def model_of(dialect: str, path: str, body: Body) -> str:
    if dialect == "gemini":
        return path.rsplit("models/", 1)[-1].split(":", 1)[0]
    return str(body.get("model", ""))


def question(
    provider: str, dialect: str, model: str, system: str, turns: Sequence[tuple[str, str]], cap: int | None
) -> tuple[str, Body]:
    """The path and the body of a request of our own; `turns` are (role, text), the roles being user and assistant."""
    said = [{"role": role, "content": text} for role, text in turns]
    if dialect == "gemini":
        roles = {"assistant": "model"}
        contents = [{"role": roles.get(role, role), "parts": [{"text": text}]} for role, text in turns]
        path = f"v1beta/models/{model}:generateContent"
        body: Body = {"systemInstruction": {"parts": [{"text": system}]}, "contents": contents}
    elif dialect == "anthropic":
        path, body = "v1/messages", {"model": model, "system": system, "messages": said}
    else:
        path, body = "chat/completions", {"model": model, "messages": [{"role": "system", "content": system}, *said]}
    return path, body if cap is None else with_cap(provider, dialect, body, cap)


def streams(path: str, body: Body) -> bool:
    return bool(body.get("stream")) or ":streamGenerateContent" in path


CAPS = {
    "openai": ("max_completion_tokens", "max_tokens", "max_output_tokens"),
    "anthropic": ("max_tokens",),
    "gemini": ("maxOutputTokens", "max_output_tokens"),
}


def output_cap(dialect: str, body: Body) -> int | None:
    """How many tokens the request lets the reply have."""
    place = body.get("generationConfig") if dialect == "gemini" else body
    found = [place[name] for name in CAPS[dialect] if isinstance(place, dict) and name in place]
    return next((cap for cap in found if isinstance(cap, int) and cap > 0), None)


def with_cap(provider: str, dialect: str, body: Body, cap: int) -> Body:
    """The request with another cap, under the name that it uses already; only OpenAI itself wants its newer name."""
    place = body.get("generationConfig") if dialect == "gemini" else body
    place = place if isinstance(place, dict) else {}
    usual = CAPS[dialect][0] if provider in ("openai", "anthropic", "gemini") else "max_tokens"
    named = next((name for name in CAPS[dialect] if name in place), usual)
    return body | ({"generationConfig": place | {named: cap}} if dialect == "gemini" else {named: cap})


# --- replies --------------------------------------------------------------------------------------------------------


def is_reply(dialect: str, body: Any) -> bool:
    """Whether a 2xx body has the dialect's shape. Anything else must not reach an agent: litellm would ask again.

    The usage says nothing about that: a reply without one, or with a strange one, was paid like any other.
    """
    if not isinstance(body, dict):
        return False
    if dialect == "anthropic":
        return are_records(body.get("content")) and ("usage" in body or body.get("type") == "message")
    if dialect == "gemini":
        candidates = body.get("candidates")
        if not are_records(candidates):
            return "promptFeedback" in body and candidates is None
        return "usageMetadata" in body or any("content" in each for each in candidates)
    return is_said(body.get("choices")) or are_records(body.get("output"))


def is_said(choices: Any) -> bool:
    """Brokers put a provider's failure in the place of a choice, with status 200."""
    if not (choices and are_records(choices)):
        return False
    return isinstance(choices[0].get("message"), dict) and "error" not in choices[0]


def text(dialect: str, body: Body) -> str:
    """What the model said, without its thoughts."""
    if dialect == "anthropic":
        return "".join(string(part.get("text")) for part in records(body.get("content")) if part.get("type") == "text")
    if dialect == "gemini":
        contents = [record(one.get("content")) for one in records(body.get("candidates"))[:1]]
        parts = [part for content in contents for part in records(content.get("parts"))]
        return "".join(string(part.get("text")) for part in parts if not part.get("thought"))
    choices, items = records(body.get("choices")), records(body.get("output"))
    said = [string(record(choice.get("message")).get("content")) for choice in choices]
    return "".join([*said, *(string(item.get("content")) for item in items if item.get("type") == "message")])


CUT_OFF = ("length", "max_tokens", "MAX_TOKENS")
# The provider did not like what the model was about to say, or what it was asked: the reply is empty or breaks off.
FILTERED = ("content_filter", "refusal", "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE")


def finish(dialect: str, body: Body) -> str:
    if dialect == "anthropic":
        return string(body.get("stop_reason"))
    if dialect == "gemini" and not body.get("candidates"):
        # The prompt itself was blocked, for whatever reason it names.
        return "PROHIBITED_CONTENT" if record(body.get("promptFeedback")).get("blockReason") else ""
    first = next(iter(records(body.get("choices")) or records(body.get("candidates"))), {})
    return string(first.get("finish_reason")) or string(first.get("finishReason"))


# --- failures -------------------------------------------------------------------------------------------------------


def failure(status: int, raw: bytes) -> str:
    """The real class of an answer that is no reply."""
    words = raw[:20_000].decode("utf-8", "replace").lower()
    if status < 400:
        return "garbage"
    if status >= 500:
        return "server"
    if status == 402 or holds(words, QUOTA_WORDS) or (PERHAPS_QUOTA in words and "retrydelay" not in words):
        return "quota"
    if status == 413 or (status in (400, 422) and holds(words, CONTEXT_WORDS)):
        return "context"
    if status in (401, 403) or (status == 400 and holds(words, KEY_WORDS)):
        return "auth"
    return {408: "timeout", 429: "rate_limit"}.get(status, "bad_request")


def is_page(raw: bytes) -> bool:
    """HTML: whoever sent that is no model."""
    return raw.lstrip()[:1] == b"<"


def holds(words: str, any_of: tuple[str, ...]) -> bool:
    return any(each in words for each in any_of)


def pointed_to(location: str) -> str:
    """Where a redirect points, without what a secret may stand in: user, password, query."""
    try:
        parts = urlsplit(location[:2000].strip())
        host = parts.hostname or ""
        place = f"{parts.scheme}://{host}" if parts.scheme else host
        shown = f"{place}{f':{parts.port}' if parts.port else ''}{parts.path}"
    except ValueError:
        shown = ""
    return "".join(sign for sign in shown if sign.isprintable())[:200] or "nowhere that can be read"


LONGEST_ERROR = 1 << 16  # bytes of an error body that are looked at


def message(raw: bytes) -> str:
    """The provider's own sentence in an error body, in one line that is not too long."""
    return sentence(raw[:LONGEST_ERROR])[:300]


def sentence(raw: bytes) -> str:
    """All of it: whoever must take a key out of it does that before it is cut."""
    body = parse(raw)
    found: Any = body[0] if isinstance(body, list) and body else body
    if isinstance(found, dict) and are_records(found.get("choices")) and found["choices"]:
        found = found["choices"][0]
    while isinstance(found, dict):
        found = found.get("error") or found.get("message") or found.get("detail") or ""
    words = found if isinstance(found, str) and found else raw.decode("utf-8", "replace")
    return " ".join(words.split())


def final_error(dialect: str) -> bytes:
    """The one answer after which aider and litellm ask no more (together with status 400 and x-should-retry: false)."""
    shapes: dict[str, Body] = {
        "openai": {"error": {"message": NEUTRAL, "type": "invalid_request_error", "param": None, "code": None}},
        "anthropic": {"type": "error", "error": {"type": "invalid_request_error", "message": NEUTRAL}},
        "gemini": {"error": {"code": 400, "message": NEUTRAL, "status": "INVALID_ARGUMENT"}},
    }
    return json.dumps(shapes[dialect]).encode()
