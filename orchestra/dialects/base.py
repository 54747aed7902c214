"""What each wire format of model traffic answers for: one object per format, listed in `DIALECTS`."""

from collections.abc import Sequence
from typing import Any, Protocol

from orchestra.dialects.usage import Tokens, UsageFormat
from orchestra.dialects.values import Body, as_text

# Of a model, in a path.
MODEL_NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]*"
# The messages of a request, as (role, text); the roles are system, user and assistant.
MessageList = list[tuple[str, str]]


class Joiner(Protocol):
    """Puts the events of one stream together."""

    def add_chunk(self, chunk: Body) -> None: ...

    def joined_body(self) -> Body:
        """The body that the events so far amount to; empty while there is nothing of a reply."""


class Dialect(Protocol):
    """One wire format.

    `family`: what a provider is said to speak. A provider speaks all dialects of its family, each on its own path.
    `reply_path`, `count_path`: patterns of a client's path that asks for a reply, or for a count of tokens (empty:
    there is none). The group `path` is what goes upstream, after `version`. `base_tails` are what a base URL may end
    in that the path brings along.
    `fixed_headers`: what our own requests need beside the key.
    `cap_names`: the names of the limit of the output, the usual one first.
    `cut_off`, `filtered`: the words for an end that was too early, and for a reply that was withheld.
    """

    name: str
    family: str
    reply_path: str
    count_path: str
    version: str
    base_tails: tuple[str, ...]
    fixed_headers: tuple[tuple[str, str], ...]
    cap_names: tuple[str, ...]
    cut_off: frozenset[str]
    filtered: frozenset[str]
    usage: UsageFormat

    # --- requests

    def auth_header(self, key: str) -> tuple[str, str]:
        """The header in which the key travels."""

    def model_of(self, path: str, body: Body) -> str:
        """The name of the model that is asked."""
        return as_text(body.get("model"))

    def is_streaming(self, path: str, body: Body) -> bool:
        return bool(body.get("stream"))

    def output_cap(self, body: Body) -> int | None:
        """How many tokens the request lets the reply have."""
        return find_cap(body, self.cap_names)

    def with_cap(self, provider: str, body: Body, cap: int) -> Body:
        """The request with another cap, under the name that it uses already."""
        return body | {present_name(body, self.cap_names): cap}

    def compose_request(self, model: str, system: str, turns: Sequence[tuple[str, str]]) -> tuple[str, Body]:
        """The path and the body of a request of our own; `turns` are (role, text), by the user and the assistant."""

    def read_request_messages(self, body: Body) -> MessageList:
        """The messages of a client's request."""

    # --- replies

    def is_reply(self, body: Any) -> bool:
        """Whether a 2xx body has the format's shape. Anything else must not reach an agent: litellm would ask again.

        The usage says nothing about that: a reply without one, or with a strange one, was paid like any other.
        """

    def reply_text(self, body: Body) -> str:
        """What the model said, without its thoughts."""

    def end_reason(self, body: Body) -> str:
        """Why the reply ends, in the provider's word."""

    def token_usage(self, body: Body) -> Tokens:
        """What the reply says it used."""

    def normalized_usage(self, body: Body) -> Body:
        """The counts that could be read, under the names that every client knows."""

    def repair_reply(self, body: Body) -> None:
        """Put right what clients stumble over beside the usage. Parts are shared: replace, do not change them."""

    def new_joiner(self) -> Joiner: ...

    # --- answers of the gateway itself

    def final_error(self, message: str) -> Body:
        """The body of an error after which clients ask no more (with status 400 and x-should-retry: false)."""

    def count_reply(self, tokens: int) -> Body:
        """The answer to a request for a count of tokens."""
        return {"totalTokens": tokens}


def find_cap(place: Any, names: Sequence[str]) -> int | None:
    found = [place[name] for name in names if isinstance(place, dict) and name in place]
    return next((cap for cap in found if isinstance(cap, int) and cap > 0), None)


def present_name(place: Body, names: Sequence[str], usual: str = "") -> str:
    return next((name for name in names if name in place), usual or names[0])


def choice_finish(first: Body) -> str:
    """Why a choice or a candidate ends. Brokers mix the two spellings."""
    return as_text(first.get("finish_reason")) or as_text(first.get("finishReason"))


def content_text(value: Any) -> str:
    """The text in a message's content, whatever parts it was sent in."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(content_text, value))
    if isinstance(value, dict):
        return content_text(next((value[name] for name in ("content", "parts", "text") if name in value), ""))
    return ""


def read_messages(system: Any, listed: Any) -> MessageList:
    """The messages of a list, after the orders that stand beside it."""
    found = [("system", content_text(system))] if system else []
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict):
            role = str(one.get("role") or "user")
            found.append(("assistant" if role == "model" else role, content_text(one)))
    return found


def latest_usage(usage: Any, told: Any) -> Any:
    """The usage that counts: the last one that is told. One that is no object counts too, so that it is seen."""
    return usage if told is None or told == {} else told
