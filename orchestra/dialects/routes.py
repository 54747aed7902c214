"""The known shapes of requests: which of a client's requests ask for a reply, and which are beside that.

The address that goes upstream is made of what was recognised here. Nothing else of a client's path gets into it.
"""

import re
from dataclasses import dataclass
from typing import Literal

from orchestra.dialects.values import Body

Kind = Literal["reply", "count", "probe", "side"]

NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]*"
REPLIES = {
    "openai": r"(?P<path>(?:v1/)?(?:chat/completions|responses))",
    "anthropic": r"(?:v1/)?(?P<path>messages)",
    "gemini": rf"(?:v1beta/|v1/)?(?P<path>models/(?P<model>{NAME}(?:/{NAME})*):(?:g|streamG)enerateContent)",
}
COUNTS = {
    "anthropic": r"(?:v1/)?messages/count_tokens",
    "gemini": rf"(?:v1beta/|v1/)?models/{NAME}(?:/{NAME})*:countTokens",
}
MODELS = rf"(?:v1beta/|v1/)?models(?:/{NAME}(?:/{NAME})*)?"
# A path with one of these may be another path for the server that reads it.
UNSAFE = ("..", "//", "%", "\\")


@dataclass(frozen=True)
class Route:
    """A request that is known. `path` goes upstream, and `model` is set when the path names it.

    reply: asks a model, and is paid. count: how many tokens a request has. probe: whether somebody is there.
    side: other questions that clients ask by themselves, about models.
    """

    kind: Kind
    path: str = ""
    model: str = ""


def route(dialect: str, method: str, path: str) -> Route | None:
    """What a client wants, from the path as it was sent, without the query. None: nothing that is let through."""
    if any(sign in path for sign in UNSAFE):
        return None
    if method in ("GET", "HEAD", "OPTIONS"):
        return Route("probe") if not path else Route("side") if matches(MODELS, path) else None
    if method != "POST":
        return None
    if found := re.fullmatch(REPLIES[dialect], path, re.ASCII):
        return Route("reply", found["path"], found.groupdict().get("model") or "")
    return Route("count") if matches(COUNTS.get(dialect, "(?!)"), path) else None


def matches(pattern: str, path: str) -> bool:
    return re.fullmatch(pattern, path, re.ASCII) is not None


def count_reply(dialect: str, size: int) -> Body:
    """The answer to a question for the number of tokens: an estimate, so that nothing is asked or paid for it."""
    tokens = size // 4 + 1
    return {"input_tokens": tokens} if dialect == "anthropic" else {"totalTokens": tokens}
