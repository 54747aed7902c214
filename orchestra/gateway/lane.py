"""One lane per model of a provider: the order of requests, and what was learned from the answers.

All agents of a run share its lanes and its budget. So a Retry-After is obeyed once for all, a rate is learned once, a
provider that is down gets one probe, and a key that was refused for two agents is not tried by a third.
"""

import asyncio
import contextlib
import itertools
import math
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from orchestra.gateway.breaker import CircuitBreaker
from orchestra.gateway.budget import Budget
from orchestra.gateway.pace import Pace, SentRequest
from orchestra.gateway.prompt_cache import PromptCache
from orchestra.gateway.retry_policy import LIMITED_SECONDS, FailureEvidence, is_worth_retrying, retry_pause
from orchestra.providers import catalogue

# failures that every request would meet
SHARED_FAILURES = ("auth", "quota")
OUTAGE_SECONDS = 1800.0
LONGEST_ANSWER_SECONDS = 1800.0


@dataclass(frozen=True)
class Refusal:
    """An answer that is not a reply, before the decision whether to retry."""

    failure: str
    status: int
    message: str
    retry_after: float | None = None
    lost: bool = False  # the connection broke within the reply


@dataclass
class RequestTrouble:
    """The failures of one request so far."""

    agent_key: object  # identifies the agent
    tries: int = 0
    losses: int = 0
    began: float = math.inf
    last: Refusal | None = None
    until: float = 0.0  # the request waits by itself until then, while others go on


@dataclass
class Lane:
    provider: str
    outage: float
    known_providers: set[str]  # the providers that have answered in this run
    pace: Pace
    cache: PromptCache = field(default_factory=lambda: PromptCache(None))
    clock: Callable[[], float] = time.monotonic
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    last_reply_at: float = -math.inf  # when the last reply came
    limited_since: float = math.inf  # since when there were only 429 refusals
    refused_agents: dict[tuple[str, int, str], set[object]] = field(default_factory=dict)
    last_refusal: Refusal | None = None
    probe_headers_from: float = math.inf  # after this time a good reply shows that an absurd header was wrong
    line: asyncio.Lock = field(default_factory=asyncio.Lock)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_for_turn(self, trouble: RequestTrouble) -> SentRequest | Refusal:
        """Wait for a turn. Return a refusal instead if waiting is not worthwhile any more."""
        if (rest := trouble.until - self.clock()) > 0:
            await asyncio.sleep(rest)
        async with self.line:
            while True:
                if (given_up := self.shared_refusal(trouble)) is not None:
                    return given_up
                wait = max(self.pace.wait_seconds(self.clock()), self.breaker.wait_seconds(self.clock()))
                if wait <= 0:
                    self.breaker.record_send(id(trouble))
                    return self.pace.record_send(self.clock())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if wait == math.inf else wait):
                        await self.news.wait()

    def shared_refusal(self, trouble: RequestTrouble) -> Refusal | None:
        """Return a refusal that other requests have met, so that this one need not be sent."""
        for (failure, status, message), agents in self.refused_agents.items():
            if len(agents - {trouble.agent_key}) > 1:
                return Refusal(failure, status, message)
        now, last = self.clock(), self.last_refusal
        wait = self.breaker.wait_seconds(now) if self.breaker.is_open else 0.0
        is_down = last is not None and 0 < wait < math.inf and not self.is_worth_waiting(trouble, last, wait)
        return last if is_down else None

    def is_worth_waiting(self, trouble: RequestTrouble, refusal: Refusal, wait: float) -> bool:
        then = self.clock() + wait
        since = self.limited_since if refusal.failure == "rate_limit" else self.breaker.failing_since
        seen = FailureEvidence(
            refusal.failure,
            provider_answered=self.provider in self.known_providers,
            model_served=self.last_reply_at > -math.inf,
            others_served=self.last_reply_at > trouble.began,
            others_fail=self.breaker.has_several_failures,
            tries=trouble.tries,
            losses=trouble.losses,
            model_seconds=then - since if since < math.inf else 0.0,
            request_seconds=then - trouble.began if trouble.began < math.inf else 0.0,
            retry_after=refusal.retry_after,
        )
        return is_worth_retrying(seen, self.outage)

    # --- what came back

    def obey_rate_headers(self, sent: SentRequest, seconds: float) -> None:
        """Obey rate-limit headers that report nothing left, up to the longest wait that a refusal may ask for. Then one
        request goes alone; once it is answered, such headers are ignored."""
        now = self.clock()
        if seconds <= LIMITED_SECONDS:
            self.pace.hold_until(now + seconds)
        elif sent.at < self.probe_headers_from:
            self.probe_headers_from = min(self.probe_headers_from, now + LIMITED_SECONDS)
            self.pace.hold_until(self.probe_headers_from)
            self.pace.probe_from = self.probe_headers_from

    def record_reply(self, sent: SentRequest) -> None:
        now = self.clock()
        self.pace.record_served(sent, now)
        self.record_contact()
        self.last_reply_at, self.limited_since = now, math.inf
        self.refused_agents.clear()

    def record_contact(self) -> None:
        self.known_providers.add(self.provider)
        self.breaker.record_success()
        self.wake_waiting()

    def record_failure(self, sent: SentRequest, trouble: RequestTrouble, refusal: Refusal) -> bool:
        """Record a failure. Return whether a retry is worthwhile; `wait_for_turn` knows when."""
        now = self.clock()
        self.pace.record_return(sent)
        trouble.tries += 1
        trouble.losses += refusal.lost
        trouble.began = min(trouble.began, now)
        trouble.last = self.last_refusal = refusal
        if 0 < refusal.status < 500 and refusal.failure not in ("server", "timeout"):
            self.record_contact()  # the provider is there and refused on purpose
        elif refusal.retry_after is not None:
            self.known_providers.add(self.provider)
        if refusal.failure == "rate_limit":
            self.limited_since = min(self.limited_since, now)
            worth = self.is_worth_waiting(trouble, refusal, 0.0)
            # A wait that is too long for this request must not delay the others: they may get a better answer.
            self.pace.record_refusal(sent, now, refusal.retry_after if worth else 0.0)
            self.wake_waiting()
            return worth
        if refusal.failure in SHARED_FAILURES:
            same = (refusal.failure, refusal.status, refusal.message)
            self.refused_agents.setdefault(same, set()).add(trouble.agent_key)
        if refusal.failure in ("unreachable", "server"):
            self.breaker.record_failure(id(trouble), now, down=refusal.failure == "unreachable")
        trouble.until = now + retry_pause(trouble.tries) if not self.breaker.is_open else 0.0
        waits = (trouble.until - now, self.breaker.wait_seconds(now), (refusal.retry_after or 0.0))
        worth = self.is_worth_waiting(trouble, refusal, max(wait for wait in waits if wait < math.inf))
        if worth:
            self.pace.hold_until(now + (refusal.retry_after or 0.0))
        else:
            self.breaker.postpone_probe(now)
        self.wake_waiting()
        return worth

    def forget_request(self, sent: SentRequest, trouble: RequestTrouble) -> None:
        """Mark the request as finished without a reply."""
        self.pace.record_return(sent)
        self.breaker.release_probe(id(trouble))
        self.wake_waiting()

    def wake_waiting(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


@dataclass
class Limits:
    """What all requests of a run share: the budget, and a lane per model.

    `outage`: how long a provider that worked may be down. `longest`: how long one whole answer may take.
    """

    budget: Budget = field(default_factory=Budget)
    prices: dict[str, catalogue.Model] = field(default_factory=dict)
    per_minute: int = 0
    outage: float = OUTAGE_SECONDS
    longest: float = LONGEST_ANSWER_SECONDS
    lanes: dict[tuple[str, str], Lane] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    known_providers: set[str] = field(default_factory=set)
    cache_key: str = field(default_factory=lambda: secrets.token_hex(8))  # of this run's prompts

    def model_for(self, provider: str, name: str) -> catalogue.Model:
        """Return a model at the user's prices, or at the catalogue's."""
        full = f"{provider}/{name or 'unnamed'}"
        if full not in self.prices:
            self.prices[full] = catalogue.resolve_model(full)
        return self.prices[full]

    def lane_for(self, provider: str, model: str) -> Lane:
        if (provider, model) not in self.lanes:
            pace, cache = Pace(self.per_minute), PromptCache(catalogue.cache_rules(self.model_for(provider, model)))
            self.lanes[provider, model] = Lane(provider, self.outage, self.known_providers, pace, cache)
        return self.lanes[provider, model]
