"""All scenarios: importing their modules registers them."""

from tools.corpus import verdicts
from tools.corpus.stage import SCENARIOS

__all__ = ["SCENARIOS", "verdicts"]
