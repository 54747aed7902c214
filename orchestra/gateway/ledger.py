"""Who may ask, what was asked, and what it cost."""

import secrets
from dataclasses import dataclass, field

from orchestra import catalogue
from orchestra.gateway.dialects import Tokens
from orchestra.model import Usage


@dataclass(frozen=True)
class Upstream:
    """Where a provider's requests really go, with the key that no agent sees."""

    provider: str
    dialect: str
    base: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class Exchange:
    """One request of a client and what became of it. Its usage counts what was really sent, retries included."""

    provider: str
    model: str
    status: int
    failure: str
    message: str
    usage: Usage
    seconds: float
    reply: str = ""
    finish: str = ""
    identity: str = ""
    replayed: bool = False
    # The reply as it came, so that a resumed run can give it again; and whether this one was given again.
    raw: str = field(default="", repr=False)
    kind: str = ""
    recalled: bool = False


@dataclass
class Pass:
    """What a token opens, for whom, and how much of it is used up."""

    role: str
    task: int | None = None
    attempt: int | None = None
    iterations: int = 0
    root: str = ""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    exchanges: list[Exchange] = field(default_factory=list)
    waited: float = 0.0

    @property
    def usage(self) -> Usage:
        return sum((exchange.usage for exchange in self.exchanges), Usage())

    @property
    def answered(self) -> set[str]:
        return {exchange.identity for exchange in self.exchanges if not exchange.failure}

    @property
    def exhausted(self) -> bool:
        replies = sum(not exchange.failure for exchange in self.exchanges)
        return bool(self.iterations) and replies >= self.iterations


def price(provider: str, model: str, used: Tokens, requests: int) -> Usage:
    known = catalogue.resolve(f"{provider}/{model or 'unnamed'}")
    dollars = catalogue.cost(known, used.input, used.cached, used.cache_write, used.output)
    return Usage(requests, 1, used.input, used.cached, used.cache_write, used.output, dollars)
