"""Replies without what a provider may leave out."""

from typing import Any

# What a provider may leave out of a reply: by its own documentation, or as servers that speak its dialect do it.
OPTIONAL = {
    "openai": (
        *("id", "object", "created", "model", "system_fingerprint", "service_tier", "index", "refusal", "logprobs"),
        *("total_tokens", "prompt_tokens_details", "completion_tokens_details"),
    ),
    "anthropic": ("id", "stop_sequence", "cache_creation_input_tokens", "cache_read_input_tokens", "service_tier"),
    "responses": (),
    "gemini": (
        *("index", "modelVersion", "responseId", "cachedContentTokenCount", "thoughtsTokenCount", "totalTokenCount"),
        *("promptTokensDetails", "avgLogprobs"),
    ),
}


def lean(shape: Any, left_out: tuple[str, ...], *, zeros_only: bool) -> Any:
    """The shape without these fields. `zeros_only`: one that holds a count stays."""
    if isinstance(shape, list):
        return [lean(each, left_out, zeros_only=zeros_only) for each in shape]
    if not isinstance(shape, dict):
        return shape
    return {
        name: lean(value, left_out, zeros_only=zeros_only)
        for name, value in shape.items()
        if name not in left_out or (zeros_only and counts(name, value))
    }


def counts(name: str, value: Any) -> bool:
    """Whether a field tells a number of tokens that is not 0."""
    if isinstance(value, dict):
        return any(counts(inner, each) for inner, each in value.items())
    return ("token" in name or "Token" in name) and isinstance(value, int) and value > 0
