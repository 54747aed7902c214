"""Keeps the run's own keys out of what is sent to a model."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from orchestra import dialects
from orchestra.gateway.decode import RequestFacts, find_keys


async def is_never_tracked(name: str) -> bool:
    return False


@dataclass(frozen=True)
class KeyGuard:
    """`forms`: the ways in which our keys may be written, each with the name of its variable.

    `is_tracked`: whether the base's tracked files hold the key of a variable, so that it is no secret.
    """

    forms: tuple[tuple[str, str], ...] = field(repr=False, default=())
    is_tracked: Callable[[str], Awaitable[bool]] = is_never_tracked

    async def find_secret(self, facts: RequestFacts, query: str, headers: Mapping[str, str]) -> str:
        """The variable of one of our keys that a request would carry out, if any."""
        beside = " ".join((unquote(query), *(value for name, value in headers.items() if is_forwarded(name))))
        for name in (*facts.keys, *(find_keys(beside, self.forms) if self.forms else ())):
            if not await self.is_tracked(name):
                return name
        return ""


def is_forwarded(header: str) -> bool:
    return header.lower() not in dialects.KEY_HEADERS + dialects.HOP_HEADERS
