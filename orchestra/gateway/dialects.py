"""The three dialects of model traffic: where a request goes, what a reply used, how a failure is told. Pure functions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]

NEUTRAL = "The request was not answered; the orchestrator's report says why."
KEY_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
HOP_HEADERS = ("host", "content-length", "connection", "accept-encoding", "transfer-encoding", "expect")
CONTEXT_WORDS = (
    "context_length_exceeded",
    "maximum context length",
    "context window",
    "prompt is too long",
    "input is too long",
    "too many tokens",
    "exceeds the maximum number of tokens",
    "input token count",
    "reduce the length of the messages",
)
QUOTA_WORDS = (
    "insufficient_quota",
    "exceeded your current quota",
    "credit balance",
    "billing",
    "insufficient credits",
    "payment required",
)


@dataclass(frozen=True)
class Tokens:
    """What a reply says it used. `input` includes the cached tokens, `output` the reasoning tokens, in every dialect."""

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0


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
    kept = {name: value for name, value in headers.items() if name.lower() not in KEY_HEADERS + HOP_HEADERS}
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


def streams(path: str, body: Body) -> bool:
    return bool(body.get("stream")) or ":streamGenerateContent" in path


# --- replies --------------------------------------------------------------------------------------------------------


def is_reply(dialect: str, body: Any) -> bool:
    """Whether a 2xx body has the dialect's shape. Anything else must not reach an agent: litellm would ask again for it."""
    if not isinstance(body, dict):
        return False
    if dialect == "openai":
        return isinstance(body.get("choices"), list) and bool(body["choices"]) or isinstance(body.get("output"), list)
    if dialect == "anthropic":
        return isinstance(body.get("content"), list)
    return isinstance(body.get("candidates"), list) or "promptFeedback" in body


def tokens(dialect: str, body: Body) -> Tokens:
    if dialect == "gemini":
        used = body.get("usageMetadata") or {}
        thought_and_said = number(used, "candidatesTokenCount") + number(used, "thoughtsTokenCount")
        return Tokens(number(used, "promptTokenCount"), number(used, "cachedContentTokenCount"), 0, thought_and_said)
    used = body.get("usage") or {}
    if dialect == "anthropic":
        cached, written = number(used, "cache_read_input_tokens"), number(used, "cache_creation_input_tokens")
        return Tokens(number(used, "input_tokens") + cached + written, cached, written, number(used, "output_tokens"))
    details = used.get("prompt_tokens_details") or used.get("input_tokens_details") or {}
    cached = number(details, "cached_tokens") or number(used, "prompt_cache_hit_tokens")
    asked = number(used, "prompt_tokens") or number(used, "input_tokens")
    return Tokens(asked, cached, 0, number(used, "completion_tokens") or number(used, "output_tokens"))


def number(record: Mapping[str, Any], name: str) -> int:
    value = record.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def text(dialect: str, body: Body) -> str:
    """What the model said, without its thoughts."""
    if dialect == "openai":
        return "".join(str((choice.get("message") or {}).get("content") or "") for choice in body.get("choices", []))
    if dialect == "anthropic":
        return "".join(part.get("text", "") for part in body["content"] if part.get("type") == "text")
    parts = [part for one in body.get("candidates", [])[:1] for part in (one.get("content") or {}).get("parts") or []]
    return "".join(part.get("text", "") for part in parts if not part.get("thought"))


def finish(dialect: str, body: Body) -> str:
    if dialect == "anthropic":
        return str(body.get("stop_reason") or "")
    parts = body.get("choices") or body.get("candidates") or [{}]
    return str(parts[0].get("finish_reason") or parts[0].get("finishReason") or "")


def join_stream(dialect: str, raw: bytes) -> Body:
    """The one body that a finished stream amounts to."""
    chunks = [chunk for chunk in map(parse_line, raw.splitlines()) if isinstance(chunk, dict)]
    if not chunks:
        whole = parse(raw)
        return join_chunks(dialect, whole if isinstance(whole, list) else [whole])
    return join_chunks(dialect, chunks)


def parse_line(line: bytes) -> Any:
    return parse(line[5:]) if line.startswith(b"data:") else None


def parse(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def join_chunks(dialect: str, chunks: list[Any]) -> Body:
    chunks = [chunk for chunk in chunks if isinstance(chunk, dict)]
    if dialect == "gemini":
        return join_gemini(chunks)
    if dialect == "anthropic":
        return join_anthropic(chunks)
    said = "".join(
        str((choice.get("delta") or {}).get("content") or "") for chunk in chunks for choice in chunk.get("choices", [])
    )
    ends = [
        choice["finish_reason"]
        for chunk in chunks
        for choice in chunk.get("choices", [])
        if choice.get("finish_reason")
    ]
    usage: Body = next((chunk["usage"] for chunk in reversed(chunks) if chunk.get("usage")), {})
    return {"choices": [{"message": {"content": said}, "finish_reason": ends[-1] if ends else ""}], "usage": usage}


def join_gemini(chunks: list[Body]) -> Body:
    parts = [
        part
        for chunk in chunks
        for candidate in chunk.get("candidates", [])[:1]
        for part in (candidate.get("content") or {}).get("parts") or []
    ]
    ends = [
        candidate.get("finishReason")
        for chunk in chunks
        for candidate in chunk.get("candidates", [])
        if candidate.get("finishReason")
    ]
    usage: Body = next((chunk["usageMetadata"] for chunk in reversed(chunks) if chunk.get("usageMetadata")), {})
    if not any("candidates" in chunk for chunk in chunks):
        return chunks[0] if chunks else {}
    return {
        "candidates": [{"content": {"parts": parts}, "finishReason": ends[-1] if ends else ""}],
        "usageMetadata": usage,
    }


def join_anthropic(chunks: list[Body]) -> Body:
    usage: Body = {}
    stop = ""
    for chunk in chunks:
        usage |= (chunk.get("message") or {}).get("usage") or {}
        usage |= chunk.get("usage") or {}
        stop = (chunk.get("delta") or {}).get("stop_reason") or stop
    said = "".join(
        (chunk.get("delta") or {}).get("text") or "" for chunk in chunks if chunk.get("type") == "content_block_delta"
    )
    return {"content": [{"type": "text", "text": said}], "usage": usage, "stop_reason": stop}


# --- failures -------------------------------------------------------------------------------------------------------


def failure(status: int, raw: bytes) -> str:
    """The real class of an answer that is no reply."""
    words = raw[:20_000].decode("utf-8", "replace").lower()
    if any(word in words for word in QUOTA_WORDS) or status == 402:
        return "quota"
    if status in (400, 413, 422) and any(word in words for word in CONTEXT_WORDS):
        return "context"
    if status in (401, 403) or (status == 400 and "api key not valid" in words):
        return "auth"
    return {408: "timeout", 413: "context", 429: "rate_limit"}.get(status) or (
        "server" if status >= 500 else "garbage" if status < 300 else "bad_request"
    )


def message(raw: bytes) -> str:
    """The provider's own sentence in an error body, in one line."""
    body = parse(raw)
    found: Any = body[0] if isinstance(body, list) and body else body
    while isinstance(found, dict):
        found = found.get("error") or found.get("message") or found.get("detail") or ""
    words = found if isinstance(found, str) and found else raw[:300].decode("utf-8", "replace")
    return " ".join(words.split())[:300]


def final_error(dialect: str) -> bytes:
    """The one answer after which aider and litellm ask no more (together with status 400 and x-should-retry: false)."""
    shapes: dict[str, Body] = {
        "openai": {"error": {"message": NEUTRAL, "type": "invalid_request_error", "param": None, "code": None}},
        "anthropic": {"type": "error", "error": {"type": "invalid_request_error", "message": NEUTRAL}},
        "gemini": {"error": {"code": 400, "message": NEUTRAL, "status": "INVALID_ARGUMENT"}},
    }
    return json.dumps(shapes[dialect]).encode()


def retry_after(headers: Mapping[str, str], raw: bytes) -> float | None:
    """How long the provider asks to wait: Retry-After in seconds, or Gemini's RetryInfo."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        pass
    body = parse(raw)
    details = (
        (body.get("error") or {}).get("details", [])
        if isinstance(body, dict) and isinstance(body.get("error"), dict)
        else []
    )
    for detail in details:
        delay = str(detail.get("retryDelay", "")) if isinstance(detail, dict) else ""
        if delay.endswith("s") and delay[:-1].replace(".", "", 1).isdigit():
            return float(delay[:-1])
    return None
