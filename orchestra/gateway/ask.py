"""One request on its way through the door: what it wants, what is set aside for it, how long it waits."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Mapping

from orchestra import dialects
from orchestra.dialects import Route
from orchestra.gateway import ledger
from orchestra.gateway.budget import Amount, Claim
from orchestra.gateway.decode import Decoder, ReplyFacts, RequestFacts
from orchestra.gateway.lane import Trouble
from orchestra.gateway.ledger import Exchange, Pass, Upstream
from orchestra.gateway.limits import Limits
from orchestra.gateway.listener import GatewayListener
from orchestra.model import Usage

WORTH_SAYING = 1.5  # seconds of waiting


class Ask:
    def __init__(
        self,
        ticket: Pass,
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
        self.known = limits.model(upstream.provider, self.model)
        self.lane = limits.lane(upstream.provider, self.model)
        self.trouble = Trouble(ticket.token if ticket.task is None else ticket.task)
        self.claim: Claim | None = None
        self.number = next(limits.numbers)
        self.lost = Usage()
        self.task: asyncio.Task[object] | None = None
        self.deadline: asyncio.Timeout | None = None  # of the answer that is on its way
        self.started = self.began = time.monotonic()
        self.sent = 0
        self.flying = False  # sent, and perhaps billed, whatever becomes of the answer

    def failed(self, failure: str, status: int, message: str, told: Usage | None = None, remark: str = "") -> Exchange:
        usage = self.settled(told or Usage(requests=self.sent))
        return Exchange(
            *(self.upstream.provider, self.model, status, failure, message, usage, self.seconds),
            identity=self.identity,
            asked=self.facts.asked,
            number=self.number,
            remark=remark,
        )

    def answered(self, facts: ReplyFacts, raw: str, kind: str, **how: bool) -> Exchange:
        # What is given again was paid, and counted, when it came the first time.
        told, remark = (Usage(), "") if how.get("recalled") else self.used(facts)
        return Exchange(
            provider=self.upstream.provider,
            model=self.model,
            status=200,
            failure="",
            message="",
            usage=self.settled(told) if not how.get("recalled") else told,
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
        if self.limits.budget.in_dollars and self.known.price_in is None:
            return f"no price is known for {self.known.name}, so that no budget can be held"
        most = ledger.most(self.known, len(self.raw), self.facts.cap)
        self.claim = claim = self.limits.budget.claim(self.ticket.task, most)
        await claim.decided.wait()
        if claim.refused:
            self.claim = None
        elif claim.lowered:
            self.raw = await decoder.lower_cap(self.upstream.provider, self.dialect, claim.most.output, self.raw)
        if self.claim is not None and self.limits.budget.limited:
            self.listener.on_reservation(self.ticket, self.number, claim.most.amount)
        return claim.refused

    def used(self, facts: ReplyFacts) -> tuple[Usage, str]:
        """What the reply costs by what the provider told, and what is odd about that."""
        most = self.claim.most if self.claim is not None and self.flying else None
        self.flying = False
        usage = ledger.bill(self.known, facts.tokens, self.sent, said=bool(facts.text), most=most)
        odd = "" if most is None else ledger.remark(facts.tokens, len(self.raw), most, usage.assumed_tokens)
        return usage, odd

    def lose(self) -> None:
        """What was sent and will not be answered counts as paid, at the most that it may cost."""
        if self.claim is not None and self.flying:
            amount = self.claim.most.amount
            self.lost += Usage(assumed=amount.dollars, assumed_tokens=amount.tokens)
            self.limits.budget.settle(self.claim)
            self.claim = None
        self.flying = False

    def settled(self, told: Usage) -> Usage:
        """Close its reservation, with what the provider told."""
        self.lose()
        over = Amount()
        if self.claim is not None:
            used = Amount((told.dollars or 0.0) + told.assumed, told.tokens + told.assumed_tokens)
            over = self.limits.budget.settle(self.claim, used)
            self.claim = None
        return told + self.lost + Usage(overshoot=over.dollars)

    def unsent(self) -> None:
        self.sent -= 1
        self.flying = False

    def useless(self, facts: ReplyFacts) -> tuple[str, str] | None:
        """Why a reply that came must not be taken for the whole of what the model had to say."""
        if facts.finish in dialects.FILTERED:
            return "filtered", f"the provider's content filter has withheld the reply ({facts.finish})"
        # It had less room than was asked for, and used it up.
        if self.claim is not None and self.claim.lowered and facts.finish in dialects.CUT_OFF:
            return "budget", self.too_short
        return None

    @property
    def too_short(self) -> str:
        cap = self.claim.most.output if self.claim else 0
        return f"its reply was cut off after the {cap:,} tokens that the budget had left for it"

    @property
    def most_output(self) -> int:
        """Tokens that the reply may have."""
        return self.claim.most.output if self.claim else ledger.UNKNOWN_OUTPUT

    # --- its time

    @contextlib.asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """However it comes: the whole answer must be there in time, or TimeoutError ends it."""
        left = self.limits.longest - self.flown
        async with asyncio.timeout(max(0.0, left)) as self.deadline:
            try:
                yield
            finally:
                self.deadline = None

    @property
    def flown(self) -> float:
        """Seconds since it was sent the last time."""
        return time.monotonic() - self.began

    def hurry(self, seconds: float) -> None:
        """Its answer is of no use any more; only what it costs may still be told within so many seconds."""
        if self.deadline is not None and not self.deadline.expired():
            soon = asyncio.get_running_loop().time() + seconds
            self.deadline.reschedule(min(self.deadline.when() or soon, soon))

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        """Waiting that is not the agent's fault: its clock stands still, and whoever looks is told of it."""
        loop, said = asyncio.get_running_loop(), False

        def say() -> None:
            nonlocal said
            said = True
            self.listener.on_wait(self.ticket, *self.waits_for)

        timer = loop.call_later(WORTH_SAYING, say)
        self.ticket.rest(id(self))
        try:
            yield
        finally:
            self.ticket.go_on(id(self))
            timer.cancel()
            if said:
                self.listener.on_wait(self.ticket, "", "")

    @property
    def waits_for(self) -> tuple[str, str]:
        if self.claim is not None and not self.claim.decided.is_set():
            return "the budget", "until the requests on their way have settled"
        last = self.lane.last if self.lane.breaker.open or self.trouble.last else None
        if last is None and self.lane.is_held:
            return self.upstream.provider, "it says that nothing is left for now"
        return self.upstream.provider, f"{last.failure}: {last.message}" if last else "it is the others' turn"
