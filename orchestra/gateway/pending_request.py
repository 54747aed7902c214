"""One request in the gateway: its content, its reservation, its waiting time."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestra import dialects
from orchestra.dialects import Route
from orchestra.gateway import billing
from orchestra.gateway.billing import AGENT, ClientPass, Exchange, GatewayListener, Upstream
from orchestra.gateway.budget import Amount, Reservation
from orchestra.gateway.decode import Decoder, ReplyFacts, RequestFacts
from orchestra.gateway.lane import Limits, Refusal, RequestTrouble
from orchestra.gateway.prompt_cache import LONGEST_WAIT, CacheUse
from orchestra.model import Usage

QUIET_WAIT_SECONDS = 1.5  # seconds of waiting
# Servers that only speak a provider's format may not know its marks, nor a message in parts.
REFUSES_MARKS = re.compile(
    r"cache|\b(?:extra|additional|string|str|content)\b|not (?:permitted|supported)",
    re.IGNORECASE,
)


@dataclass(eq=False, repr=False)
class PendingRequest:
    """One request of a client, with what the gateway knows about it."""

    ticket: ClientPass
    upstream: Upstream
    route: Route
    query: str
    client_headers: Mapping[str, str]
    raw: bytes
    facts: RequestFacts
    limits: Limits
    listener: GatewayListener
    claim: Reservation | None = None
    lost: Usage = field(default_factory=Usage)
    task: asyncio.Task[object] | None = None
    deadline: asyncio.Timeout | None = None  # for the answer in flight
    cache_use: CacheUse = field(default_factory=CacheUse)
    waits_for_cache: bool = False
    dropped_marks: bool = False  # sent again without them, because the server may know none
    sent: int = 0
    flying: bool = False  # sent, and perhaps billed, whatever the answer

    def __post_init__(self) -> None:
        ticket, upstream, self.dialect, self.model = self.ticket, self.upstream, self.route.dialect, self.facts.model
        query = f"?{self.query}" if self.query else ""
        self.url = dialects.upstream_url(self.dialect, upstream.base, self.route.path) + query
        self.headers = dialects.upstream_headers(self.dialect, upstream.key, self.client_headers)
        self.headers["accept-encoding"] = "gzip"
        self.known = self.limits.model_for(upstream.provider, self.model)
        self.lane = self.limits.lane_for(upstream.provider, self.model)
        self.trouble = RequestTrouble(ticket.token if ticket.task is None else ticket.task)
        self.number = next(self.limits.numbers)
        self.started = self.began = time.monotonic()

    def make_exchange(
        self, failure: str, status: int, message: str, usage: Usage | None = None, remark: str = "", **reply: Any
    ) -> Exchange:
        return Exchange(
            *(self.upstream.provider, self.model, status, failure, message),
            usage=self.settle_usage(usage or Usage(requests=self.sent)),
            seconds=time.monotonic() - self.started,
            identity=self.facts.identity,
            asked=tuple((role, self.without_root(text)) for role, text in self.facts.asked),
            number=self.number,
            remark=remark,
            **reply,
        )

    def make_answered_exchange(self, facts: ReplyFacts, raw: bytes, kind: str, **how: bool) -> Exchange:
        # A reply that is given again was paid and counted the first time.
        usage, remark = (Usage(), "") if how.get("recalled") else self.bill_reply(facts)
        reply = {
            "reply": self.without_root(facts.text),
            "finish": facts.finish,
            "raw": raw.decode("utf-8", "replace"),
            "kind": kind,
        }
        return self.make_exchange("", 200, "", usage, remark, **reply, **how)

    def without_root(self, text: str) -> str:
        """Return a text that names the files of the worktree by their paths in it."""
        return text.replace(f"{self.ticket.root}/", "") if self.ticket.root else text

    # --- its prompt in the provider's cache

    async def choose_cache_marks(self) -> None:
        """Choose what the provider should cache of its prompt. Of requests with the same prompt, one goes ahead."""
        cache, is_agent = self.lane.cache, self.ticket.role == AGENT
        is_shared = self.ticket.shares_prompt and not self.ticket.exchanges
        while True:
            use = cache.begin_use(self.facts.places, is_agent=is_agent, is_shared=is_shared)
            if use.wait_for is None:
                break
            is_shared = await self.wait_for_cache(use.wait_for)
        self.cache_use = use

    async def wait_for_cache(self, other: CacheUse) -> bool:
        """Wait until another request has ended, but not for too long. Return whether it has ended."""
        self.waits_for_cache = True
        with contextlib.suppress(TimeoutError), self.waiting_period():
            async with asyncio.timeout(LONGEST_WAIT):
                await other.ended.wait()
        self.waits_for_cache = False
        return other.ended.is_set()

    @property
    def has_cache_marks(self) -> bool:
        return bool(self.cache_use.marked) or (self.cache_use.is_possible and self.dialect.caches_unmarked)

    async def outgoing_body(self, decoder: Decoder) -> bytes:
        """Return the request as it is sent. Its identity is that of the request without cache marks."""
        if not self.has_cache_marks:
            return self.raw
        numbers = [place.number for place in self.cache_use.marked]
        key = f"{self.limits.cache_key}-{self.ticket.holder}"
        return await decoder.mark_prompt(self.dialect, numbers, key, self.raw)

    def drop_refused_marks(self, refusal: Refusal) -> bool:
        """Leave the marks out if the server seems to refuse them. Return whether the request can be sent again. Only if
        that is answered, no request gets marks any more: other refusals have such words too."""
        is_about_marks = refusal.status in (400, 422) and REFUSES_MARKS.search(refusal.message) is not None
        if not (self.has_cache_marks and is_about_marks):
            return False
        self.lane.cache.end_use(self.cache_use)
        self.cache_use, self.dropped_marks = CacheUse(), True
        return True

    # --- its cost

    async def reserve(self, decoder: Decoder) -> str:
        """Reserve the most that it may cost, once others have left enough. Return which limit does not allow it."""
        if self.claim is not None:
            return ""
        if self.limits.budget.has_dollar_limit and self.known.price_in is None:
            return f"no price is known for {self.known.name}, so a budget cannot be held"
        most = billing.max_request_cost(self.known, len(self.raw), self.facts.cap, self.facts.least_cap)
        self.claim = claim = self.limits.budget.reserve(self.ticket.task, most)
        await claim.decided.wait()
        if claim.refused_reason:
            self.claim = None
        elif claim.is_lowered:
            self.raw = await decoder.lower_cap(self.dialect, self.upstream.provider, claim.most.output, self.raw)
        if self.claim is not None and self.limits.budget.is_limited:
            self.listener.on_reservation(self.ticket, self.number, claim.most.amount)
        return claim.refused_reason

    def bill_reply(self, facts: ReplyFacts) -> tuple[Usage, str]:
        """Compute the reply's cost from the reported usage, and what is odd about that."""
        most = self.claim.most if self.claim is not None and self.flying else None
        self.flying = False
        usage = billing.usage_of_reply(self.known, facts.tokens, self.sent, has_text=bool(facts.text), most=most)
        odd = "" if most is None else billing.usage_remark(facts.tokens, len(self.raw), most, usage.assumed_tokens)
        return usage, odd

    def count_as_lost(self) -> None:
        """Count a request without an answer at the most that it may cost."""
        if self.claim is not None and self.flying:
            amount = self.claim.most.amount
            self.lost += Usage(assumed=amount.dollars, assumed_tokens=amount.tokens)
            self.limits.budget.record_usage(self.claim)
            self.claim = None
        self.flying = False

    def settle_usage(self, reported: Usage) -> Usage:
        """Replace its reservation by the reported usage."""
        self.count_as_lost()
        over = Amount()
        if self.claim is not None:
            used = Amount((reported.dollars or 0.0) + reported.assumed, reported.tokens + reported.assumed_tokens)
            over = self.limits.budget.record_usage(self.claim, used)
            self.claim = None
        return reported + self.lost + Usage(overshoot=over.dollars)

    def mark_unsent(self) -> None:
        self.sent -= 1
        self.flying = False

    def unusable_reason(self, facts: ReplyFacts) -> tuple[str, str] | None:
        """Return the failure and the message for a reply that is not the model's whole reply; None if it is."""
        if facts.finish in dialects.FILTERED_FINISHES:
            return "filtered", f"the provider's content filter has withheld the reply ({facts.finish})"
        # It had less room than it asked for, and used all of it.
        if self.claim is not None and self.claim.is_lowered and facts.finish in dialects.CUT_OFF_FINISHES:
            left = self.claim.most.output
            return "budget", f"its reply was cut off after the {left:,} tokens that the budget had left for it"
        return None

    @property
    def max_reply_tokens(self) -> int:
        return self.claim.most.output if self.claim else billing.UNKNOWN_OUTPUT

    # --- its time

    @contextlib.asynccontextmanager
    async def answer_deadline(self) -> AsyncIterator[None]:
        """Limit the time of the whole answer, however it comes. Raise TimeoutError."""
        left = self.limits.longest - self.in_flight_seconds
        async with asyncio.timeout(max(0.0, left)) as self.deadline:
            try:
                yield
            finally:
                self.deadline = None

    @property
    def in_flight_seconds(self) -> float:
        """Seconds since it was last sent."""
        return time.monotonic() - self.began

    def shorten_deadline(self, seconds: float) -> None:
        """Wait only this long for an answer that is of no use any more except for its cost."""
        if self.deadline is not None and not self.deadline.expired():
            soon = asyncio.get_running_loop().time() + seconds
            self.deadline.reschedule(min(self.deadline.when() or soon, soon))

    @contextlib.contextmanager
    def waiting_period(self) -> Iterator[None]:
        """Record a wait that is not the agent's fault: its clock stands still, and the display shows why."""
        loop, is_reported = asyncio.get_running_loop(), False

        def report_wait() -> None:
            nonlocal is_reported
            is_reported = True
            self.listener.on_wait(self.ticket, *self.wait_reason)

        timer = loop.call_later(QUIET_WAIT_SECONDS, report_wait)
        self.ticket.waits_since[id(self)] = time.monotonic()
        try:
            yield
        finally:
            self.ticket.end_wait(id(self))
            timer.cancel()
            if is_reported:
                self.listener.on_wait(self.ticket, "", "")

    @property
    def wait_reason(self) -> tuple[str, str]:
        if self.claim is not None and not self.claim.decided.is_set():
            return "the budget", "until the requests in flight are counted"
        if self.waits_for_cache:
            return "another attempt", "the same prompt costs less once it is cached"
        last = self.lane.last_refusal if self.lane.breaker.is_open or self.trouble.last else None
        if last is None and self.lane.pace.held > self.lane.clock():
            return self.upstream.provider, "its rate limit is used up for now"
        return self.upstream.provider, f"{last.failure}: {last.message}" if last else "other requests are in line"
