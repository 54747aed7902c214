"""How patient the gateway is with a provider: one pause for all, and only so many tries."""

import time
from dataclasses import dataclass, field

TRIES = {"rate_limit": 8, "server": 5, "unreachable": 5, "timeout": 2}
LONGEST = 60.0


def pause(failure: str, tries: int, retry_after: float | None) -> float | None:
    """Seconds until the next try, or None when there is none: what will not change by waiting is final at once."""
    if tries >= TRIES.get(failure, 1):
        return None
    wait = retry_after if retry_after is not None else 0.5 * 2.0 ** (tries - 1)
    return wait if wait <= LONGEST else None


@dataclass
class Pauses:
    """Until when each provider has asked us to be quiet. One agent's Retry-After holds for all."""

    until: dict[str, float] = field(default_factory=dict)

    def hold(self, provider: str, seconds: float) -> None:
        self.until[provider] = max(self.until.get(provider, 0.0), time.monotonic() + seconds)

    def left(self, provider: str) -> float:
        return max(0.0, self.until.get(provider, 0.0) - time.monotonic())
