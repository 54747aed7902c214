"""The lane to one model of one provider: whose turn it is, and what everybody has learned from what came back.

All agents of a run stand in the same line, so a Retry-After is obeyed once for all, a rate is learned once, a provider
that is down is asked by one probe, and a key that two agents have been refused with is not tried by a third.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestra.gateway.breaker import Breaker
from orchestra.gateway.pace import Pace, Sent
from orchestra.gateway.patience import LIMITED, Evidence, goes_on, pause

# Failures that everybody would meet.
SHARED = ("auth", "quota")


@dataclass(frozen=True)
class Refusal:
    """An answer that is no reply, before it is decided whether to ask again."""

    failure: str
    status: int
    message: str
    retry_after: float | None = None
    lost: bool = False  # in the middle of the reply

    @property
    def answered(self) -> bool:
        """The provider is there, and said something on purpose."""
        return 0 < self.status < 500 and self.failure not in ("server", "timeout")


@dataclass
class Trouble:
    """What one request has met so far."""

    who: object  # the agent that asks
    tries: int = 0
    losses: int = 0
    began: float = math.inf
    last: Refusal | None = None
    until: float = 0.0  # it rests by itself, while others may go


@dataclass
class Lane:
    provider: str
    outage: float
    known: set[str]  # the providers that have answered in this run
    pace: Pace
    clock: Callable[[], float] = time.monotonic
    breaker: Breaker = field(default_factory=Breaker)
    served: float = -math.inf  # when the last reply came
    limited: float = math.inf  # since when there were only refusals for too many
    refused: dict[tuple[str, int, str], set[object]] = field(default_factory=dict)
    last: Refusal | None = None
    probed: float = math.inf  # from this moment on a good reply shows that an absurd header was wrong
    line: asyncio.Lock = field(default_factory=asyncio.Lock)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def turn(self, trouble: Trouble) -> Sent | Refusal:
        """Wait in line, and go; or hear that it is not worth waiting any longer."""
        if (rest := trouble.until - self.clock()) > 0:
            await asyncio.sleep(rest)
        async with self.line:
            while True:
                if (given_up := self.given_up(trouble)) is not None:
                    return given_up
                wait = max(self.pace.wait(self.clock()), self.breaker.wait(self.clock()))
                if wait <= 0:
                    self.breaker.send(id(trouble))
                    return self.pace.send(self.clock())
                await self.pass_time(wait)

    async def pass_time(self, seconds: float) -> None:
        """Until something has come back, at most so long."""
        try:
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                await self.news.wait()
        except TimeoutError:
            pass

    def given_up(self, trouble: Trouble) -> Refusal | None:
        """What others have found out, so that this one need not ask."""
        for (failure, status, message), agents in self.refused.items():
            if len(agents - {trouble.who}) > 1:
                return Refusal(failure, status, message)
        now, last = self.clock(), self.last
        wait = self.breaker.wait(now)
        if self.breaker.open and last is not None and 0 < wait < math.inf and not self.worth(trouble, last, wait):
            return last
        return None

    def worth(self, trouble: Trouble, refusal: Refusal, wait: float) -> bool:
        then = self.clock() + wait
        since = self.limited if refusal.failure == "rate_limit" else self.breaker.since
        seen = Evidence(
            refusal.failure,
            known=self.provider in self.known,
            served=self.served > -math.inf,
            served_since=self.served > trouble.began,
            several=self.breaker.several,
            tries=trouble.tries,
            losses=trouble.losses,
            lasting=then - since if since < math.inf else 0.0,
            own=then - trouble.began if trouble.began < math.inf else 0.0,
            told=refusal.retry_after,
        )
        return goes_on(seen, self.outage)

    # --- what came back

    def heed(self, sent: Sent, seconds: float) -> None:
        """The headers of an answer say that nothing is left for so long. They are believed up to the longest wait that
        a refusal may ask for. Then one request goes alone, and once it was answered such headers count no more."""
        now = self.clock()
        if seconds <= LIMITED:
            self.pace.hold(now + seconds)
        elif sent.at < self.probed:
            self.probed = min(self.probed, now + LIMITED)
            self.pace.hold_for_probe(self.probed)

    @property
    def is_held(self) -> bool:
        return self.pace.held > self.clock()

    def reply(self, sent: Sent) -> None:
        now = self.clock()
        self.pace.taken(sent, now)
        self.good()
        self.served, self.limited = now, math.inf
        self.refused.clear()

    def good(self) -> None:
        self.known.add(self.provider)
        self.breaker.good()
        self.tell()

    def failure(self, sent: Sent, trouble: Trouble, refusal: Refusal) -> bool:
        """Whether it is worth asking again; if so, `turn` knows when."""
        now = self.clock()
        self.pace.back(sent)
        trouble.tries += 1
        trouble.losses += refusal.lost
        trouble.began = min(trouble.began, now)
        trouble.last = self.last = refusal
        if refusal.answered:
            self.good()
        elif refusal.retry_after is not None:
            self.known.add(self.provider)
        if refusal.failure == "rate_limit":
            self.limited = min(self.limited, now)
            worth = self.worth(trouble, refusal, 0.0)
            # A wait that is too long for this one holds up nobody else: they may hear something better.
            self.pace.refused(sent, now, refusal.retry_after if worth else 0.0)
            self.tell()
            return worth
        if refusal.failure in SHARED:
            self.refused.setdefault((refusal.failure, refusal.status, refusal.message), set()).add(trouble.who)
        if refusal.failure in ("unreachable", "server"):
            self.breaker.bad(id(trouble), now, down=refusal.failure == "unreachable")
        trouble.until = now + pause(trouble.tries) if not self.breaker.open else 0.0
        waits = (trouble.until - now, self.breaker.wait(now), (refusal.retry_after or 0.0))
        worth = self.worth(trouble, refusal, max(wait for wait in waits if wait < math.inf))
        if worth:
            self.pace.hold(now + (refusal.retry_after or 0.0))
        else:
            self.breaker.rest(now)
        self.tell()
        return worth

    def gone(self, sent: Sent, trouble: Trouble) -> None:
        """It will not come back any more."""
        self.pace.back(sent)
        self.breaker.gone(id(trouble))
        self.tell()

    def tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()
