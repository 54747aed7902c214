"""Chat completions, as OpenAI and nearly all other servers speak them."""

from collections.abc import Sequence
from typing import Any

from orchestra.dialects.base import Dialect, Joiner, Messages, end_of, later, read_messages, used_name
from orchestra.dialects.usage import Fields, Tokens, UsageFields
from orchestra.dialects.values import Body, are_records, record, records, string


class OpenAi(Dialect):
    name = "openai"
    family = "openai"
    reply_path = r"(?P<path>(?:v1/)?chat/completions)"
    count_path = ""
    version = ""
    base_tails = ("/chat/completions",)
    fixed_headers = ()
    cap_names: tuple[str, ...] = ("max_completion_tokens", "max_tokens")
    cut_off = frozenset({"length"})
    filtered = frozenset({"content_filter"})
    # Both sets of names are read in both formats of OpenAI's: other servers mix them up.
    usage = UsageFields(
        "usage",
        (
            *("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens"),
            "prompt_cache_hit_tokens",
        ),
        (
            *("prompt_tokens_details", "completion_tokens_details"),
            *("input_tokens_details", "output_tokens_details"),
        ),
        optional=True,
    )
    usage_words = ("prompt", "completion")

    def auth_header(self, key: str) -> tuple[str, str]:
        return "authorization", f"Bearer {key}"

    def with_cap(self, provider: str, body: Body, cap: int) -> Body:
        """Only OpenAI itself wants the newer name."""
        usual = self.cap_names[0] if provider == "openai" else "max_tokens"
        return body | {used_name(body, self.cap_names, usual): cap}

    def question(self, model: str, system: str, turns: Sequence[tuple[str, str]]) -> tuple[str, Body]:
        listed = [*([("system", system)] if system else []), *turns]
        return "chat/completions", {"model": model, "messages": [{"role": r, "content": text} for r, text in listed]}

    def messages(self, body: Body) -> Messages:
        return read_messages(None, body.get("messages"))

    def is_reply(self, body: Any) -> bool:
        """Brokers put a provider's failure in the place of a choice, with status 200."""
        choices = body.get("choices") if isinstance(body, dict) else None
        if not (choices and are_records(choices)):
            return False
        return isinstance(choices[0].get("message"), dict) and "error" not in choices[0]

    def text(self, body: Body) -> str:
        return "".join(string(record(choice.get("message")).get("content")) for choice in records(body.get("choices")))

    def finish(self, body: Body) -> str:
        return end_of(next(iter(records(body.get("choices"))), {}))

    def tokens(self, body: Body) -> Tokens:
        fields = Fields(body.get(self.usage.name), self.usage.name)
        cached = fields.part("prompt_tokens_details", "cached_tokens")
        cached = cached or fields.part("input_tokens_details", "cached_tokens")
        cached = cached or fields.count("prompt_cache_hit_tokens")
        asked = fields.count("prompt_tokens") or fields.count("input_tokens")
        said = fields.count("completion_tokens") or fields.count("output_tokens")
        # Some servers count the reasoning in the total only.
        if not fields.unknown("prompt_tokens", "input_tokens"):
            said = max(said, fields.count("total_tokens") - asked)
        return fields.tokens(
            *(asked, cached, 0, said),
            asked=("prompt_tokens", "input_tokens"),
            said=("completion_tokens", "output_tokens"),
        )

    def plain_usage(self, body: Body) -> Body:
        used, (asked, said) = self.tokens(body), self.usage_words
        return {
            f"{asked}_tokens": used.input,
            f"{said}_tokens": used.output,
            "total_tokens": used.input + used.output,
            f"{asked}_tokens_details": {"cached_tokens": used.cached},
            f"{said}_tokens_details": {"reasoning_tokens": 0},
        }

    def mend(self, body: Body) -> None:
        choices = body.get("choices")
        if choices and are_records(choices) and any("role" not in record(each.get("message")) for each in choices):
            body["choices"] = [with_role(each) for each in choices]

    def joiner(self) -> Joiner:
        return OpenAiJoiner()

    def final_error(self, message: str) -> Body:
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


def with_role(choice: Body) -> Body:
    message = choice.get("message")
    return choice | {"message": {"role": "assistant"} | message} if isinstance(message, dict) else choice


class OpenAiJoiner:
    """The chunks of a chat completion."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.finish = ""
        self.usage: Any = None
        self.begun = False

    def add(self, chunk: Body) -> None:
        for choice in records(chunk.get("choices")):
            self.begun = True
            part = record(choice.get("delta")) or record(choice.get("message"))
            self.said.append(string(part.get("content")))
            self.finish = string(choice.get("finish_reason")) or self.finish
        self.usage = later(self.usage, chunk.get("usage"))

    def body(self) -> Body:
        if not self.begun:
            return {}
        choice = {"message": {"content": "".join(self.said)}, "finish_reason": self.finish}
        return {"choices": [choice], "usage": {} if self.usage is None else self.usage}
