"""What all requests of a run share: the money, and a lane to each model."""

import itertools
from collections.abc import Mapping

from orchestra.gateway.budget import Budget
from orchestra.gateway.lane import Lane
from orchestra.gateway.pace import Pace
from orchestra.providers import catalogue

OUTAGE_SECONDS = 1800.0
LONGEST_ANSWER_SECONDS = 1800.0


class Limits:
    """`outage` is how long a provider that worked may be down, `longest` how long one whole answer may take."""

    def __init__(
        self,
        budget: Budget | None = None,
        *,
        prices: Mapping[str, catalogue.Model] | None = None,
        per_minute: int = 0,
        outage: float = OUTAGE_SECONDS,
        longest: float = LONGEST_ANSWER_SECONDS,
    ) -> None:
        self.budget = budget or Budget()
        self.models = dict(prices or {})
        self.per_minute = per_minute
        self.outage = outage
        self.longest = longest
        self.lanes: dict[tuple[str, str], Lane] = {}
        self.numbers = itertools.count(1)
        self.known: set[str] = set()

    def model_for(self, provider: str, name: str) -> catalogue.Model:
        full = f"{provider}/{name or 'unnamed'}"
        if full not in self.models:
            self.models[full] = catalogue.resolve_model(full)
        return self.models[full]

    def lane_for(self, provider: str, model: str) -> Lane:
        if (provider, model) not in self.lanes:
            self.lanes[provider, model] = Lane(provider, self.outage, self.known, Pace(self.per_minute))
        return self.lanes[provider, model]
