"""The messages format of Anthropic."""

from collections.abc import Collection, Sequence
from types import MappingProxyType
from typing import Any

from orchestra.dialects.base import Dialect, Joiner, MessageList, content_text, latest_usage, read_messages
from orchestra.dialects.usage import Tokens, UsageCounts, UsageFormat, as_count
from orchestra.dialects.values import Body, as_object, as_text, is_object_list, object_items

SHOWN_BLOCKS = ("text", "tool_use", "server_tool_use")


class Anthropic(Dialect):
    name = "anthropic"
    family = "anthropic"
    reply_path = r"(?:v1/)?(?P<path>messages)"
    count_path = r"(?:v1/)?messages/count_tokens"
    version = "/v1"
    base_tails = ("/messages", "/v1")
    fixed_headers = (("anthropic-version", "2023-06-01"),)
    cap_names = ("max_tokens",)
    cut_off = frozenset({"max_tokens"})
    filtered = frozenset({"refusal"})
    usage = UsageFormat(
        "usage",
        ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"),
        ("cache_creation", "server_tool_use"),
    )
    cache_mark = MappingProxyType({"cache_control": {"type": "ephemeral"}})

    def auth_header(self, key: str) -> tuple[str, str]:
        return "x-api-key", key

    def least_cap(self, body: Body) -> int:
        """The limit must be larger than what the request reserves for thinking."""
        return as_count(as_object(body.get("thinking")).get("budget_tokens")) or 0

    def compose_request(self, model: str, system: str, turns: Sequence[tuple[str, str]]) -> tuple[str, Body]:
        listed = [{"role": role, "content": text} for role, text in turns]
        return "v1/messages", {"model": model} | ({"system": system} if system else {}) | {"messages": listed}

    def read_request_messages(self, body: Body) -> MessageList:
        return read_messages(body.get("system"), body.get("messages"))

    def prompt_messages(self, body: Body) -> list[Body]:
        system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
        return [*system, *object_items(body.get("messages"))]

    def with_cache_marks(self, body: Body, numbers: Collection[int], key: str) -> Body:
        marked = super().with_cache_marks(body, numbers, key)["messages"]
        system = {"system": marked.pop(0)["content"]} if body.get("system") else {}
        return body | system | {"messages": marked}

    def is_reply(self, body: Any) -> bool:
        if not isinstance(body, dict):
            return False
        return is_object_list(body.get("content")) and ("usage" in body or body.get("type") == "message")

    def reply_text(self, body: Body) -> str:
        return content_text([part for part in object_items(body.get("content")) if part.get("type") in SHOWN_BLOCKS])

    def end_reason(self, body: Body) -> str:
        return as_text(body.get("stop_reason"))

    def token_usage(self, body: Body) -> Tokens:
        fields = UsageCounts(body.get(self.usage.name), self.usage.name)
        cached, written = fields.count("cache_read_input_tokens"), fields.count("cache_creation_input_tokens")
        asked, output = fields.count("input_tokens") + cached + written, fields.count("output_tokens")
        return fields.to_tokens(
            *(asked, cached, written, output),
            input_fields=("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
            output_fields=("output_tokens",),
        )

    def normalized_usage(self, body: Body) -> Body:
        used = self.token_usage(body)
        fresh = used.input - used.cached - used.cache_write
        return dict(zip(self.usage.count_names, (fresh, used.cache_write, used.cached, used.output), strict=True))

    def repair_reply(self, body: Body) -> None:
        for name, usual in {"model": "", "role": "assistant", "type": "message", "stop_reason": None}.items():
            body.setdefault(name, usual)
        body["stop_reason"] = body["stop_reason"] or "end_turn"

    def new_joiner(self) -> Joiner:
        return AnthropicJoiner()

    def final_error(self, message: str) -> Body:
        return {"type": "error", "error": {"type": "invalid_request_error", "message": message}}

    def count_reply(self, tokens: int) -> Body:
        return {"input_tokens": tokens}


class AnthropicJoiner:
    """Joins the events of a message. Usage comes in two of them; the later one counts."""

    def __init__(self) -> None:
        self.blocks: dict[int, Body] = {}
        self.stop = ""
        self.has_ended = False
        self.usage: Body = {}
        self.odd: Any = None  # a usage that is not an object
        self.begun = False

    def add_chunk(self, chunk: Body) -> None:
        message, delta = as_object(chunk.get("message")), as_object(chunk.get("delta"))
        kind, index = chunk.get("type"), as_count(chunk.get("index")) or 0
        self.begun = self.begun or bool(message) or kind == "content_block_delta"
        for used in (message.get("usage"), chunk.get("usage")):
            if isinstance(used, dict):
                self.usage |= {name: value for name, value in used.items() if value is not None}
            else:
                self.odd = latest_usage(self.odd, used)
        self.stop = as_text(delta.get("stop_reason")) or self.stop
        self.has_ended = self.has_ended or kind == "message_stop"
        if kind == "content_block_start":
            self.blocks[index] = as_object(chunk.get("content_block")) | {"pieces": []}
        if kind == "content_block_delta":
            piece = as_text(delta.get("text")) + as_text(delta.get("partial_json"))
            self.blocks.setdefault(index, {"type": "text", "pieces": []})["pieces"].append(piece)

    @property
    def is_closed(self) -> bool:
        return bool(self.stop) or self.has_ended

    def joined_body(self) -> Body:
        if not self.begun:
            return {}
        content = [joined_block(block) for block in self.blocks.values()]
        usage = self.usage if self.odd is None else self.odd
        return {"type": "message", "content": content, "usage": usage, "stop_reason": self.stop}


def joined_block(block: Body) -> Body:
    pieces = "".join(block["pieces"])
    if block.get("type") in ("tool_use", "server_tool_use"):
        return {"type": block["type"], "name": as_text(block.get("name")), "input": pieces}
    return {"type": block.get("type"), "text": as_text(block.get("text")) + pieces}
