"""A circuit breaker: while a provider is down nobody asks, but for one probe now and then.

Pure: the time is given. One that cannot be reached is down. One that fails may have failed a single request, so it
takes several failures of more than one request, and no answer in between.
"""

import math
from dataclasses import dataclass, field

SHORTEST_OPEN, LONGEST_OPEN = 0.5, 30.0
FAILURES_TO_OPEN = 3


@dataclass
class CircuitBreaker:
    failing_since: float = math.inf  # the first trouble after the last good answer
    open_until: float = -math.inf
    pause: float = 0.0
    failures: int = 0
    failed_requests: set[int] = field(default_factory=set)
    probe: int | None = None

    @property
    def is_open(self) -> bool:
        return self.pause > 0

    @property
    def has_several_failures(self) -> bool:
        """Whether more than one request is in trouble."""
        return len(self.failed_requests) > 1

    def wait_seconds(self, now: float) -> float:
        """Seconds until somebody may ask; without end while a probe is on its way."""
        if not self.is_open:
            return 0.0
        return math.inf if self.probe is not None else max(0.0, self.open_until - now)

    def record_send(self, ask: int) -> None:
        if self.is_open:
            self.probe = ask

    def record_success(self) -> None:
        self.failing_since, self.open_until, self.pause, self.failures, self.probe = math.inf, -math.inf, 0.0, 0, None
        self.failed_requests.clear()

    def record_failure(self, ask: int, now: float, *, down: bool) -> None:
        """`down`: there is no doubt. What was sent before the breaker opened says nothing new."""
        self.failing_since = min(self.failing_since, now)
        self.failures += 1
        self.failed_requests.add(ask)
        if self.is_open and self.probe != ask:
            return
        if down or self.is_open or (self.failures >= FAILURES_TO_OPEN and self.has_several_failures):
            self.probe = None
            self.pause = min(LONGEST_OPEN, self.pause * 2 or SHORTEST_OPEN)
            self.open_until = now + self.pause

    def postpone_probe(self, now: float) -> None:
        """It was given up: who comes next need not find out the same at once."""
        if self.is_open:
            self.open_until = now + LONGEST_OPEN

    def release_probe(self, ask: int) -> None:
        """The probe was given up before it was answered: somebody else may ask."""
        if self.probe == ask:
            self.probe = None
