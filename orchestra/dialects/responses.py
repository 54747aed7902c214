"""The responses format of OpenAI. Key, usage and errors are those of chat completions."""

from collections.abc import Sequence
from typing import Any

from orchestra.dialects.base import Joiner, MessageList, present_name, read_messages
from orchestra.dialects.openai import OpenAi
from orchestra.dialects.values import Body, as_object, as_text, is_object_list, object_items


class Responses(OpenAi):
    name = "responses"
    reply_path = r"(?P<path>(?:v1/)?responses)"
    cap_names = ("max_output_tokens",)
    cut_off = frozenset({"max_output_tokens"})
    usage_words = ("input", "output")

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
