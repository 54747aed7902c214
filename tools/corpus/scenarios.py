"""All scenarios: importing their modules registers them."""

from tools.corpus import gates, handover, limits, people, plans, verdicts
from tools.corpus.stage import SCENARIOS

__all__ = ["SCENARIOS", "gates", "handover", "limits", "people", "plans", "verdicts"]
