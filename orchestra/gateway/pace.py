"""The pace of requests to a model: a rate learned from refusals, and a limit of requests in flight.

Pure: the time is passed in. Few providers publish their limits, so they are found out with as few refusals as possible.
The first requests go a little apart, then ever faster. The first refusal (429) shows how many were accepted in the
second before it. From then on requests are evenly spaced a little below that rate, which falls with each further
refusal and rises slowly with each reply. A provider's own word and `--rpm` count before what is learned.
"""

import math
from collections import deque
from dataclasses import dataclass

FIRST_RATE = 12.0  # per second, before anything is known: a refusal must arrive before all agents have asked
DOUBLING_SECONDS = 1.0  # seconds in which that doubles
UNLIMITED_RATE = 400.0  # from here on there is no limit
LIMIT_WINDOW = 1.0  # most limits without a stated time are per second
WINDOW_MARGIN = 0.15  # for the way there, and for opening the first connection
LATE_SECONDS = 0.05
SAFE_SHARE = 0.93  # of a known limit that is used
REFUSED_FACTOR = 0.75
SEARCH_GROWTH, NEAR_GROWTH, QUIET_GROWTH = 1.3, 1.005, 1.05  # how much faster after each reply
CONCURRENCY_GROWTH = 0.125  # how fast the limit of requests in flight grows
QUIET_SECONDS = 30.0  # seconds without a refusal, after which the limit may have changed
LONGEST_HOLD = 30.0


@dataclass(eq=False)
class SentRequest:
    at: float
    refused: bool = False


class Pace:
    def __init__(self, per_minute: int = 0) -> None:
        self.apart = 60.0 / per_minute if per_minute else 0.0
        self.began = math.inf
        self.rate = math.inf  # as learned from refusals
        self.learned = 0  # the number of these refusals
        self.replies = 0
        self.searching = False
        self.turned = -math.inf  # when the rate was lowered last
        self.in_vain = 0  # refusals since the last reply, of requests that went alone
        self.most = math.inf  # requests in flight
        self.next = -math.inf
        self.held = -math.inf  # no request before this time
        self.probe_from = math.inf  # after this time one request goes alone, until one is answered
        self.away: set[SentRequest] = set()
        self.recent: deque[SentRequest] = deque(maxlen=1000)

    def wait_seconds(self, now: float) -> float:
        """Return the seconds until the next request may go; inf while a probe is in flight."""
        if len(self.away) + 1 > self.most or (self.away and now >= self.probe_from):
            return math.inf
        return max(0.0, self.next - now, self.held - now)

    def record_send(self, now: float) -> SentRequest:
        """Record a sent request. Unused turns are not saved up: every kind of limit accepts evenly spaced requests."""
        sent = SentRequest(now)
        self.away.add(sent)
        self.recent.append(sent)
        self.began = min(self.began, now)
        rate = self.rate if self.learned else self.starting_rate(now)
        due = self.next if self.next > now - LATE_SECONDS else now
        self.next = due + max(self.apart, 0.0 if rate >= UNLIMITED_RATE else 1 / rate)
        return sent

    def starting_rate(self, now: float) -> float:
        doubled = min(60.0, (now - self.began) / DOUBLING_SECONDS + self.replies)
        return FIRST_RATE * math.exp2(doubled)

    def record_return(self, sent: SentRequest) -> None:
        """Record that a request came back, with whatever result."""
        self.away.discard(sent)

    def hold_until(self, until: float) -> None:
        self.held = max(self.held, until)
        self.next = max(self.next, self.held)

    def record_served(self, sent: SentRequest, now: float) -> None:
        self.record_return(sent)
        if sent.at >= self.probe_from:
            self.probe_from = math.inf
        self.replies += 1
        self.in_vain = 0
        self.most += CONCURRENCY_GROWTH / self.most
        if sent.at > self.turned:
            self.rate *= (
                SEARCH_GROWTH if self.searching else NEAR_GROWTH if now - self.turned < QUIET_SECONDS else QUIET_GROWTH
            )

    def record_refusal(self, sent: SentRequest, now: float, retry_after: float | None = None) -> None:
        """Record a refusal. `retry_after`: how long the provider asks to wait, which beats any guess."""
        self.record_return(sent)
        sent.refused = True
        accepted = [one for one in self.recent if sent.at - LIMIT_WINDOW < one.at < sent.at and not one.refused]
        pause = 0.0
        if sent.at > self.turned:
            pause = self.slow_down(accepted, now)
        elif self.learned == 1 and accepted:
            # Another request of the same burst: if it was sent before the first refused one, it says more.
            self.rate = min(self.rate, len(accepted) * SAFE_SHARE)
        self.hold_until(now + (pause if retry_after is None else retry_after))

    def slow_down(self, accepted: list[SentRequest], now: float) -> float:
        """Lower the rate, and return the pause before it is tried."""
        self.turned = now
        if accepted:
            self.learned += 1
            self.rate = len(accepted) * SAFE_SHARE if self.learned == 1 else self.rate * REFUSED_FACTOR
            # Only one was accepted, so any number may be accepted if spaced: search from below.
            self.searching = self.learned == 1 and len(accepted) == 1
            return accepted[0].at + LIMIT_WINDOW + WINDOW_MARGIN - now
        if self.away:
            # Not too many per second, so probably too many at once.
            self.most = len(self.away)
            return LATE_SECONDS
        self.learned += 1
        self.in_vain += 1
        self.searching = False
        self.rate = min(self.rate, FIRST_RATE) / 2
        return min(LONGEST_HOLD, LIMIT_WINDOW * 2.0 ** (self.in_vain - 1))
