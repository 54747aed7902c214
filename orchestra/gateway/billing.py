"""Clients, their exchanges, who is told of them, and what they cost."""

import secrets
import time
from dataclasses import dataclass, field
from typing import Protocol

from orchestra.dialects import Tokens
from orchestra.gateway.budget import LEAST_OUTPUT, Amount, MaxCost
from orchestra.model import Usage
from orchestra.providers import catalogue

AGENT = "agent"  # only replies under this role count as iterations
BYTES_PER_INPUT_TOKEN = 3  # bytes of a request that make a token, at least
PLAUSIBLE_FACTOR = 1.1  # times the cap: not every provider counts a reply's tokens the same way
HIDDEN_INPUT_TOKENS = 10_000  # tokens that a provider may add to a request
UNKNOWN_OUTPUT = 32_000  # tokens of a reply if neither the request nor the catalogue limits it


@dataclass(frozen=True)
class Upstream:
    """Where a provider's requests are sent, with the key that no agent sees."""

    provider: str
    dialect: str  # the family of dialects that it speaks
    base: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class Exchange:
    """One request of a client and its result. Its usage counts everything that was sent, including retries."""

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
    raw: str = field(default="", repr=False)  # the original reply, so that a resumed run can give it again
    kind: str = ""
    recalled: bool = False  # this reply was given again
    drifted: bool = False  # a recorded reply that was given to a request other than the recorded one
    asked: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # the messages of the request, as (role, text)
    number: int = 0  # of its reservation
    remark: str = ""  # what is odd about the reported usage


@dataclass
class ClientPass:
    """What a token allows, for which client, and how much of that is used.

    `models`: the catalogue's names of the allowed models. None allows any model: only tests and benchmarks use that.
    `repeats`: the client may repeat a request although its reply was readable.
    `ends_at_failure`: after a final failure its further requests are refused here: the client would not stop by itself.
    `shares_prompt`: other clients send the same first request at the same time.
    """

    role: str
    task: int | None = None
    attempt: int | None = None
    iterations: int = 0
    root: str = ""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    models: frozenset[str] | None = None
    repeats: bool = False
    ends_at_failure: bool = False
    shares_prompt: bool = False
    exchanges: list[Exchange] = field(default_factory=list)
    waited_before: float = 0.0
    waits_since: dict[int, float] = field(default_factory=dict)

    @property
    def holder(self) -> str:
        return self.role if self.task is None else f"agent{self.task}"

    @property
    def waited_seconds(self) -> float:
        """Seconds for which the gateway has made its holder wait, until now."""
        return self.waited_before + (time.monotonic() - min(self.waits_since.values()) if self.waits_since else 0.0)

    def end_wait(self, ask: int) -> None:
        """End a wait. Of several waits at the same time only one counts."""
        began = self.waits_since.pop(ask)
        if not any(other <= began for other in self.waits_since.values()):
            until = min(self.waits_since.values(), default=time.monotonic())
            self.waited_before += until - began

    @property
    def usage(self) -> Usage:
        return sum((exchange.usage for exchange in self.exchanges), Usage())

    def is_exhausted(self, in_flight: int) -> bool:
        """Whether its replies are used up, if the requests in flight get theirs."""
        replies = sum(not exchange.failure for exchange in self.exchanges)
        return bool(self.iterations) and replies + in_flight >= self.iterations

    @property
    def has_failed(self) -> bool:
        """Whether a final failure has ended what it may ask."""
        return self.ends_at_failure and bool(self.exchanges) and bool(self.exchanges[-1].failure)

    def forbids_repeat(self, identity: str) -> bool:
        """Whether a request was answered already: its repetition means that the agent could not read the reply."""
        if self.task is None or self.repeats:
            return False
        return any(exchange.identity == identity and not exchange.failure for exchange in self.exchanges)


class GatewayListener(Protocol):
    """Called in the gateway's own task, which waits for it."""

    def on_reservation(self, ticket: ClientPass, number: int, most: Amount) -> None:
        """A request is about to be sent, and may cost this much. The record must survive a crash."""

    def on_exchange(self, ticket: ClientPass, exchange: Exchange) -> None:
        """A request has ended. Its reply is handed on after this returns, so that every paid reply is recorded."""

    def on_wait(self, ticket: ClientPass, whom: str, why: str) -> None:
        """The client waits for a provider or the budget, and why; both are empty when it goes on."""

    def on_note(self, ticket: ClientPass, text: str) -> None:
        """Something for the user that is not an exchange: a refused request, a strange usage."""


def usage_of_reply(
    model: catalogue.Model, reported: Tokens, requests: int, *, has_text: bool, most: MaxCost | None
) -> Usage:
    """Compute what a reply costs from its usage; `has_text`: whether the reply holds any text. What the usage leaves
    unknown is counted at the reserved maximum, as assumed. Without `most` nothing was sent, so nothing is assumed."""
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
    """Describe what is odd about a usage, for a request of `size` bytes. It counts as reported nevertheless."""
    found = []
    if reported.unreadable:
        how = ", so it counts at its maximum cost" if assumed else ""
        found.append(f"a usage that cannot be read ({', '.join(reported.unreadable[:3])}){how}")
    if reported.output > most.output * PLAUSIBLE_FACTOR:
        found.append(f"{reported.output:,} tokens of output, where {most.output:,} were allowed")
    if reported.input > size + HIDDEN_INPUT_TOKENS:
        found.append(f"{reported.input:,} tokens of input for {size:,} bytes")
    return " and ".join(found)


def max_request_cost(model: catalogue.Model, size: int, cap: int | None, least_cap: int = 0) -> MaxCost:
    """Compute the most that a request of this size may cost; `cap` is its output limit. `least_cap`: what it needs for
    its reasoning alone."""
    asked, output = size // BYTES_PER_INPUT_TOKEN + 1, cap or model.max_output or UNKNOWN_OUTPUT
    plain, cached = (catalogue.request_cost(model, asked, 0, written, 0) or 0.0 for written in (0, asked))
    whole = catalogue.request_cost(model, asked, 0, 0, output) or 0.0
    return MaxCost(asked, output, max(plain, cached), (whole - plain) / output, least_cap + LEAST_OUTPUT)
