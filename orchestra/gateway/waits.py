"""What providers tell of how long to wait: Retry-After, Gemini's RetryInfo, and the headers of their rate limits."""

import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
# A dialect's names for what is left, what there is, and when it is full again.
OPENAI, ANTHROPIC = "x-ratelimit-{what}-{kind}", "anthropic-ratelimit-{kind}-{what}"
KINDS = ("requests", "tokens", "input-tokens", "output-tokens")
SHORT = 2.0


def retry_after(headers: Mapping[str, str], raw: bytes) -> float | None:
    """How long a refusal asks to wait, in seconds."""
    with suppress(ValueError):
        return max(0.0, float(headers.get("retry-after-ms", "")) / 1000)
    told = headers.get("retry-after", "") or retry_info(raw)
    with suppress(ValueError):
        return max(0.0, float(told.removesuffix("s")))
    with suppress(ValueError):
        return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())
    return None


def retry_info(raw: bytes) -> str:
    body = None
    with suppress(ValueError, RecursionError):
        body = json.loads(raw)
    body = body[0] if isinstance(body, list) and body else body
    error = body.get("error") if isinstance(body, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    told = [str(one.get("retryDelay") or "") for one in details or [] if isinstance(one, dict)]
    return next(filter(None, told), "")


def used_up(headers: Mapping[str, str]) -> float:
    """How long to wait because the headers of any answer say that nothing is left; 0 while something is."""
    told = {name: value for name, value in headers.items() if "ratelimit" in name}
    return max(until_more(told, name, kind) for name in (OPENAI, ANTHROPIC) for kind in KINDS) if told else 0.0


def until_more(headers: Mapping[str, str], name: str, kind: str) -> float:
    """They tell when all of it will be there again, and a longer time fills up little by little."""
    left = number(headers.get(name.format(what="remaining", kind=kind), ""))
    reset = seconds(headers.get(name.format(what="reset", kind=kind), ""))
    if left is None or left > 0 or reset is None:
        return 0.0
    limit = number(headers.get(name.format(what="limit", kind=kind), "")) if kind == "requests" else None
    return reset if reset <= SHORT or not limit else max(SHORT, reset / limit)


def seconds(text: str) -> float | None:
    """From now: a number, 6m0s, 120ms, or a moment."""
    text = text.strip()
    if (plain := number(text)) is not None:
        # A large one is a moment too, in seconds since 1970.
        return max(0.0, plain - time.time() if plain > 1e9 else plain)
    if text and not DURATION.sub("", text):
        return sum(float(count) * UNITS[unit] for count, unit in DURATION.findall(text))
    with suppress(ValueError):
        return max(0.0, datetime.fromisoformat(text).timestamp() - time.time())
    return None


def number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if 0 <= found < 1e15 else None
