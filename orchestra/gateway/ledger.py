"""Who may ask, what was asked, and what it cost."""

import secrets
import time
from dataclasses import dataclass, field

from orchestra import catalogue
from orchestra.dialects import Tokens
from orchestra.gateway.budget import Most
from orchestra.model import Usage

BYTES = 3  # of a request, that a token has at least
UNKNOWN_OUTPUT = 32_000  # tokens of a reply, where neither the request nor the catalogue says


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
    # A reply of the tape's that was given to another request than the recorded one.
    drifted: bool = False
    # The messages of the request, as (role, text).
    asked: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    # Under which number its money was set aside.
    number: int = 0


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
    rested: float = 0.0
    resting: dict[int, float] = field(default_factory=dict)

    @property
    def waited(self) -> float:
        """Seconds in which the gateway has made its holder wait, until now."""
        return self.rested + (time.monotonic() - min(self.resting.values()) if self.resting else 0.0)

    def rest(self, ask: int) -> None:
        self.resting[ask] = time.monotonic()

    def go_on(self, ask: int) -> None:
        """Of several that waited at once only one counts."""
        began = self.resting.pop(ask)
        if not any(other <= began for other in self.resting.values()):
            until = min(self.resting.values(), default=time.monotonic())
            self.rested += until - began

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


def price(model: catalogue.Model, used: Tokens, requests: int) -> Usage:
    dollars = catalogue.cost(model, used.input, used.cached, used.cache_write, used.output)
    return Usage(requests, 1, used.input, used.cached, used.cache_write, used.output, dollars)


def most(model: catalogue.Model, size: int, cap: int | None) -> Most:
    """What a request of so many bytes may cost at most; `cap` is how long it lets the reply be."""
    asked, said = size // BYTES + 1, cap or model.max_output or UNKNOWN_OUTPUT
    plain, cached = (catalogue.cost(model, asked, 0, written, 0) or 0.0 for written in (0, asked))
    whole = catalogue.cost(model, asked, 0, 0, said) or 0.0
    return Most(asked, said, max(plain, cached), (whole - plain) / said)
