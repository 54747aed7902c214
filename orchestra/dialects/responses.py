"""OpenAI's responses: another path, request and reply than chat completions; key, usage and errors are the same."""

from collections.abc import Sequence
from typing import Any

from orchestra.dialects.base import Joiner, Messages, read_messages, used_name
from orchestra.dialects.openai import OpenAi
from orchestra.dialects.values import Body, are_records, record, records, string


class Responses(OpenAi):
    name = "responses"
    reply_path = r"(?P<path>(?:v1/)?responses)"
    cap_names = ("max_output_tokens",)
    cut_off = frozenset({"max_output_tokens"})
    usage_words = ("input", "output")

    def with_cap(self, provider: str, body: Body, cap: int) -> Body:
        return body | {used_name(body, self.cap_names): cap}

    def question(self, model: str, system: str, turns: Sequence[tuple[str, str]]) -> tuple[str, Body]:
        listed = [{"role": role, "content": text} for role, text in turns]
        return "responses", {"model": model, "input": listed} | ({"instructions": system} if system else {})

    def messages(self, body: Body) -> Messages:
        asked = body.get("input")
        listed = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
        return read_messages(body.get("instructions"), listed)

    def is_reply(self, body: Any) -> bool:
        return isinstance(body, dict) and are_records(body.get("output"))

    def text(self, body: Body) -> str:
        items = (item for item in records(body.get("output")) if item.get("type") == "message")
        return "".join(string(item.get("content")) for item in items)

    def finish(self, body: Body) -> str:
        return string(record(body.get("incomplete_details")).get("reason"))

    def mend(self, body: Body) -> None:
        pass

    def joiner(self) -> Joiner:
        return ResponsesJoiner()


class ResponsesJoiner:
    """The last event of a response holds all of it."""

    def __init__(self) -> None:
        self.response: Body = {}

    def add(self, chunk: Body) -> None:
        self.response = record(chunk.get("response")) or self.response

    def body(self) -> Body:
        return self.response
