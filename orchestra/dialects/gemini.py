"""The generateContent format of Google."""

from collections.abc import Sequence
from typing import Any

from orchestra.dialects.base import (
    MODEL_NAME,
    Dialect,
    Joiner,
    MessageList,
    choice_finish,
    content_text,
    find_cap,
    latest_usage,
    present_name,
    read_messages,
)
from orchestra.dialects.usage import Tokens, UsageCounts, UsageFormat
from orchestra.dialects.values import Body, as_object, as_text, is_object_list, object_items

MODEL_PATH = rf"models/{MODEL_NAME}(?:/{MODEL_NAME})*"


def is_counted_by_modality(value: Any) -> bool:
    return is_object_list(value) and all(
        isinstance(each.get("modality"), str) and type(each.get("tokenCount", 0)) is int for each in value
    )


class Gemini(Dialect):
    name = "gemini"
    family = "gemini"
    reply_path = rf"(?:v1beta/|v1/)?(?P<path>{MODEL_PATH}:(?:g|streamG)enerateContent)"
    count_path = rf"(?:v1beta/|v1/)?{MODEL_PATH}:countTokens"
    version = "/v1beta"
    base_tails = ("/v1beta",)
    cap_names = ("maxOutputTokens", "max_output_tokens")
    cut_off = frozenset({"MAX_TOKENS"})
    filtered = frozenset({"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE"})
    usage = UsageFormat(
        "usageMetadata",
        (
            *("promptTokenCount", "cachedContentTokenCount", "toolUsePromptTokenCount"),
            *("candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount"),
        ),
        (
            *("promptTokensDetails", "candidatesTokensDetails", "cacheTokensDetails"),
            *("toolUsePromptTokensDetails", "responseTokensDetails"),
        ),
        nullable=False,
        is_detail=is_counted_by_modality,
    )

    def auth_header(self, key: str) -> tuple[str, str]:
        return "x-goog-api-key", key

    def model_of(self, path: str, body: Body) -> str:
        return path.removeprefix("models/").partition(":")[0]

    def is_streaming(self, path: str, body: Body) -> bool:
        return ":streamGenerateContent" in path or bool(body.get("stream"))

    def output_cap(self, body: Body) -> int | None:
        return find_cap(body.get("generationConfig"), self.cap_names)

    def with_cap(self, provider: str, body: Body, cap: int) -> Body:
        config = as_object(body.get("generationConfig"))
        return body | {"generationConfig": config | {present_name(config, self.cap_names): cap}}

    def compose_request(self, model: str, system: str, turns: Sequence[tuple[str, str]]) -> tuple[str, Body]:
        roles = {"assistant": "model"}
        contents = [{"role": roles.get(role, role), "parts": [{"text": text}]} for role, text in turns]
        orders = {"systemInstruction": {"parts": [{"text": system}]}} if system else {}
        return f"v1beta/models/{model}:generateContent", orders | {"contents": contents}

    def read_request_messages(self, body: Body) -> MessageList:
        return read_messages(body.get("systemInstruction") or body.get("system_instruction"), body.get("contents"))

    def is_reply(self, body: Any) -> bool:
        if not isinstance(body, dict):
            return False
        candidates = body.get("candidates")
        if not is_object_list(candidates):
            return "promptFeedback" in body and candidates is None
        return "usageMetadata" in body or any("content" in each for each in candidates)

    def reply_text(self, body: Body) -> str:
        contents = [as_object(one.get("content")) for one in object_items(body.get("candidates"))[:1]]
        parts = [part for content in contents for part in object_items(content.get("parts"))]
        return content_text([part for part in parts if not part.get("thought")])

    def end_reason(self, body: Body) -> str:
        if not body.get("candidates"):
            # The prompt itself was blocked, for the reason that it names.
            return "PROHIBITED_CONTENT" if as_object(body.get("promptFeedback")).get("blockReason") else ""
        return choice_finish(next(iter(object_items(body.get("candidates"))), {}))

    def token_usage(self, body: Body) -> Tokens:
        fields = UsageCounts(body.get(self.usage.name), self.usage.name)
        asked = fields.count("promptTokenCount") + fields.count("toolUsePromptTokenCount")
        output = fields.count("candidatesTokenCount") + fields.count("thoughtsTokenCount")
        total = fields.count("totalTokenCount")
        # A count of 0 is left out, also one that is part of the total.
        if not fields.has_unreadable("promptTokenCount", "toolUsePromptTokenCount"):
            output = max(output, total - asked if asked else 0)
        return fields.to_tokens(
            *(asked, fields.count("cachedContentTokenCount"), 0, output),
            input_fields=("promptTokenCount", "toolUsePromptTokenCount"),
            output_fields=("candidatesTokenCount", "thoughtsTokenCount"),
        )

    def normalized_usage(self, body: Body) -> Body:
        used = self.token_usage(body)
        counts = ("promptTokenCount", "cachedContentTokenCount", "candidatesTokenCount", "totalTokenCount")
        return dict(zip(counts, (used.input, used.cached, used.output, used.input + used.output), strict=True))

    def repair_reply(self, body: Body) -> None:
        """Add content to a candidate without any: its tokens were all reasoning, or a filter removed it."""
        found = body.get("candidates")
        if found and is_object_list(found) and not isinstance(found[0].get("content"), dict):
            body["candidates"] = [found[0] | {"content": {"role": "model", "parts": [{"text": ""}]}}, *found[1:]]

    def new_joiner(self) -> Joiner:
        return GeminiJoiner()

    def final_error(self, message: str) -> Body:
        return {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}


class GeminiJoiner:
    """Joins chunks: each is a reply of its own, with a piece of the text and the usage so far."""

    def __init__(self) -> None:
        self.parts: list[Body] = []
        self.finish = ""
        self.usage: Any = None
        self.begun = False
        self.first: Body = {}

    def add_chunk(self, chunk: Body) -> None:
        self.first = self.first or chunk
        self.usage = latest_usage(self.usage, chunk.get("usageMetadata"))
        for candidate in object_items(chunk.get("candidates"))[:1]:
            self.begun = True
            self.parts += object_items(as_object(candidate.get("content")).get("parts"))
            self.finish = as_text(candidate.get("finishReason")) or self.finish

    @property
    def is_closed(self) -> bool:
        return bool(self.finish)

    def joined_body(self) -> Body:
        if not self.begun:
            return self.first
        candidate = {"content": {"role": "model", "parts": self.parts}, "finishReason": self.finish}
        return {"candidates": [candidate], "usageMetadata": {} if self.usage is None else self.usage}
