"""The wire formats of model traffic: one object per format, and what is the same for all of them."""

import json
from collections.abc import Mapping

from orchestra.dialects import routes
from orchestra.dialects.anthropic import Anthropic
from orchestra.dialects.base import Dialect
from orchestra.dialects.failures import (
    LONGEST_ERROR,
    classify_failure,
    classify_stream_error,
    error_codes,
    error_message,
    full_error_message,
    is_html,
    redirect_target,
)
from orchestra.dialects.gemini import Gemini
from orchestra.dialects.joining import ReplyTooLarge, StreamReader, join_stream, join_whole
from orchestra.dialects.openai import OpenAi, Responses
from orchestra.dialects.routes import HOP_HEADERS, Route, path_without_version, upstream_url
from orchestra.dialects.usage import Tokens
from orchestra.dialects.values import Body, parse_json_or_none

DIALECTS: dict[str, Dialect] = {
    "openai": OpenAi(),
    "responses": Responses(),
    "anthropic": Anthropic(),
    "gemini": Gemini(),
}
# A family bears the name of its first dialect.
FAMILIES: dict[str, tuple[Dialect, ...]] = {
    name: tuple(each for each in DIALECTS.values() if each.family == name)
    for name in dict.fromkeys(each.family for each in DIALECTS.values())
}
KEY_HEADERS = ("api-key", *dict.fromkeys(each.auth_header("")[0] for each in DIALECTS.values()))
# Brokers hand on the words of the provider behind them, so these are looked for in every dialect.
CUT_OFF_FINISHES = frozenset(word for each in DIALECTS.values() for word in each.cut_off)
FILTERED_FINISHES = frozenset(word for each in DIALECTS.values() for word in each.filtered)
NEUTRAL_MESSAGE = "The request was not answered; the run's report says why."


def route_request(family: str, method: str, path: str) -> Route | None:
    """Return what a client of a provider asks for; None if it is not let through."""
    return routes.find_route(FAMILIES[family], method, path)


def upstream_headers(dialect: Dialect, key: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the client's headers with the real key in the dialect's own header, and no other key."""
    dropped = (*KEY_HEADERS, *HOP_HEADERS)
    kept = {name: value for name, value in headers.items() if not name.lower().startswith(routes.HOP_PREFIXES)}
    kept = {name: value for name, value in kept.items() if name.lower() not in dropped}
    return kept | dict([dialect.auth_header(key)] if key else [])


def readable_reply(dialect: Dialect, body: Body) -> Body:
    """Repair what clients fail on in a reply. Return the same object if there is nothing to repair.

    litellm fails on a usage that holds anything but whole numbers, and on some fields that are missing. It then takes
    the reply for a failure, and the agent asks and pays again.
    """
    name, mended = dialect.usage.name, dict(body)
    if not dialect.usage.is_clean(body.get(name)):
        mended[name] = dialect.normalized_usage(body)
    dialect.repair_reply(mended)
    return mended if any(mended[key] is not body.get(key) for key in mended) else body


def final_error_body(dialect: Dialect) -> bytes:
    """Return the body after which aider and litellm ask no more (with status 400 and x-should-retry: false)."""
    return json.dumps(dialect.final_error(NEUTRAL_MESSAGE)).encode()
