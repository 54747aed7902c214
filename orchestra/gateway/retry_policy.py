"""When the gateway goes on asking a provider that does not serve us, and when no more. Pure."""

from dataclasses import dataclass

NEW_SECONDS = 8.0  # seconds for one that has never answered: a wrong address, or nothing there
NEW_LIMITED_SECONDS = 60.0  # and for one that says "too many requests" to the very first one
LIMITED_SECONDS = (
    600.0  # for one that has served us, without a reply in between; and the longest that it may ask to wait
)
ALONE_SECONDS = 60.0  # for one that fails while nobody else asks
MAX_TRIES = 5
MAX_LOSSES = 2
SHORTEST_RETRY_PAUSE, LONGEST_RETRY_PAUSE = 0.5, 30.0
MAX_TIMEOUTS = 2


@dataclass(frozen=True)
class FailureEvidence:
    """What is known when a request has failed. Times are seconds."""

    failure: str
    provider_answered: bool  # the provider has answered something in this run, were it a refusal
    model_served: bool  # the model has replied to somebody in this run
    others_served: bool  # and to somebody else since this request failed first
    others_fail: bool  # others fail as well, and nobody is served
    tries: int  # failures of this request so far
    losses: int  # of them in the middle of a reply
    model_seconds: float  # since the trouble of the model began, until the next try
    request_seconds: float  # since the trouble of this request began, until the next try
    retry_after: float | None = None  # how long the provider asks to wait


def is_worth_retrying(evidence: FailureEvidence, outage: float) -> bool:
    """The rule, on the evidence that there is. `outage` is how long a provider that worked may be down.

    - What will not change by waiting (key, credit, a bad request, garbage) is final at once.
    - Too many requests: it is waited for as long as it is the others' turn, that is as long as somebody is served.
    - Nothing there, though it has answered before: the provider is down. The run survives that for as long as an
      attempt may take. If it has never answered, that is eight seconds.
    - It fails. Where others fail too and nobody is served, it is down as well. Where others are served, it is this
      request: five tries. Where nobody else asks, nobody knows: a minute.
    - A reply that was lost in its middle is paid for, probably: it is asked for once more.
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
    """Before the same request is sent again."""
    return min(LONGEST_RETRY_PAUSE, SHORTEST_RETRY_PAUSE * 2.0 ** (tries - 1))
