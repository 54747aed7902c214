"""The rule when to retry a failed request and when to give up. Pure."""

from dataclasses import dataclass

NEW_SECONDS = 8.0  # seconds for a provider that has never answered: a wrong address, or nothing there
NEW_LIMITED_SECONDS = 60.0  # and for one that refuses the very first request as too many
LIMITED_SECONDS = 600.0  # for one that has replied before; also the longest Retry-After that is obeyed
ALONE_SECONDS = 60.0  # for one that fails while there are no other requests
MAX_TRIES = 5
MAX_LOSSES = 2
SHORTEST_RETRY_PAUSE, LONGEST_RETRY_PAUSE = 0.5, 30.0
MAX_TIMEOUTS = 2


@dataclass(frozen=True)
class FailureEvidence:
    """What is known when a request has failed. Times are in seconds."""

    failure: str
    provider_answered: bool  # the provider has answered in this run, even by a refusal
    model_served: bool  # the model has replied in this run
    others_served: bool  # the model has replied to others since this request first failed
    others_fail: bool  # other requests fail too, and none is answered
    tries: int  # failures of this request so far
    losses: int  # of these, replies that broke off
    model_seconds: float  # since the model's failures began, until the next try
    request_seconds: float  # since this request's failures began, until the next try
    retry_after: float | None = None  # how long the provider asks to wait


def is_worth_retrying(evidence: FailureEvidence, outage: float) -> bool:
    """Decide whether to retry. `outage`: how long a provider that worked may be down.

    - What waiting cannot change (key, credit, a bad request, garbage) is final at once.
    - Too many requests: wait as long as other requests are answered.
    - Unreachable after it has answered before: the provider is down. Wait as long as an attempt may take. If it has
      never answered: eight seconds.
    - It fails. If others fail too and none is answered, it is down as well. If others are answered, it is this request:
      five tries. If there are no others, a minute.
    - A reply that broke off is probably paid: ask once more.
    """
    if (evidence.retry_after or 0.0) > LIMITED_SECONDS:
        return False
    if evidence.failure == "rate_limit":
        return evidence.model_seconds <= (
            LIMITED_SECONDS if evidence.model_served or evidence.retry_after is not None else NEW_LIMITED_SECONDS
        )
    if evidence.failure == "timeout":
        return evidence.tries < MAX_TIMEOUTS
    if evidence.failure not in ("unreachable", "server") or evidence.losses >= MAX_LOSSES:
        return False
    if not evidence.provider_answered:
        return evidence.model_seconds <= NEW_SECONDS
    if evidence.failure == "unreachable" or (evidence.others_fail and not evidence.others_served):
        return evidence.model_seconds <= outage
    if evidence.others_served:
        return evidence.tries < MAX_TRIES
    return evidence.request_seconds <= min(ALONE_SECONDS, outage)


def retry_pause(tries: int) -> float:
    """Return the pause before the same request is sent again."""
    return min(LONGEST_RETRY_PAUSE, SHORTEST_RETRY_PAUSE * 2.0 ** (tries - 1))
