"""Search the web for a task: one request to a Tavily-compatible server, with a key that no agent sees. It is counted,
written down and given again like a model's reply."""

import json
import time
from dataclasses import dataclass, field

from orchestra.dialects import ReplyTooLarge, classify_failure, error_message, parse_json_or_none
from orchestra.errors import ProviderError
from orchestra.gateway import wire
from orchestra.gateway.billing import ClientPass, Exchange
from orchestra.gateway.gateway import Gateway, error_text
from orchestra.gateway.recording import RecordedReply, text_digest
from orchestra.model import Usage

NAME = "search"  # the role under which searches are counted
TAVILY = "https://api.tavily.com/search"
MOST_RESULTS = 5
TIMEOUT = 30.0
MOST_TOKENS = 60_000  # of an answer, for its size


@dataclass(frozen=True)
class SearchServer:
    url: str
    key: str = field(repr=False)


async def search_web(gateway: Gateway, server: SearchServer, ticket: ClientPass, query: str) -> str:
    """Return the server's answer. Raise ProviderError if there is none."""
    identity = text_digest(json.dumps(["search", query]))
    kept = gateway.memory.take_unused(identity) if gateway.memory is not None else None
    if kept is None and gateway.replay is not None:
        kept = gateway.replay.next_reply(identity)
        if kept is None:
            raise ProviderError("the recording has no answer to this search")
        record_search(gateway, ticket, server, identity, kept, time.monotonic(), replayed=True)
    elif kept is not None:
        record_search(gateway, ticket, server, identity, kept, time.monotonic(), recalled=True)
    else:
        began = time.monotonic()
        kept = await request_search(gateway, server, query)
        record_search(gateway, ticket, server, identity, kept, began)
    if kept.failure:
        raise ProviderError(f"{kept.failure}: {kept.message}")
    return kept.body


async def request_search(gateway: Gateway, server: SearchServer, query: str) -> RecordedReply:
    import httpx

    body = {"query": query, "max_results": MOST_RESULTS, "search_depth": "basic"}
    headers = {"authorization": f"Bearer {server.key}"} if server.key else {}
    try:
        async with gateway.client.stream("POST", server.url, json=body, headers=headers, timeout=TIMEOUT) as answer:
            encoding = answer.headers.get("content-encoding", "")
            raw = await wire.read_body(answer, encoding, MOST_TOKENS)
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL, ReplyTooLarge, UnicodeEncodeError) as error:
        return RecordedReply(NAME, failure="unreachable", message=error_text(error))
    if status != httpx.codes.OK or not isinstance(parse_json_or_none(raw), dict):
        failure = classify_failure(status, raw)
        return RecordedReply(NAME, failure=failure, status=status, message=error_message(raw))
    return RecordedReply(NAME, "application/json", raw.decode("utf-8", "replace"), status=status)


def record_search(
    gateway: Gateway,
    ticket: ClientPass,
    server: SearchServer,
    identity: str,
    reply: RecordedReply,
    began: float,
    *,
    replayed: bool = False,
    recalled: bool = False,
) -> None:
    exchange = Exchange(
        *(NAME, NAME, reply.status, reply.failure, reply.message),
        usage=Usage() if recalled else Usage(requests=1, replies=int(not reply.failure)),
        seconds=time.monotonic() - began,
        identity=identity,
        raw=reply.body,
        kind=reply.kind,
        replayed=replayed,
        recalled=recalled,
    )
    gateway.listener.on_exchange(ticket, exchange)
