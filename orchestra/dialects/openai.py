"""The formats of OpenAI: chat completions, which nearly all other servers speak too, and responses."""

from collections.abc import Collection, Sequence
from types import MappingProxyType
from typing import Any

from orchestra.dialects.base import (
    Dialect,
    Joiner,
    MessageList,
    choice_finish,
    content_text,
    latest_usage,
    present_name,
    read_messages,
)
from orchestra.dialects.calls import CALL_TYPES
from orchestra.dialects.usage import Tokens, UsageCounts, UsageFormat, as_count
from orchestra.dialects.values import Body, as_object, as_text, is_object_list, object_items

# The statuses of a response that is a reply, and the events that end a stream of one.
ENDED = ("completed", "incomplete")
CLOSING_EVENTS = ("response.completed", "response.incomplete", "response.failed", "response.done")
SHOWN_ITEMS = ("message", *CALL_TYPES)


class OpenAi(Dialect):
    name = "openai"
    family = "openai"
    reply_path = r"(?P<path>(?:v1/)?chat/completions)"
    base_tails = ("/chat/completions",)
    cap_names: tuple[str, ...] = ("max_completion_tokens", "max_tokens")
    cut_off = frozenset({"length"})
    filtered = frozenset({"content_filter"})
    # Both sets of names are read in both OpenAI formats, because other servers mix them.
    usage = UsageFormat(
        "usage",
        tuple(f"{what}_tokens" for what in ("prompt", "completion", "total", "input", "output", "prompt_cache_hit")),
        tuple(f"{what}_tokens_details" for what in ("prompt", "completion", "input", "output")),
        optional=True,
    )
    usage_words = ("prompt", "completion")
    cache_mark = MappingProxyType({"prompt_cache_breakpoint": {"mode": "explicit"}})
    caches_unmarked = True

    def auth_header(self, key: str) -> tuple[str, str]:
        return "authorization", f"Bearer {key}"

    def with_cap(self, provider: str, body: Body, cap: int) -> Body:
        """Use the newer name only for OpenAI itself."""
        usual = self.cap_names[0] if provider == "openai" else "max_tokens"
        return body | {present_name(body, self.cap_names, usual): cap}

    def compose_request(self, model: str, system: str, turns: Sequence[tuple[str, str]]) -> tuple[str, Body]:
        listed = [*([("system", system)] if system else []), *turns]
        return "chat/completions", {"model": model, "messages": [{"role": r, "content": text} for r, text in listed]}

    def read_request_messages(self, body: Body) -> MessageList:
        return read_messages(None, body.get("messages"))

    def with_cache_marks(self, body: Body, numbers: Collection[int], key: str) -> Body:
        marked = super().with_cache_marks(body, numbers, key)
        return marked | {"prompt_cache_options": {"mode": "explicit"}} | ({"prompt_cache_key": key} if numbers else {})

    def is_reply(self, body: Any) -> bool:
        """Whether it is a reply. Brokers put a provider's failure in the place of a choice, with status 200."""
        choices = body.get("choices") if isinstance(body, dict) else None
        if not (choices and is_object_list(choices)):
            return False
        return isinstance(choices[0].get("message"), dict) and "error" not in choices[0]

    def reply_text(self, body: Body) -> str:
        messages = [as_object(choice.get("message")) for choice in object_items(body.get("choices"))]
        return "".join(map(content_text, messages))

    def end_reason(self, body: Body) -> str:
        return choice_finish(next(iter(object_items(body.get("choices"))), {}))

    def token_usage(self, body: Body) -> Tokens:
        fields = UsageCounts(body.get(self.usage.name), self.usage.name)
        cached = fields.detail_count("prompt_tokens_details", "cached_tokens")
        cached = cached or fields.detail_count("input_tokens_details", "cached_tokens")
        cached = cached or fields.count("prompt_cache_hit_tokens")
        written = fields.detail_count("prompt_tokens_details", "cache_write_tokens")
        written = written or fields.detail_count("input_tokens_details", "cache_write_tokens")
        asked = fields.count("prompt_tokens") or fields.count("input_tokens")
        output = fields.count("completion_tokens") or fields.count("output_tokens")
        # Some servers count reasoning only in the total.
        if not fields.has_unreadable("prompt_tokens", "input_tokens"):
            output = max(output, fields.count("total_tokens") - asked)
        return fields.to_tokens(
            *(asked, cached, written, output),
            input_fields=("prompt_tokens", "input_tokens"),
            output_fields=("completion_tokens", "output_tokens"),
        )

    def normalized_usage(self, body: Body) -> Body:
        used, (asked, output_name) = self.token_usage(body), self.usage_words
        return {
            f"{asked}_tokens": used.input,
            f"{output_name}_tokens": used.output,
            "total_tokens": used.input + used.output,
            f"{asked}_tokens_details": {"cached_tokens": used.cached, "cache_write_tokens": used.cache_write},
            f"{output_name}_tokens_details": {"reasoning_tokens": 0},
        }

    def repair_reply(self, body: Body) -> None:
        choices = body.get("choices")
        if is_object_list(choices) and any("role" not in as_object(each.get("message")) for each in choices):
            body["choices"] = [with_role(each) for each in choices]

    def new_joiner(self) -> Joiner:
        return OpenAiJoiner()

    def final_error(self, message: str) -> Body:
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


def with_role(choice: Body) -> Body:
    message = choice.get("message")
    return choice | {"message": {"role": "assistant"} | message} if isinstance(message, dict) else choice


class OpenAiJoiner:
    """Joins the chunks of a chat completion."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.calls: dict[int, list[Body]] = {}  # the pieces of each tool call
        self.finish = ""
        self.usage: Any = None
        self.begun = False

    def add_chunk(self, chunk: Body) -> None:
        for choice in object_items(chunk.get("choices")):
            self.begun = True
            part = as_object(choice.get("delta")) or as_object(choice.get("message"))
            self.texts.append(as_text(part.get("content")))
            for call in object_items(part.get("tool_calls")):
                self.calls.setdefault(as_count(call.get("index")) or 0, []).append(as_object(call.get("function")))
            self.finish = as_text(choice.get("finish_reason")) or self.finish
        self.usage = latest_usage(self.usage, chunk.get("usage"))

    @property
    def is_closed(self) -> bool:
        return bool(self.finish)

    def joined_body(self) -> Body:
        if not self.begun:
            return {}
        calls = [{"function": joined_call(pieces)} for pieces in self.calls.values()]
        message = {"content": "".join(self.texts)} | ({"tool_calls": calls} if calls else {})
        choice = {"message": message, "finish_reason": self.finish}
        return {"choices": [choice], "usage": {} if self.usage is None else self.usage}


def joined_call(pieces: Sequence[Body]) -> Body:
    return {name: "".join(as_text(piece.get(name)) for piece in pieces) for name in ("name", "arguments")}


class Responses(OpenAi):
    """The responses format: key, usage and errors are those of chat completions."""

    name = "responses"
    reply_path = r"(?P<path>(?:v1/)?responses)"
    cap_names = ("max_output_tokens",)
    cut_off = frozenset({"max_output_tokens"})
    usage_words = ("input", "output")
    cache_mark = MappingProxyType({})

    def with_cap(self, provider: str, body: Body, cap: int) -> Body:
        return body | {present_name(body, self.cap_names): cap}

    def compose_request(self, model: str, system: str, turns: Sequence[tuple[str, str]]) -> tuple[str, Body]:
        listed = [{"role": role, "content": text} for role, text in turns]
        return "responses", {"model": model, "input": listed} | ({"instructions": system} if system else {})

    def read_request_messages(self, body: Body) -> MessageList:
        asked = body.get("input")
        listed = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
        return read_messages(body.get("instructions"), listed)

    def is_reply(self, body: Any) -> bool:
        """Whether it is a reply: one that failed, or has just begun, has an output too."""
        ended = isinstance(body, dict) and (body.get("status") or "completed") in ENDED
        return ended and is_object_list(body.get("output")) and not body.get("error")

    def reply_text(self, body: Body) -> str:
        return content_text([item for item in object_items(body.get("output")) if item.get("type") in SHOWN_ITEMS])

    def end_reason(self, body: Body) -> str:
        return as_text(as_object(body.get("incomplete_details")).get("reason"))

    def repair_reply(self, body: Body) -> None:
        pass

    def new_joiner(self) -> Joiner:
        return ResponsesJoiner()


class ResponsesJoiner:
    """Joins a response: its closing event holds all of it. Some servers leave the output to the events before it."""

    def __init__(self) -> None:
        self.response: Body = {}
        self.items: list[Body] = []
        self.begun = self.has_ended = False

    def add_chunk(self, chunk: Body) -> None:
        self.begun = self.begun or as_text(chunk.get("type")).startswith("response.")
        if chunk.get("type") == "response.output_item.done":
            self.items.append(as_object(chunk.get("item")))
        if chunk.get("type") in CLOSING_EVENTS:
            self.response, self.has_ended = as_object(chunk.get("response")), True

    @property
    def is_closed(self) -> bool:
        return self.has_ended

    def joined_body(self) -> Body:
        return self.response | ({"output": self.items} if self.response and not self.response.get("output") else {})
