"""What an answer that is no reply says: the class of the failure, and the provider's own sentence. The same for all."""

from typing import Any
from urllib.parse import urlsplit

from orchestra.dialects.values import is_object_list, parse_json_or_none

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
QUOTA_OR_RATE_WORDS = "exceeded your current quota"
KEY_WORDS = ("api key not valid", "api_key_invalid")


def classify_failure(status: int, raw: bytes) -> str:
    """The real class of an answer that is no reply."""
    words = raw[:20_000].decode("utf-8", "replace").lower()
    if status < 400:
        return "garbage"
    if status >= 500:
        return "server"
    if (
        status == 402
        or contains_any(words, QUOTA_WORDS)
        or (QUOTA_OR_RATE_WORDS in words and "retrydelay" not in words)
    ):
        return "quota"
    if status == 413 or (status in (400, 422) and contains_any(words, CONTEXT_WORDS)):
        return "context"
    if status in (401, 403) or (status == 400 and contains_any(words, KEY_WORDS)):
        return "auth"
    return {408: "timeout", 429: "rate_limit"}.get(status, "bad_request")


def is_html(raw: bytes) -> bool:
    """HTML: whoever sent that is no model."""
    return raw.lstrip()[:1] == b"<"


def contains_any(words: str, any_of: tuple[str, ...]) -> bool:
    return any(each in words for each in any_of)


def redirect_target(location: str) -> str:
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


def error_message(raw: bytes) -> str:
    """The provider's own sentence in an error body, in one line that is not too long."""
    return full_error_message(raw[:LONGEST_ERROR])[:300]


def full_error_message(raw: bytes) -> str:
    """All of it: whoever must take a key out of it does that before it is cut."""
    body = parse_json_or_none(raw)
    found: Any = body[0] if isinstance(body, list) and body else body
    if isinstance(found, dict) and is_object_list(found.get("choices")) and found["choices"]:
        found = found["choices"][0]
    while isinstance(found, dict):
        found = found.get("error") or found.get("message") or found.get("detail") or ""
    words = found if isinstance(found, str) and found else raw.decode("utf-8", "replace")
    return " ".join(words.split())
