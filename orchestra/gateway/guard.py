"""Refuse requests that contain the run's own keys."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from orchestra import dialects
from orchestra.gateway.decode import RequestFacts, find_keys

CLIENT_HEADERS = frozenset(dialects.KEY_HEADERS + dialects.HOP_HEADERS)  # not forwarded


async def is_never_tracked(name: str) -> bool:
    return False


@dataclass(frozen=True)
class KeyGuard:
    """`forms`: the encodings of our keys, each with the name of its variable.

    `is_tracked`: whether the base's tracked files contain the key of a variable, so that it is no secret.
    """

    forms: tuple[tuple[str, str], ...] = field(repr=False, default=())
    is_tracked: Callable[[str], Awaitable[bool]] = is_never_tracked

    async def find_secret(self, facts: RequestFacts, query: str, headers: Mapping[str, str]) -> str:
        """Return the variable of a key that the request contains, if any."""
        beside = " ".join(
            (unquote(query), *(value for name, value in headers.items() if name.lower() not in CLIENT_HEADERS))
        )
        for name in (*facts.keys, *(find_keys(beside, self.forms) if self.forms else ())):
            if not await self.is_tracked(name):
                return name
        return ""
