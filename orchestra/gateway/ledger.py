"""Who may ask, what was asked, and what it cost."""

import secrets
import time
from dataclasses import dataclass, field

from orchestra.dialects import Tokens
from orchestra.gateway.budget import Most
from orchestra.model import Usage
from orchestra.providers import catalogue

BYTES = 3  # of a request, that a token has at least
PLAUSIBLE = 1.1  # times the cap: what a reply may have is not counted the same way everywhere
UNSEEN = 10_000  # tokens that a provider may add to a request by itself
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
    # What is odd about the usage that the provider told.
    remark: str = ""


@dataclass
class Pass:
    """What a token opens, for whom, and how much of it is used up.

    `models` are the catalogue's names of the models that it may ask. None is any model: only tests and benchmarks use
    that, a run always names them.
    """

    role: str
    task: int | None = None
    attempt: int | None = None
    iterations: int = 0
    root: str = ""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    models: frozenset[str] | None = None
    exchanges: list[Exchange] = field(default_factory=list)
    rested: float = 0.0
    resting: dict[int, float] = field(default_factory=dict)

    @property
    def holder(self) -> str:
        return self.role if self.task is None else f"agent{self.task}"

    def may_ask(self, provider: str, model: str) -> bool:
        return self.models is None or f"{provider}/{model}" in self.models

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


def bill(model: catalogue.Model, told: Tokens, requests: int, *, said: bool, most: Most | None) -> Usage:
    """What a reply costs by the usage that came with it; `said` is whether the reply holds any text.

    What the usage leaves unknown counts at the most that was set aside for it, and as assumed. Without `most` nothing
    was sent, so that nothing is assumed.
    """
    dollars = catalogue.cost(model, told.input, told.cached, told.cache_write, told.output)
    known = Usage(requests, 1, told.input, told.cached, told.cache_write, told.output, dollars)
    if most is None:
        return known
    assumed, tokens = 0.0, 0
    if told.unknown_input or not told.input:
        paid = catalogue.cost(model, told.input, told.cached, told.cache_write, 0) or 0.0
        assumed += max(0.0, most.input_dollars - paid)
        tokens += max(0, most.input - told.input)
    if told.unknown_output or (not told.output and (said or not told.input)):
        more = max(0, most.output - told.output)
        assumed += more * most.dollars_each
        tokens += more
    return known + Usage(assumed=assumed, assumed_tokens=tokens)


def remark(told: Tokens, size: int, most: Most, assumed: int) -> str:
    """What is odd about a usage, for a request of `size` bytes. It counts as it was told all the same."""
    found = []
    if told.unreadable:
        how = ", so it counts at the most that it may cost" if assumed else ""
        found.append(f"a usage that cannot be read ({', '.join(told.unreadable[:3])}){how}")
    if told.output > most.output * PLAUSIBLE:
        found.append(f"{told.output:,} tokens of output, where {most.output:,} were allowed")
    if told.input > size + UNSEEN:
        found.append(f"{told.input:,} tokens of input for {size:,} bytes")
    return " and ".join(found)


def most(model: catalogue.Model, size: int, cap: int | None) -> Most:
    """What a request of so many bytes may cost at most; `cap` is how long it lets the reply be."""
    asked, said = size // BYTES + 1, cap or model.max_output or UNKNOWN_OUTPUT
    plain, cached = (catalogue.cost(model, asked, 0, written, 0) or 0.0 for written in (0, asked))
    whole = catalogue.cost(model, asked, 0, 0, said) or 0.0
    return Most(asked, said, max(plain, cached), (whole - plain) / said)
