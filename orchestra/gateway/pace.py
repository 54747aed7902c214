"""How fast a model may be asked: a rate that is learned from its refusals, and how many requests may be on their way.

Pure: the time is given. Few providers say how much they take, so it is found out at the price of as few refusals as
possible. The first requests go out a little apart, then ever faster. The first refusal (429) says how many were taken
in the second before it; from then on requests go evenly spaced, a little below that rate, which falls with each further
refusal and rises slowly with each reply. What a provider tells, and `--rpm`, counts before what is learned.
"""

import math
from collections import deque
from dataclasses import dataclass

FIRST_RATE = 12.0  # per second, as long as nothing is known: a refusal shall come back before all agents have asked
DOUBLING_SECONDS = 1.0  # seconds in which that becomes twice as much
UNLIMITED_RATE = 400.0  # from here on nothing is held back
LIMIT_WINDOW = 1.0  # most limits that refuse without a word of how long are per second
WINDOW_MARGIN = 0.15  # the way there takes its time, and the first request has a connection to open
LATE_SECONDS = 0.05
SAFE_SHARE = 0.93  # how near to a limit we go
REFUSED_FACTOR = 0.75
SEARCH_GROWTH, NEAR_GROWTH, QUIET_GROWTH = 1.3, 1.005, 1.05  # how much faster after each reply
CONCURRENCY_GROWTH = 0.125  # how fast more are let on their way at once
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
        self.learned = 0  # from so many of them
        self.replies = 0
        self.searching = False
        self.turned = -math.inf  # when the rate was lowered last
        self.in_vain = 0  # refusals since the last reply, of requests that went alone
        self.most = math.inf  # requests on their way at once
        self.next = -math.inf
        self.held = -math.inf  # not before this moment
        self.probe_from = math.inf  # after this moment one request goes alone, until one is served
        self.away: set[SentRequest] = set()
        self.recent: deque[SentRequest] = deque(maxlen=1000)

    def wait_seconds(self, now: float) -> float:
        """Seconds until the next request may go; without end where first another one must come back."""
        if len(self.away) + 1 > self.most or (self.away and now >= self.probe_from):
            return math.inf
        return max(0.0, self.next - now, self.held - now)

    def record_send(self, now: float) -> SentRequest:
        """Turns that nobody took are not saved up: evenly spaced requests are what every kind of limit takes."""
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
        """It came back, however."""
        self.away.discard(sent)

    def hold_until(self, until: float) -> None:
        self.held = max(self.held, until)
        self.next = max(self.next, self.held)

    def hold_for_probe(self, until: float) -> None:
        self.hold_until(until)
        self.probe_from = until

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
        """`told` is how long the provider asks to wait, which is better than any guess of ours."""
        self.record_return(sent)
        sent.refused = True
        before = [one for one in self.recent if sent.at - LIMIT_WINDOW < one.at < sent.at and not one.refused]
        pause = 0.0
        if sent.at > self.turned:
            pause = self.slow_down(before, now)
        elif self.learned == 1 and before:
            # Another one of the same burst: had it been sent before the first, it says more.
            self.rate = min(self.rate, len(before) * SAFE_SHARE)
        self.hold_until(now + (pause if retry_after is None else retry_after))

    def slow_down(self, before: list[SentRequest], now: float) -> float:
        """A lower rate, and the pause until it may be tried."""
        self.turned = now
        if before:
            self.learned += 1
            self.rate = len(before) * SAFE_SHARE if self.learned == 1 else self.rate * REFUSED_FACTOR
            # After only one: it may be that any number is taken as long as they are spaced. So look for it from below.
            self.searching = self.learned == 1 and len(before) == 1
            return before[0].at + LIMIT_WINDOW + WINDOW_MARGIN - now
        if self.away:
            # Not too many a second, so too many at once, as far as one can tell.
            self.most = len(self.away)
            return LATE_SECONDS
        self.learned += 1
        self.in_vain += 1
        self.searching = False
        self.rate = min(self.rate, FIRST_RATE) / 2
        return min(LONGEST_HOLD, LIMIT_WINDOW * 2.0 ** (self.in_vain - 1))
