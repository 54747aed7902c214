"""The known shapes of requests: which of a client's requests ask for a reply, and which are beside that.

The address that goes upstream is made of what was recognised here. Nothing else of a client's path gets into it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from orchestra.dialects.base import MODEL_NAME, Dialect

RouteKind = Literal["reply", "count", "probe", "side"]

MODELS_PATH = rf"(?:v1beta/|v1/)?models(?:/{MODEL_NAME}(?:/{MODEL_NAME})*)?"
# A path with one of these may be another path for the server that reads it.
UNSAFE_SIGNS = ("..", "//", "%", "\\")
# What clients and proxies send for themselves.
HOP_HEADERS = (
    *("host", "content-length", "connection", "accept-encoding", "transfer-encoding", "expect"),
    *("content-encoding", "cookie", "te", "trailer", "upgrade", "keep-alive", "forwarded", "via"),
)
HOP_PREFIXES = ("proxy-", "x-forwarded-")


@dataclass(frozen=True)
class Route:
    """A request that is known. `path` goes upstream, and the reply comes in `dialect`.

    reply: asks a model, and is paid. count: how many tokens a request has. probe: whether somebody is there.
    side: other questions that clients ask by themselves, about models.
    """

    kind: RouteKind
    dialect: Dialect
    path: str = ""


def find_route(dialects_spoken: Iterable[Dialect], method: str, path: str) -> Route | None:
    """What a client wants, from the path as it was sent, without the query. None: nothing that is let through."""
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


# --- what goes upstream ---------------------------------------------------------------------------------------------


def path_without_version(dialect: Dialect, path: str) -> str:
    """The path without the version prefix that clients may or may not have put before it."""
    path = path.strip("/")
    for prefix in ("v1beta/", "v1/"):
        if dialect.version and path.startswith(prefix):
            return path.removeprefix(prefix)
    return path


def upstream_url(dialect: Dialect, base: str, path: str) -> str:
    base = base.rstrip("/")
    version = "" if base.endswith(("/v1", "/v1beta")) else dialect.version
    return f"{base}{version}/{path_without_version(dialect, path)}"


def replace_key_header(
    dialect: Dialect, key: str, headers: Mapping[str, str], dropped: Iterable[str]
) -> dict[str, str]:
    """The client's headers with the real key in the dialect's own place. Those that are `dropped` hold other keys."""
    dropped = (*dropped, *HOP_HEADERS)
    kept = {
        name: value
        for name, value in headers.items()
        if name.lower() not in dropped and not name.lower().startswith(HOP_PREFIXES)
    }
    return kept | dict([dialect.auth_header(key)] if key else [])
