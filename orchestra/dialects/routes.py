"""Recognise requests: which of a client's requests ask for a reply, and which have another purpose.

The upstream address is built from what is recognised here. Nothing else of a client's path gets into it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from orchestra.dialects.base import MODEL_NAME, Dialect

RouteKind = Literal["reply", "count", "probe", "side"]

MODELS_PATH = rf"(?:v1beta/|v1/)?models(?:/{MODEL_NAME}(?:/{MODEL_NAME})*)?"
# A server may read a path with one of these as another path.
UNSAFE_SIGNS = ("..", "//", "%", "\\")
# Headers that clients and proxies add for themselves.
HOP_HEADERS = (
    *("host", "content-length", "connection", "accept-encoding", "transfer-encoding", "expect"),
    *("content-encoding", "cookie", "te", "trailer", "upgrade", "keep-alive", "forwarded", "via"),
)
HOP_PREFIXES = ("proxy-", "x-forwarded-")


@dataclass(frozen=True)
class Route:
    """A recognised request. `path` goes upstream, and the reply comes in `dialect`.

    reply: asks a model, and is paid. count: how many tokens a request has. probe: whether the server is there.
    side: other questions of clients about models.
    """

    kind: RouteKind
    dialect: Dialect
    path: str = ""


def find_route(dialects_spoken: Iterable[Dialect], method: str, path: str) -> Route | None:
    """Recognise a client's request from the path as it was sent, without the query. None: not allowed."""
    first, *_ = dialects_spoken = list(dialects_spoken)
    if any(sign in path for sign in UNSAFE_SIGNS):
        return None
    if method in ("GET", "HEAD", "OPTIONS"):
        return Route("probe", first) if not path else Route("side", first) if matches_path(MODELS_PATH, path) else None
    if method != "POST":
        return None
    for dialect in dialects_spoken:
        if found := re.fullmatch(dialect.reply_path, path, re.ASCII):
            return Route("reply", dialect, found["path"])
        if dialect.count_path and matches_path(dialect.count_path, path):
            return Route("count", dialect)
    return None


def matches_path(pattern: str, path: str) -> bool:
    return re.fullmatch(pattern, path, re.ASCII) is not None


def path_without_version(dialect: Dialect, path: str) -> str:
    """Return the path without a version, which clients may send or not, for a dialect that adds its own."""
    path = path.strip("/")
    for prefix in ("v1beta/", "v1/"):
        if dialect.version and path.startswith(prefix):
            return path.removeprefix(prefix)
    return path


def upstream_url(dialect: Dialect, base: str, path: str) -> str:
    base = base.rstrip("/")
    version = "" if base.endswith(("/v1", "/v1beta")) else dialect.version
    return f"{base}{version}/{path_without_version(dialect, path)}"
