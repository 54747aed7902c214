"""A circuit breaker: while a provider is down nobody asks, but for one probe now and then.

Pure: the time is given. One that cannot be reached is down. One that fails may have failed a single request, so it
takes several failures of more than one request, and no answer in between.
"""

import math
from dataclasses import dataclass, field

SHORTEST, LONGEST = 0.5, 30.0
ENOUGH = 3


@dataclass
class Breaker:
    since: float = math.inf  # the first trouble after the last good answer
    until: float = -math.inf
    pause: float = 0.0
    failures: int = 0
    asks: set[int] = field(default_factory=set)
    probe: int | None = None

    @property
    def open(self) -> bool:
        return self.pause > 0

    @property
    def several(self) -> bool:
        """Whether more than one request is in trouble."""
        return len(self.asks) > 1

    def wait(self, now: float) -> float:
        """Seconds until somebody may ask; without end while a probe is on its way."""
        if not self.open:
            return 0.0
        return math.inf if self.probe is not None else max(0.0, self.until - now)

    def send(self, ask: int) -> None:
        if self.open:
            self.probe = ask

    def good(self) -> None:
        self.since, self.until, self.pause, self.failures, self.probe = math.inf, -math.inf, 0.0, 0, None
        self.asks.clear()

    def bad(self, ask: int, now: float, *, down: bool) -> None:
        """`down`: there is no doubt. What was sent before the breaker opened says nothing new."""
        self.since = min(self.since, now)
        self.failures += 1
        self.asks.add(ask)
        if self.open and self.probe != ask:
            return
        if down or self.open or (self.failures >= ENOUGH and self.several):
            self.probe = None
            self.pause = min(LONGEST, self.pause * 2 or SHORTEST)
            self.until = now + self.pause

    def rest(self, now: float) -> None:
        """It was given up: who comes next need not find out the same at once."""
        if self.open:
            self.until = now + LONGEST

    def gone(self, ask: int) -> None:
        """The probe was given up before it was answered: somebody else may ask."""
        if self.probe == ask:
            self.probe = None
