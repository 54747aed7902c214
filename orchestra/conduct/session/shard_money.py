"""What jobs of a plan in shards may have spent, although the log that a run begins with does not have it."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from orchestra import events
from orchestra.conduct.session.shard_archives import FetchedShards
from orchestra.events import Event
from orchestra.journal import jsonl
from orchestra.plan.shards import Shards
from orchestra.settings import Settings

LEAST_BUDGET = 1e-6  # dollars; 0 would be no limit
Key = tuple[str | int | float | None, ...]


def limit_to_rest(
    settings: Settings, shards: Shards, fetched: FetchedShards, earlier: Iterable[Iterable[Event]]
) -> Settings:
    """Return the settings with what is left of the budget of the plan, or of the shard. What the archives that are used
    have spent counts when the run begins. Subtracted is what they do not tell: runs in this clone (`earlier`), other
    tries of their shards, and whole shares of shards without one. A --budget given now is another one for all that."""
    whole = settings.budget if settings.shard or settings.source_of("budget") == "flag" else shards.budget
    whole = whole or settings.budget
    if not whole:
        return settings
    known = dollars_by_request(event for archive in fetched.used for event in archive.content.events)
    lost = sum(take_unknown(log, known) for log in earlier)
    for number, shard in enumerate(shards.shard, start=1):
        if number in fetched.numbers:
            others = [archive.content.events for archive in fetched.unused if archive.shard.number == number]
            # A forged archive may tell any amount, but no try has more than its share.
            lost += sum(min(take_unknown(log, known), shard.budget or math.inf) for log in others)
        elif not settings.shard:
            lost += shard.budget
    return settings.with_values(budget=max(round(whole - lost, 6), LEAST_BUDGET))


def earlier_logs(logs: Path, cut: str, shard: str) -> Iterator[Iterable[Event]]:
    """Yield the logs of this clone's runs of the same shard, or of the whole plan in shards if it is empty."""
    for stamp in jsonl.list_run_stamps(logs):
        log = [event.payload for event in jsonl.read_log_file(logs / f"run_{stamp}.jsonl").events]
        made = next((payload for payload in log if isinstance(payload, events.PlanMade)), None)
        started = next((payload for payload in log if isinstance(payload, events.RunStarted)), None)
        if made and started and (made.cut, started.options.get("shard") or "") == (cut, shard):
            yield jsonl.read_run_log(logs, stamp).events


def take_unknown(log: Iterable[Event], known: dict[Key, float]) -> float:
    """Return what the log has spent that is not known, and add it to what is known."""
    unknown = 0.0
    for key, dollars in dollars_by_request(log).items():
        unknown += max(0.0, dollars - known.get(key, 0.0))
        known[key] = max(dollars, known.get(key, 0.0))
    return unknown


def dollars_by_request(log: Iterable[Event]) -> dict[Key, float]:
    """Return what each request cost, or may cost if it has no end, by what it keeps in the log of another run."""
    dollars: dict[Key, float] = {}
    for key, amount in list_costs(log):
        dollars[key] = dollars.get(key, 0.0) + amount
    return dollars


def list_costs(log: Iterable[Event]) -> Iterator[tuple[Key, float]]:
    reserved: dict[int, list[tuple[Key, float]]] = {}
    for event in log:
        match event.payload:
            case events.MoneyReserved() as claim:
                key: Key = ("reserved", event.time, event.task, claim.role, claim.dollars)
                reserved.setdefault(claim.number, []).append((key, claim.dollars))
            case events.RequestEnded() as request:
                reserved.pop(request.number, None)
                key = ("ended", event.time, event.task, request.role, request.identity)
                yield key, request.usage.paid or 0.0
            case events.RunStarted() | events.RunResumed():
                yield from (each for claims in reserved.values() for each in claims)
                reserved.clear()
    yield from (each for claims in reserved.values() for each in claims)
