"""Read how long a provider asks to wait: Retry-After, Gemini's RetryInfo, and rate-limit headers."""

import math
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime

from orchestra.dialects.values import as_object, object_items, parse_json_or_none

DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
# A dialect's names of what is left, what there is, and when it is full again.
OPENAI_HEADER, ANTHROPIC_HEADER = "x-ratelimit-{what}-{kind}", "anthropic-ratelimit-{kind}-{what}"
LIMIT_KINDS = ("requests", "tokens", "input-tokens", "output-tokens")
SHORT_RESET = 2.0
LONGEST_WAIT_VALUE = 64  # characters of such a header; longer ones are ignored
SECONDS, MILLISECONDS = 1e9, 1e11  # a number from here on is a time since 1970
# Raised by the standard library for a text that is no date, or none that this machine can represent.
DATE_ERRORS = (ValueError, OverflowError, TypeError, OSError)


def read_retry_after(headers: Mapping[str, str], raw: bytes) -> float | None:
    """Return how long a refusal asks to wait, in seconds."""
    if (milliseconds := parse_float(headers.get("retry-after-ms", ""))) is not None:
        return max(0.0, milliseconds / 1000)
    value = headers.get("retry-after", "") or read_retry_info(raw)
    if (plain := parse_float(value.removesuffix("s"))) is not None:
        return seconds_from_now(plain)
    with suppress(*DATE_ERRORS):
        return max(0.0, parsedate_to_datetime(value[:LONGEST_WAIT_VALUE]).timestamp() - time.time())
    return None


def read_retry_info(raw: bytes) -> str:
    body = parse_json_or_none(raw)
    body = body[0] if isinstance(body, list) and body else body
    details = as_object(as_object(body).get("error")).get("details")
    return next((str(one["retryDelay"]) for one in object_items(details) if one.get("retryDelay")), "")


def used_up_seconds(headers: Mapping[str, str]) -> float:
    """Return how long to wait because the headers of an answer report nothing left; 0 otherwise."""
    limits = {name: value for name, value in headers.items() if "ratelimit" in name}
    names = [(name, kind) for name in (OPENAI_HEADER, ANTHROPIC_HEADER) for kind in LIMIT_KINDS] if limits else []
    return max((refill_seconds(limits, *name) for name in names), default=0.0)


def refill_seconds(headers: Mapping[str, str], name: str, kind: str) -> float:
    """Return the wait until something is left. The headers give the time until all is there, but it comes gradually."""
    left = parse_count(headers.get(name.format(what="remaining", kind=kind), ""))
    reset = parse_wait(headers.get(name.format(what="reset", kind=kind), ""))
    if left is None or left > 0 or reset is None:
        return 0.0
    limit = parse_count(headers.get(name.format(what="limit", kind=kind), "")) if kind == "requests" else None
    return reset if reset <= SHORT_RESET or not limit else max(SHORT_RESET, reset / limit)


def parse_wait(text: str) -> float | None:
    """Parse a wait from now: a number, 6m0s, 120ms, or a time."""
    text = text.strip()
    if len(text) > LONGEST_WAIT_VALUE:
        return None
    if (plain := parse_count(text)) is not None:
        return seconds_from_now(plain)
    if text and not DURATION.sub("", text):
        return sum(float(count) * DURATION_UNITS[unit] for count, unit in DURATION.findall(text))
    with suppress(*DATE_ERRORS):
        return max(0.0, datetime.fromisoformat(text).timestamp() - time.time())
    return None


def seconds_from_now(number: float) -> float:
    """Convert a number to seconds from now. A large one is a time since 1970, in seconds or milliseconds."""
    moment = number / 1000 if number > MILLISECONDS else number
    return max(0.0, moment - time.time() if number > SECONDS else number)


def parse_count(text: str) -> float | None:
    found = parse_float(text)
    return found if found is not None and 0 <= found < 1e15 else None


def parse_float(text: str) -> float | None:
    """Parse a number, also a negative or infinite one; NaN is none."""
    try:
        found = float(text) if len(text) <= LONGEST_WAIT_VALUE else math.nan
    except ValueError:
        return None
    return None if math.isnan(found) else found
