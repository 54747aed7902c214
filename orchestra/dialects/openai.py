"""The formats of OpenAI: chat completions, which nearly all other servers speak too, and responses."""

from collections.abc import Collection, Sequence
from types import MappingProxyType
from typing import Any

from orchestra.dialects.base import (
    Dialect,
    Joiner,
    MessageList,
    choice_finish,
    latest_usage,
    present_name,
    read_messages,
)
from orchestra.dialects.usage import Tokens, UsageCounts, UsageFormat
from orchestra.dialects.values import Body, as_object, as_text, is_object_list, object_items


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
        return "".join(as_text(message.get("content")) for message in messages)

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
        self.finish = ""
        self.usage: Any = None
        self.begun = False

    def add_chunk(self, chunk: Body) -> None:
        for choice in object_items(chunk.get("choices")):
            self.begun = True
            part = as_object(choice.get("delta")) or as_object(choice.get("message"))
            self.texts.append(as_text(part.get("content")))
            self.finish = as_text(choice.get("finish_reason")) or self.finish
        self.usage = latest_usage(self.usage, chunk.get("usage"))

    def joined_body(self) -> Body:
        if not self.begun:
            return {}
        choice = {"message": {"content": "".join(self.texts)}, "finish_reason": self.finish}
        return {"choices": [choice], "usage": {} if self.usage is None else self.usage}


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
        return isinstance(body, dict) and is_object_list(body.get("output"))

    def reply_text(self, body: Body) -> str:
        items = (item for item in object_items(body.get("output")) if item.get("type") == "message")
        return "".join(as_text(item.get("content")) for item in items)

    def end_reason(self, body: Body) -> str:
        return as_text(as_object(body.get("incomplete_details")).get("reason"))

    def repair_reply(self, body: Body) -> None:
        pass

    def new_joiner(self) -> Joiner:
        return ResponsesJoiner()


class ResponsesJoiner:
    """Joins a response: its last event holds all of it."""

    def __init__(self) -> None:
        self.response: Body = {}

    def add_chunk(self, chunk: Body) -> None:
        self.response = as_object(chunk.get("response")) or self.response

    def joined_body(self) -> Body:
        return self.response
