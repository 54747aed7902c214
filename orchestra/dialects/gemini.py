"""Google's generateContent."""

from collections.abc import Sequence
from typing import Any

from orchestra.dialects.base import NAME, Dialect, Joiner, Messages, cap_in, end_of, later, read_messages, used_name
from orchestra.dialects.usage import Fields, Tokens, UsageFields
from orchestra.dialects.values import Body, are_records, record, records, string

MODEL = rf"models/{NAME}(?:/{NAME})*"


def is_counted_by_modality(value: Any) -> bool:
    return are_records(value) and all(
        isinstance(each.get("modality"), str) and type(each.get("tokenCount", 0)) is int for each in value
    )


class Gemini(Dialect):
    name = "gemini"
    family = "gemini"
    reply_path = rf"(?:v1beta/|v1/)?(?P<path>{MODEL}:(?:g|streamG)enerateContent)"
    count_path = rf"(?:v1beta/|v1/)?{MODEL}:countTokens"
    version = "/v1beta"
    base_tails = ("/v1beta",)
    fixed_headers = ()
    cap_names = ("maxOutputTokens", "max_output_tokens")
    cut_off = frozenset({"MAX_TOKENS"})
    filtered = frozenset({"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE"})
    usage = UsageFields(
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

    def streams(self, path: str, body: Body) -> bool:
        return ":streamGenerateContent" in path or bool(body.get("stream"))

    def output_cap(self, body: Body) -> int | None:
        return cap_in(body.get("generationConfig"), self.cap_names)

    def with_cap(self, provider: str, body: Body, cap: int) -> Body:
        place = record(body.get("generationConfig"))
        return body | {"generationConfig": place | {used_name(place, self.cap_names): cap}}

    def question(self, model: str, system: str, turns: Sequence[tuple[str, str]]) -> tuple[str, Body]:
        roles = {"assistant": "model"}
        contents = [{"role": roles.get(role, role), "parts": [{"text": text}]} for role, text in turns]
        orders = {"systemInstruction": {"parts": [{"text": system}]}} if system else {}
        return f"v1beta/models/{model}:generateContent", orders | {"contents": contents}

    def messages(self, body: Body) -> Messages:
        return read_messages(body.get("systemInstruction") or body.get("system_instruction"), body.get("contents"))

    def is_reply(self, body: Any) -> bool:
        if not isinstance(body, dict):
            return False
        candidates = body.get("candidates")
        if not are_records(candidates):
            return "promptFeedback" in body and candidates is None
        return "usageMetadata" in body or any("content" in each for each in candidates)

    def text(self, body: Body) -> str:
        contents = [record(one.get("content")) for one in records(body.get("candidates"))[:1]]
        parts = [part for content in contents for part in records(content.get("parts"))]
        return "".join(string(part.get("text")) for part in parts if not part.get("thought"))

    def finish(self, body: Body) -> str:
        if not body.get("candidates"):
            # The prompt itself was blocked, for whatever reason it names.
            return "PROHIBITED_CONTENT" if record(body.get("promptFeedback")).get("blockReason") else ""
        return end_of(next(iter(records(body.get("candidates"))), {}))

    def tokens(self, body: Body) -> Tokens:
        fields = Fields(body.get(self.usage.name), self.usage.name)
        asked = fields.count("promptTokenCount") + fields.count("toolUsePromptTokenCount")
        said = fields.count("candidatesTokenCount") + fields.count("thoughtsTokenCount")
        total = fields.count("totalTokenCount")
        # A count of 0 is left out, and so may be one that stands in the total.
        if not fields.unknown("promptTokenCount", "toolUsePromptTokenCount"):
            said = max(said, total - asked if asked else 0)
        return fields.tokens(
            *(asked, fields.count("cachedContentTokenCount"), 0, said),
            asked=("promptTokenCount", "toolUsePromptTokenCount"),
            said=("candidatesTokenCount", "thoughtsTokenCount"),
        )

    def plain_usage(self, body: Body) -> Body:
        used = self.tokens(body)
        counts = ("promptTokenCount", "cachedContentTokenCount", "candidatesTokenCount", "totalTokenCount")
        return dict(zip(counts, (used.input, used.cached, used.output, used.input + used.output), strict=True))

    def mend(self, body: Body) -> None:
        """A candidate without content is an empty reply: all its tokens were thoughts, or a filter took it."""
        found = body.get("candidates")
        if found and are_records(found) and not isinstance(found[0].get("content"), dict):
            body["candidates"] = [found[0] | {"content": {"role": "model", "parts": [{"text": ""}]}}, *found[1:]]

    def joiner(self) -> Joiner:
        return GeminiJoiner()

    def final_error(self, message: str) -> Body:
        return {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}


class GeminiJoiner:
    """Each chunk is a reply of its own, with a piece of the text and the usage so far."""

    def __init__(self) -> None:
        self.parts: list[Body] = []
        self.finish = ""
        self.usage: Any = None
        self.begun = False
        self.first: Body = {}

    def add(self, chunk: Body) -> None:
        self.first = self.first or chunk
        self.usage = later(self.usage, chunk.get("usageMetadata"))
        for candidate in records(chunk.get("candidates"))[:1]:
            self.begun = True
            self.parts += records(record(candidate.get("content")).get("parts"))
            self.finish = string(candidate.get("finishReason")) or self.finish

    def body(self) -> Body:
        if not self.begun:
            return self.first
        candidate = {"content": {"role": "model", "parts": self.parts}, "finishReason": self.finish}
        return {"candidates": [candidate], "usageMetadata": {} if self.usage is None else self.usage}
