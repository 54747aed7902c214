"""Whether passing a gate proves anything of the tree, and why not. Pure."""

from orchestra.gates.compare import Comparison
from orchestra.gates.counts import TELLING
from orchestra.gates.reading import called, why_not_started
from orchestra.gates.run import Outcome


def unproven(outcome: Outcome, compared: Comparison) -> str:
    """Why a gate without new failures proves nothing of this tree: a clause; empty if it does."""
    gate, counts = outcome.gate, outcome.reading.counts
    if outcome.stale:
        return f"{called(gate)} ran {', '.join(outcome.stale[:3])} from elsewhere than the worktree"
    if compared.unknown and counts.ran and not outcome.reading.ending:
        failing = f"{counts.ran - (counts.passed or 0)} of its {counts.ran} tests fail"
        return f"{failing}, and nothing tells whether they did before, because {compared.why}"
    if compared.why:
        return compared.why
    if gate.kind != "tests":
        by_names = outcome.reading.by_name and gate.kind != "syntax"
        return "" if outcome.passed or by_names else why_the_same(outcome)
    if counts.ran == 0 or (counts.ran is None and outcome.passed and gate.name in TELLING and not gate.named):
        return why_not_started(gate, outcome.reading) or f"{called(gate)} ran no test"
    if counts.ran is None and not outcome.passed:
        return why_not_started(gate, outcome.reading) or why_the_same(outcome)
    if counts.passed == 0:
        return f"none of the {counts.ran} tests passes, and none did before"
    return ""


def why_the_same(outcome: Outcome) -> str:
    return f"{called(outcome.gate)} fails as it did before: {outcome.reading.cause}"
