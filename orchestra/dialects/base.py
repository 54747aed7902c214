"""What each wire format of model traffic must provide: one object per format, listed in `DIALECTS`."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from orchestra.dialects.calls import call_line, find_call
from orchestra.dialects.usage import Tokens, UsageFormat
from orchestra.dialects.values import Body, as_text, object_items

# The name of a model in a path.
MODEL_NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]*"
# The messages of a request as (role, text); the roles are system, user and assistant.
MessageList = list[tuple[str, str]]


class Joiner(Protocol):
    """Joins the events of one stream. `begun`: there was a part of a reply. `is_closed`: an event has said that the
    reply is complete."""

    begun: bool

    @property
    def is_closed(self) -> bool: ...

    def add_chunk(self, chunk: Body) -> None: ...

    def joined_body(self) -> Body:
        """The body that the events so far amount to; no reply as long as none has a part of one."""


class Dialect(Protocol):
    """One wire format.

    `family`: the format that a provider is said to speak. A provider speaks all dialects of its family, each on its own
    path.
    `reply_path`, `count_path`: patterns of a client's path that asks for a reply, or for a token count (empty: none).
    The group `path` is what goes upstream, after `version`. `base_tails`: endings of a base URL that the path repeats.
    `fixed_headers`: headers that our own requests need beside the key.
    `cap_names`: the names of the output limit, the usual one first.
    `cut_off`, `filtered`: finish reasons of a reply that ended too early, and of one that was withheld.
    `cache_mark`: what is added to a part of a message so that the prompt up to there is cached (empty: not supported).
    `caches_unmarked`: a prompt without marks is cached too, at the same surcharge, unless the request says otherwise.
    """

    name: str
    family: str
    reply_path: str
    count_path: str = ""
    version: str = ""
    base_tails: tuple[str, ...]
    fixed_headers: tuple[tuple[str, str], ...] = ()
    cap_names: tuple[str, ...]
    cut_off: frozenset[str]
    filtered: frozenset[str]
    usage: UsageFormat
    cache_mark: Mapping[str, Body] = MappingProxyType({})
    caches_unmarked: bool = False

    # --- requests

    def auth_header(self, key: str) -> tuple[str, str]:
        """The header that carries the key."""

    def model_of(self, path: str, body: Body) -> str:
        """The name of the requested model."""
        return as_text(body.get("model"))

    def is_streaming(self, path: str, body: Body) -> bool:
        return bool(body.get("stream"))

    def output_cap(self, body: Body) -> int | None:
        """The number of output tokens that the request allows."""
        return find_cap(body, self.cap_names)

    def least_cap(self, body: Body) -> int:
        """The output tokens that the request needs for its reasoning, before the reply begins."""
        return 0

    def with_cap(self, provider: str, body: Body, cap: int) -> Body:
        """The request with another output limit, under the name that it already uses."""
        return body | {present_name(body, self.cap_names): cap}

    def compose_request(self, model: str, system: str, turns: Sequence[tuple[str, str]]) -> tuple[str, Body]:
        """The path and body of a request of our own; `turns` are (role, text) by user and assistant."""

    def read_request_messages(self, body: Body) -> MessageList:
        """The messages of a client's request."""

    def prompt_messages(self, body: Body) -> list[Body]:
        """The prompt's messages in the order in which its beginning is cached, the instructions first."""
        return object_items(body.get("messages"))

    def with_cache_marks(self, body: Body, numbers: Collection[int], key: str) -> Body:
        """The request with a cache mark on these prompt messages. `key` is the same for requests that share them."""
        messages = [
            with_mark(message, self.cache_mark) if number in numbers else message
            for number, message in enumerate(self.prompt_messages(body))
        ]
        return body | {"messages": messages}

    # --- replies

    def is_reply(self, body: Any) -> bool:
        """Whether a 2xx body has the format's shape. Nothing else may reach an agent: litellm would ask again. The
        usage does not matter here: a reply without usage, or with a strange one, is paid like any other."""

    def reply_text(self, body: Body) -> str:
        """The model's text without its reasoning, and a line for each tool call."""

    def end_reason(self, body: Body) -> str:
        """The provider's reason for the end of the reply."""

    def token_usage(self, body: Body) -> Tokens:
        """The usage that the reply reports."""

    def normalized_usage(self, body: Body) -> Body:
        """The counts that could be read, under names that every client knows."""

    def repair_reply(self, body: Body) -> None:
        """Repair what clients fail on, except usage. Parts are shared: replace them, do not change them."""

    def new_joiner(self) -> Joiner: ...

    # --- answers of the gateway itself

    def final_error(self, message: str) -> Body:
        """The body of an error that makes clients give up (with status 400 and x-should-retry: false)."""

    def count_reply(self, tokens: int) -> Body:
        """The answer to a request for a token count."""
        return {"totalTokens": tokens}


def find_cap(body: Any, names: Sequence[str]) -> int | None:
    found = [body[name] for name in names if isinstance(body, dict) and name in body]
    return next((cap for cap in found if isinstance(cap, int) and cap > 0), None)


def present_name(body: Body, names: Sequence[str], usual: str = "") -> str:
    return next((name for name in names if name in body), usual or names[0])


def choice_finish(first: Body) -> str:
    """Return why a choice or candidate ended. Brokers mix the two spellings."""
    return as_text(first.get("finish_reason")) or as_text(first.get("finishReason"))


def content_text(value: Any) -> str:
    """Return the text of a message's content, which may come in parts, with a line for each tool call."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return join_parts(value)
    if isinstance(value, dict):
        if call := find_call(value):
            return call_line(*call)
        text = content_text(next((value[name] for name in ("content", "parts", "text") if name in value), ""))
        return join_parts([text, *calls]) if isinstance(calls := value.get("tool_calls"), list) else text
    return ""


def join_parts(parts: Sequence[Any]) -> str:
    """Join the texts of parts. A tool call has a line of its own."""
    text = ""
    for part in parts:
        is_call = isinstance(part, dict) and find_call(part) is not None
        text += ("\n" if is_call and text and not text.endswith("\n") else "") + content_text(part)
    return text


def read_messages(system: Any, listed: Any) -> MessageList:
    """Read the messages of a list, after the instructions that are given beside it."""
    found = [("system", content_text(system))] if system else []
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict):
            role = str(one.get("role") or "user")
            found.append(("assistant" if role == "model" else role, content_text(one)))
    return found


def with_mark(message: Body, mark: Mapping[str, Body]) -> Body:
    """Return a message with a mark on its last part."""
    content = message["content"]
    *parts, last = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return message | {"content": [*parts, {**last, **mark}]}


def latest_usage(usage: Any, later: Any) -> Any:
    """Return the usage that counts: the last one. One that is not an object counts too, so that it is reported."""
    return usage if later is None or later == {} else later
