"""When the gateway goes on asking a provider that does not serve us, and when no more. Pure."""

from dataclasses import dataclass

NEW = 8.0  # seconds for one that has never answered: a wrong address, or nothing there
NEW_LIMITED = 60.0  # and for one that says "too many requests" to the very first one
LIMITED = 600.0  # for one that has served us, without a reply in between; and the longest that it may ask to wait
ALONE = 60.0  # for one that fails while nobody else asks
TRIES = 5
LOSSES = 2
SHORTEST, LONGEST = 0.5, 30.0
SILENCES = 2


@dataclass(frozen=True)
class Evidence:
    """What is known when a request has failed. Times are seconds."""

    failure: str
    known: bool  # the provider has answered something in this run, were it a refusal
    served: bool  # the model has replied to somebody in this run
    served_since: bool  # and to somebody else since this request failed first
    several: bool  # others fail as well, and nobody is served
    tries: int  # failures of this request so far
    losses: int  # of them in the middle of a reply
    lasting: float  # since the trouble of the model began, until the next try
    own: float  # since the trouble of this request began, until the next try
    told: float | None = None  # how long the provider asks to wait


def goes_on(seen: Evidence, outage: float) -> bool:
    """The rule, on the evidence that there is. `outage` is how long a provider that worked may be down.

    - What will not change by waiting (key, credit, a bad request, garbage) is final at once.
    - Too many requests: it is waited for as long as it is the others' turn, that is as long as somebody is served.
    - Nothing there, though it has answered before: the provider is down. The run survives that for as long as an
      attempt may take. If it has never answered, that is eight seconds.
    - It fails. Where others fail too and nobody is served, it is down as well. Where others are served, it is this
      request: five tries. Where nobody else asks, nobody knows: a minute.
    - A reply that was lost in its middle is paid for, probably: it is asked for once more.
    """
    if (seen.told or 0.0) > LIMITED:
        return False
    if seen.failure == "rate_limit":
        return seen.lasting <= (LIMITED if seen.served or seen.told is not None else NEW_LIMITED)
    if seen.failure == "timeout":
        return seen.tries < SILENCES
    if seen.failure not in ("unreachable", "server") or seen.losses >= LOSSES:
        return False
    if not seen.known:
        return seen.lasting <= NEW
    if seen.failure == "unreachable" or (seen.several and not seen.served_since):
        return seen.lasting <= outage
    if seen.served_since:
        return seen.tries < TRIES
    return seen.own <= min(ALONE, outage)


def pause(tries: int) -> float:
    """Before the same request is sent again."""
    return min(LONGEST, SHORTEST * 2.0 ** (tries - 1))
