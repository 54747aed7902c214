"""The usage that a provider tells, validated field by field: anything may stand there, by fault or by intent.

A count is a whole number from 0 to a billion. Anything else (a text, a list, NaN, true, -1, 10^40) is unreadable: its
field is unknown, and never a number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestra.dialects.values import Body, are_records, record

LARGEST = 10**9
USAGE = {"openai": "usage", "anthropic": "usage", "gemini": "usageMetadata"}
# The names of the counts in each dialect. OpenAI has two sets: of chat completions and of responses.
COUNTS = {
    "openai": (
        *("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens"),
        "prompt_cache_hit_tokens",
    ),
    "anthropic": ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"),
    "gemini": (
        *("promptTokenCount", "cachedContentTokenCount", "toolUsePromptTokenCount"),
        *("candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount"),
    ),
}
# Fields that hold counts of parts: objects, or for Gemini lists of {"modality", "tokenCount"}.
DETAILS = {
    "openai": (
        *("prompt_tokens_details", "completion_tokens_details"),
        *("input_tokens_details", "output_tokens_details"),
    ),
    "anthropic": ("cache_creation", "server_tool_use"),
    "gemini": (
        *("promptTokensDetails", "candidatesTokensDetails", "cacheTokensDetails"),
        *("toolUsePromptTokensDetails", "responseTokensDetails"),
    ),
}


@dataclass(frozen=True)
class Tokens:
    """What a reply says it used. `input` includes the cached tokens, `output` the reasoning, in every dialect.

    `unreadable` lists the fields that hold no count, as NAME: VALUE. When such a field is part of the input or of the
    output, that number is unknown.
    """

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    unreadable: tuple[str, ...] = ()
    unknown_input: bool = False
    unknown_output: bool = False


class Fields:
    """The counts of one usage record, and which of them could not be read."""

    def __init__(self, value: Any, name: str) -> None:
        self.values: Mapping[str, Any] = value if isinstance(value, dict) else {}
        self.unreadable: dict[str, str] = {}
        self.whole = value is None or isinstance(value, dict)
        if not self.whole:
            self.unreadable[name] = shown(value)

    def count(self, name: str) -> int:
        return self.read(name, self.values.get(name))

    def part(self, name: str, inner: str) -> int:
        """A count inside of a field that holds an object."""
        value = self.values.get(name)
        if value is None or isinstance(value, dict):
            return self.read(f"{name}.{inner}", (value or {}).get(inner))
        self.unreadable[name] = shown(value)
        return 0

    def read(self, name: str, value: Any) -> int:
        found = 0 if value is None else as_count(value)
        if found is None:
            self.unreadable[name] = shown(value)
        return found or 0

    def unknown(self, *names: str) -> bool:
        return not self.whole or not self.unreadable.keys().isdisjoint(names)

    def tokens(
        self, input: int, cached: int, written: int, output: int, *, asked: tuple[str, ...], said: tuple[str, ...]
    ) -> Tokens:
        """`asked` and `said` name the fields that make up the input and the output."""
        cached = min(cached, input)
        return Tokens(
            *(input, cached, min(written, input - cached), output),
            unreadable=tuple(f"{name}: {value}" for name, value in self.unreadable.items()),
            unknown_input=self.unknown(*asked),
            unknown_output=self.unknown(*said),
        )


def as_count(value: Any) -> int | None:
    """The whole number that a value is; None when it is none, or larger than any use of a model."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= LARGEST else None


def shown(value: Any) -> str:
    """A value in a message: numbers and short texts as they are, of all else only what it is."""
    if isinstance(value, str):
        return repr(value[:40])
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:20]}… ({len(text)} digits)"


def tokens(dialect: str, body: Body) -> Tokens:
    """What a reply in any shape says it used."""
    name = USAGE[dialect]
    return READERS[dialect](Fields(body.get(name), name))


def openai_tokens(fields: Fields) -> Tokens:
    cached = fields.part("prompt_tokens_details", "cached_tokens") or fields.part(
        "input_tokens_details", "cached_tokens"
    )
    cached = cached or fields.count("prompt_cache_hit_tokens")
    asked = fields.count("prompt_tokens") or fields.count("input_tokens")
    said = fields.count("completion_tokens") or fields.count("output_tokens")
    # Some servers count the reasoning in the total only.
    said = (
        max(said, fields.count("total_tokens") - asked) if not fields.unknown("prompt_tokens", "input_tokens") else said
    )
    return fields.tokens(
        *(asked, cached, 0, said),
        asked=("prompt_tokens", "input_tokens"),
        said=("completion_tokens", "output_tokens"),
    )


def anthropic_tokens(fields: Fields) -> Tokens:
    cached, written = fields.count("cache_read_input_tokens"), fields.count("cache_creation_input_tokens")
    asked, said = fields.count("input_tokens") + cached + written, fields.count("output_tokens")
    return fields.tokens(
        *(asked, cached, written, said),
        asked=("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
        said=("output_tokens",),
    )


def gemini_tokens(fields: Fields) -> Tokens:
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


READERS = {"openai": openai_tokens, "anthropic": anthropic_tokens, "gemini": gemini_tokens}


# --- replies that a client can read ---------------------------------------------------------------------------------


def readable(dialect: str, body: Body) -> Body:
    """The reply with what clients stumble over put right; the same object when there is nothing to mend.

    litellm fails on a usage that holds anything but whole numbers, and on some fields that are missing. It then takes
    the reply for a failure, and the agent asks and pays again.
    """
    name, mended = USAGE[dialect], dict(body)
    if not is_clean(dialect, body.get(name)):
        mended[name] = plain_usage(dialect, body)
    MENDERS[dialect](mended)
    return mended if any(mended[key] is not body.get(key) for key in mended) else body


def is_clean(dialect: str, used: Any) -> bool:
    """Whether a usage holds nothing that litellm 1.81 fails on."""
    if not isinstance(used, dict):
        return used is None and dialect == "openai"
    empty = () if dialect == "gemini" else (None,)
    counts = all(type(used[name]) is int or used[name] in empty for name in COUNTS[dialect] if name in used)
    readable_counts = all(as_count(used[name]) is not None for name in COUNTS[dialect] if used.get(name) is not None)
    return (
        counts and readable_counts and all(is_detail(dialect, used[name]) for name in DETAILS[dialect] if name in used)
    )


def is_detail(dialect: str, value: Any) -> bool:
    if dialect == "gemini":
        return are_records(value) and all(
            isinstance(each.get("modality"), str) and type(each.get("tokenCount", 0)) is int for each in value
        )
    return value is None or (isinstance(value, dict) and all(is_part(each) for each in value.values()))


def is_part(value: Any) -> bool:
    return value is None or (type(value) is int and as_count(value) is not None)


def plain_usage(dialect: str, body: Body) -> Body:
    """The counts that could be read, under the names that every client knows."""
    used = tokens(dialect, body)
    total = used.input + used.output
    if dialect == "gemini":
        counts = ("promptTokenCount", "cachedContentTokenCount", "candidatesTokenCount", "totalTokenCount")
        return dict(zip(counts, (used.input, used.cached, used.output, total), strict=True))
    if dialect == "anthropic":
        fresh = used.input - used.cached - used.cache_write
        return dict(zip(COUNTS[dialect], (fresh, used.cache_write, used.cached, used.output), strict=True))
    asked, said = ("input", "output") if "output" in body else ("prompt", "completion")
    return {
        f"{asked}_tokens": used.input,
        f"{said}_tokens": used.output,
        "total_tokens": total,
        f"{asked}_tokens_details": {"cached_tokens": used.cached},
        f"{said}_tokens_details": {"reasoning_tokens": 0},
    }


def mend_openai(body: Body) -> None:
    choices = body.get("choices")
    if choices and are_records(choices) and any("role" not in record(each.get("message")) for each in choices):
        body["choices"] = [with_role(each) for each in choices]


def with_role(choice: Body) -> Body:
    message = choice.get("message")
    return choice | {"message": {"role": "assistant"} | message} if isinstance(message, dict) else choice


def mend_anthropic(body: Body) -> None:
    for name, usual in {"model": "", "role": "assistant", "type": "message", "stop_reason": None}.items():
        body.setdefault(name, usual)
    body["stop_reason"] = body["stop_reason"] or "end_turn"


def mend_gemini(body: Body) -> None:
    """A candidate without content is an empty reply: all its tokens were thoughts, or a filter took it."""
    candidates = body.get("candidates")
    if candidates and are_records(candidates) and not isinstance(candidates[0].get("content"), dict):
        body["candidates"] = [candidates[0] | {"content": {"role": "model", "parts": [{"text": ""}]}}, *candidates[1:]]


MENDERS = {"openai": mend_openai, "anthropic": mend_anthropic, "gemini": mend_gemini}
