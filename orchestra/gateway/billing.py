"""Who may ask, what was asked, and what it cost."""

import secrets
import time
from dataclasses import dataclass, field

from orchestra.dialects import Tokens
from orchestra.gateway.budget import MaxCost
from orchestra.model import Usage
from orchestra.providers import catalogue

BYTES_PER_INPUT_TOKEN = 3  # of a request, that a token has at least
PLAUSIBLE_FACTOR = 1.1  # times the cap: what a reply may have is not counted the same way everywhere
HIDDEN_INPUT_TOKENS = 10_000  # tokens that a provider may add to a request by itself
UNKNOWN_OUTPUT = 32_000  # tokens of a reply, where neither the request nor the catalogue says


@dataclass(frozen=True)
class Upstream:
    """Where a provider's requests really go, with the key that no agent sees."""

    provider: str
    dialect: str  # the family of dialects that it speaks
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
class ClientPass:
    """What a token opens, for whom, and how much of it is used up.

    `models` are the catalogue's names of the models that it may ask. None is any model: only tests and benchmarks use
    that, a run always names them. `repeats`: its holder may send a request again although it could read the reply.
    """

    role: str
    task: int | None = None
    attempt: int | None = None
    iterations: int = 0
    root: str = ""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    models: frozenset[str] | None = None
    repeats: bool = False
    exchanges: list[Exchange] = field(default_factory=list)
    waited_before: float = 0.0
    waits_since: dict[int, float] = field(default_factory=dict)

    @property
    def forbids_repeats(self) -> bool:
        return self.task is not None and not self.repeats

    @property
    def holder(self) -> str:
        return self.role if self.task is None else f"agent{self.task}"

    def may_ask(self, provider: str, model: str) -> bool:
        return self.models is None or f"{provider}/{model}" in self.models

    @property
    def waited_seconds(self) -> float:
        """Seconds in which the gateway has made its holder wait, until now."""
        return self.waited_before + (time.monotonic() - min(self.waits_since.values()) if self.waits_since else 0.0)

    def begin_wait(self, ask: int) -> None:
        self.waits_since[ask] = time.monotonic()

    def end_wait(self, ask: int) -> None:
        """Of several that waited at once only one counts."""
        began = self.waits_since.pop(ask)
        if not any(other <= began for other in self.waits_since.values()):
            until = min(self.waits_since.values(), default=time.monotonic())
            self.waited_before += until - began

    @property
    def usage(self) -> Usage:
        return sum((exchange.usage for exchange in self.exchanges), Usage())

    @property
    def answered_identities(self) -> set[str]:
        return {exchange.identity for exchange in self.exchanges if not exchange.failure}

    @property
    def is_exhausted(self) -> bool:
        replies = sum(not exchange.failure for exchange in self.exchanges)
        return bool(self.iterations) and replies >= self.iterations


def usage_of_reply(
    model: catalogue.Model, reported: Tokens, requests: int, *, has_text: bool, most: MaxCost | None
) -> Usage:
    """What a reply costs by the usage that came with it; `said` is whether the reply holds any text.

    What the usage leaves unknown counts at the most that was set aside for it, and as assumed. Without `most` nothing
    was sent, so that nothing is assumed.
    """
    dollars = catalogue.request_cost(model, reported.input, reported.cached, reported.cache_write, reported.output)
    known = Usage(requests, 1, reported.input, reported.cached, reported.cache_write, reported.output, dollars)
    if most is None:
        return known
    assumed, tokens = 0.0, 0
    if reported.unknown_input or not reported.input:
        paid = catalogue.request_cost(model, reported.input, reported.cached, reported.cache_write, 0) or 0.0
        assumed += max(0.0, most.input_dollars - paid)
        tokens += max(0, most.input - reported.input)
    if reported.unknown_output or (not reported.output and (has_text or not reported.input)):
        more = max(0, most.output - reported.output)
        assumed += more * most.dollars_per_token
        tokens += more
    return known + Usage(assumed=assumed, assumed_tokens=tokens)


def usage_remark(reported: Tokens, size: int, most: MaxCost, assumed: int) -> str:
    """What is odd about a usage, for a request of `size` bytes. It counts as it was told all the same."""
    found = []
    if reported.unreadable:
        how = ", so it counts at the most that it may cost" if assumed else ""
        found.append(f"a usage that cannot be read ({', '.join(reported.unreadable[:3])}){how}")
    if reported.output > most.output * PLAUSIBLE_FACTOR:
        found.append(f"{reported.output:,} tokens of output, where {most.output:,} were allowed")
    if reported.input > size + HIDDEN_INPUT_TOKENS:
        found.append(f"{reported.input:,} tokens of input for {size:,} bytes")
    return " and ".join(found)


def max_request_cost(model: catalogue.Model, size: int, cap: int | None) -> MaxCost:
    """What a request of so many bytes may cost at most; `cap` is how long it lets the reply be."""
    asked, said = size // BYTES_PER_INPUT_TOKEN + 1, cap or model.max_output or UNKNOWN_OUTPUT
    plain, cached = (catalogue.request_cost(model, asked, 0, written, 0) or 0.0 for written in (0, asked))
    whole = catalogue.request_cost(model, asked, 0, 0, said) or 0.0
    return MaxCost(asked, said, max(plain, cached), (whole - plain) / said)
