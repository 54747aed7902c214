"""One request on its way through the door: what it wants, what is set aside for it, how long it waits."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Mapping

from orchestra import dialects
from orchestra.dialects import Route
from orchestra.gateway import billing
from orchestra.gateway.billing import ClientPass, Exchange, Upstream
from orchestra.gateway.budget import Amount, Reservation
from orchestra.gateway.decode import Decoder, ReplyFacts, RequestFacts
from orchestra.gateway.lane import RequestTrouble
from orchestra.gateway.limits import Limits
from orchestra.gateway.listener import GatewayListener
from orchestra.model import Usage

QUIET_WAIT_SECONDS = 1.5  # seconds of waiting


class PendingRequest:
    def __init__(
        self,
        ticket: ClientPass,
        upstream: Upstream,
        route: Route,
        query: str,
        headers: Mapping[str, str],
        raw: bytes,
        facts: RequestFacts,
        limits: Limits,
        listener: GatewayListener,
    ) -> None:
        self.ticket = ticket
        self.upstream = upstream
        self.dialect = route.dialect
        self.raw = raw
        self.facts = facts
        self.model = facts.model
        self.streams = facts.streams
        self.identity = facts.identity
        self.url = dialects.upstream_url(route.dialect, upstream.base, route.path) + (f"?{query}" if query else "")
        self.headers = dialects.upstream_headers(route.dialect, upstream.key, headers) | {"accept-encoding": "gzip"}
        self.limits = limits
        self.listener = listener
        self.known = limits.model_for(upstream.provider, self.model)
        self.lane = limits.lane_for(upstream.provider, self.model)
        self.trouble = RequestTrouble(ticket.token if ticket.task is None else ticket.task)
        self.claim: Reservation | None = None
        self.number = next(limits.numbers)
        self.lost = Usage()
        self.task: asyncio.Task[object] | None = None
        self.deadline: asyncio.Timeout | None = None  # of the answer that is on its way
        self.started = self.began = time.monotonic()
        self.sent = 0
        self.flying = False  # sent, and perhaps billed, whatever becomes of the answer

    def failed_exchange(
        self, failure: str, status: int, message: str, reported: Usage | None = None, remark: str = ""
    ) -> Exchange:
        usage = self.settle_usage(reported or Usage(requests=self.sent))
        return Exchange(
            *(self.upstream.provider, self.model, status, failure, message, usage, self.seconds),
            identity=self.identity,
            asked=self.facts.asked,
            number=self.number,
            remark=remark,
        )

    def answered_exchange(self, facts: ReplyFacts, raw: str, kind: str, **how: bool) -> Exchange:
        # What is given again was paid, and counted, when it came the first time.
        told, remark = (Usage(), "") if how.get("recalled") else self.bill_reply(facts)
        return Exchange(
            provider=self.upstream.provider,
            model=self.model,
            status=200,
            failure="",
            message="",
            usage=self.settle_usage(told) if not how.get("recalled") else told,
            seconds=self.seconds,
            reply=facts.text,
            finish=facts.finish,
            identity=self.identity,
            raw=raw,
            kind=kind,
            asked=self.facts.asked,
            number=self.number,
            remark=remark,
            **how,
        )

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    # --- its money

    async def reserve(self, decoder: Decoder) -> str:
        """Set aside what it may cost at most, once others have left enough; or say which limit does not allow it."""
        if self.claim is not None:
            return ""
        if self.limits.budget.has_dollar_limit and self.known.price_in is None:
            return f"no price is known for {self.known.name}, so that no budget can be held"
        most = billing.max_request_cost(self.known, len(self.raw), self.facts.cap)
        self.claim = claim = self.limits.budget.reserve(self.ticket.task, most)
        await claim.decided.wait()
        if claim.refused_reason:
            self.claim = None
        elif claim.is_lowered:
            self.raw = await decoder.lower_cap(self.upstream.provider, self.dialect, claim.most.output, self.raw)
        if self.claim is not None and self.limits.budget.is_limited:
            self.listener.on_reservation(self.ticket, self.number, claim.most.amount)
        return claim.refused_reason

    def bill_reply(self, facts: ReplyFacts) -> tuple[Usage, str]:
        """What the reply costs by what the provider told, and what is odd about that."""
        most = self.claim.most if self.claim is not None and self.flying else None
        self.flying = False
        usage = billing.usage_of_reply(self.known, facts.tokens, self.sent, has_text=bool(facts.text), most=most)
        odd = "" if most is None else billing.usage_remark(facts.tokens, len(self.raw), most, usage.assumed_tokens)
        return usage, odd

    def count_as_lost(self) -> None:
        """What was sent and will not be answered counts as paid, at the most that it may cost."""
        if self.claim is not None and self.flying:
            amount = self.claim.most.amount
            self.lost += Usage(assumed=amount.dollars, assumed_tokens=amount.tokens)
            self.limits.budget.settle(self.claim)
            self.claim = None
        self.flying = False

    def settle_usage(self, reported: Usage) -> Usage:
        """Close its reservation, with what the provider told."""
        self.count_as_lost()
        over = Amount()
        if self.claim is not None:
            used = Amount((reported.dollars or 0.0) + reported.assumed, reported.tokens + reported.assumed_tokens)
            over = self.limits.budget.settle(self.claim, used)
            self.claim = None
        return reported + self.lost + Usage(overshoot=over.dollars)

    def mark_unsent(self) -> None:
        self.sent -= 1
        self.flying = False

    def unusable_reason(self, facts: ReplyFacts) -> tuple[str, str] | None:
        """Why a reply that came must not be taken for the whole of what the model had to say."""
        if facts.finish in dialects.FILTERED_FINISHES:
            return "filtered", f"the provider's content filter has withheld the reply ({facts.finish})"
        # It had less room than was asked for, and used it up.
        if self.claim is not None and self.claim.is_lowered and facts.finish in dialects.CUT_OFF_FINISHES:
            return "budget", self.cut_off_message
        return None

    @property
    def cut_off_message(self) -> str:
        cap = self.claim.most.output if self.claim else 0
        return f"its reply was cut off after the {cap:,} tokens that the budget had left for it"

    @property
    def max_reply_tokens(self) -> int:
        """Tokens that the reply may have."""
        return self.claim.most.output if self.claim else billing.UNKNOWN_OUTPUT

    # --- its time

    @contextlib.asynccontextmanager
    async def answer_deadline(self) -> AsyncIterator[None]:
        """However it comes: the whole answer must be there in time, or TimeoutError ends it."""
        left = self.limits.longest - self.in_flight_seconds
        async with asyncio.timeout(max(0.0, left)) as self.deadline:
            try:
                yield
            finally:
                self.deadline = None

    @property
    def in_flight_seconds(self) -> float:
        """Seconds since it was sent the last time."""
        return time.monotonic() - self.began

    def shorten_deadline(self, seconds: float) -> None:
        """Its answer is of no use any more; only what it costs may still be told within so many seconds."""
        if self.deadline is not None and not self.deadline.expired():
            soon = asyncio.get_running_loop().time() + seconds
            self.deadline.reschedule(min(self.deadline.when() or soon, soon))

    @contextlib.contextmanager
    def waiting_period(self) -> Iterator[None]:
        """Waiting that is not the agent's fault: its clock stands still, and whoever looks is told of it."""
        loop, said = asyncio.get_running_loop(), False

        def report_wait() -> None:
            nonlocal said
            said = True
            self.listener.on_wait(self.ticket, *self.wait_reason)

        timer = loop.call_later(QUIET_WAIT_SECONDS, report_wait)
        self.ticket.begin_wait(id(self))
        try:
            yield
        finally:
            self.ticket.end_wait(id(self))
            timer.cancel()
            if said:
                self.listener.on_wait(self.ticket, "", "")

    @property
    def wait_reason(self) -> tuple[str, str]:
        if self.claim is not None and not self.claim.decided.is_set():
            return "the budget", "until the requests on their way have settled"
        last = self.lane.last_refusal if self.lane.breaker.is_open or self.trouble.last else None
        if last is None and self.lane.is_held:
            return self.upstream.provider, "it says that nothing is left for now"
        return self.upstream.provider, f"{last.failure}: {last.message}" if last else "it is the others' turn"
