"""Read an answer that is not a reply: its failure class and the provider's sentence, the same for all dialects."""

import re
from typing import Any
from urllib.parse import urlsplit

from orchestra.dialects.values import is_object_list, parse_json_or_none

CONTEXT_WORDS = re.compile(
    "context_length_exceeded|context length|context window|context limit|context size|maximum prompt length"
    "|maximum model length|prompt is too long|input is too long|too many tokens|exceeds the maximum number of tokens"
    "|input token count|reduce the length of the messages"
)
QUOTA_WORDS = re.compile(
    "insufficient_quota|billing_hard_limit|requires billing|credit balance|insufficient credits|payment required"
    "|requestsperday"
)
# Gemini says this of a limit per minute too, but then with the time to wait.
QUOTA_OR_RATE_WORDS = "exceeded your current quota"
RATE_WORDS = re.compile("rate.?limit|too many requests")
SERVER_WORDS = re.compile("overloaded|internal.{0,8}error|server.?error|an error occurred while processing")
KEY_WORDS = re.compile("api key not valid|api_key_invalid")
CODE_FIELDS, LONGEST_CODES = ("code", "type"), 200  # characters
LONGEST_ERROR = 1 << 16  # bytes of an error body that are read


def classify_failure(status: int, raw: bytes) -> str:
    """Return the failure class of an answer that is not a reply."""
    words = raw[:20_000].decode("utf-8", "replace").lower()
    if status < 400:
        return "garbage"
    if status >= 500:
        return "server"
    is_quota = QUOTA_WORDS.search(words) or (QUOTA_OR_RATE_WORDS in words and "retrydelay" not in words)
    if status == 402 or is_quota:
        return "quota"
    if status == 413 or (status in (400, 422) and CONTEXT_WORDS.search(words)):
        return "context"
    if status in (401, 403) or (status == 400 and KEY_WORDS.search(words)):
        return "auth"
    return {408: "timeout", 429: "rate_limit"}.get(status, "bad_request")


def classify_stream_error(message: str) -> str:
    """Return the failure class of a stream that ended with an error, by the provider's codes and its sentence."""
    words = message.lower()
    if QUOTA_OR_RATE_WORDS in words and "retrydelay" not in words:
        return "quota"
    classes = {"context": CONTEXT_WORDS, "quota": QUOTA_WORDS, "rate_limit": RATE_WORDS, "server": SERVER_WORDS}
    return next((name for name, pattern in classes.items() if pattern.search(words)), "garbage")


def is_html(raw: bytes) -> bool:
    """Whether the answer is HTML: no model server sent it."""
    return raw.lstrip()[:1] == b"<"


def redirect_target(location: str) -> str:
    """Return the target of a redirect without the parts that may hold a secret: user, password, query."""
    try:
        parts = urlsplit(location[:2000].strip())
        host = parts.hostname or ""
        target = f"{parts.scheme}://{host}" if parts.scheme else host
        shown = f"{target}{f':{parts.port}' if parts.port else ''}{parts.path}"
    except ValueError:
        shown = ""
    return "".join(sign for sign in shown if sign.isprintable())[:200] or "nowhere that can be read"


def error_message(raw: bytes) -> str:
    """Return the provider's own sentence in an error body, on one line of limited length."""
    return full_error_message(raw[:LONGEST_ERROR])[:300]


def error_codes(raw: bytes) -> str:
    """Return the codes and types of an error body: its sentence may say less."""
    found, codes = parse_json_or_none(raw[:LONGEST_ERROR]), list[str]()
    while isinstance(found, dict):
        codes += [value for name in CODE_FIELDS if isinstance(value := found.get(name), str)]
        found = found.get("error")
    return " ".join(codes)[:LONGEST_CODES]


def full_error_message(raw: bytes) -> str:
    """Return the whole message: a key in it must be removed before it is cut."""
    body = parse_json_or_none(raw)
    found: Any = body[0] if isinstance(body, list) and body else body
    if isinstance(found, dict) and not found.get("error") and is_object_list(found.get("choices")) and found["choices"]:
        found = found["choices"][0]
    while isinstance(found, dict):
        found = found.get("error") or found.get("message") or found.get("detail") or ""
    words = found if isinstance(found, str) and found else raw.decode("utf-8", "replace")
    return " ".join(words.split())
