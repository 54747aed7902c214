"""Whether passing a gate proves anything of the tree, and why not. Pure."""

from orchestra.gates.compare import Comparison
from orchestra.gates.counts import COUNTING_GATES
from orchestra.gates.reading import gate_label, why_not_started
from orchestra.gates.run import GateOutcome


def why_unproven(outcome: GateOutcome, compared: Comparison) -> str:
    """Why a gate without new failures proves nothing of this tree: a clause; empty if it does."""
    gate, counts = outcome.gate, outcome.reading.counts
    if outcome.stale:
        return f"{gate_label(gate)} ran {', '.join(outcome.stale[:3])} from elsewhere than the worktree"
    if compared.unknown and counts.ran and not outcome.reading.ending:
        failing = f"{counts.ran - (counts.passed or 0)} of its {counts.ran} tests fail"
        return f"{failing}, and nothing tells whether they did before, because {compared.why}"
    if compared.why:
        return compared.why
    if gate.kind != "tests":
        by_names = outcome.reading.by_name and gate.kind != "syntax"
        return "" if outcome.passed or by_names else explain_same_failure(outcome)
    if counts.ran == 0 or (counts.ran is None and outcome.passed and gate.name in COUNTING_GATES and not gate.named):
        return why_not_started(gate, outcome.reading) or f"{gate_label(gate)} ran no test"
    if counts.ran is None and not outcome.passed:
        return why_not_started(gate, outcome.reading) or explain_same_failure(outcome)
    if counts.passed == 0:
        return f"none of the {counts.ran} tests passes, and none did before"
    return ""


def explain_same_failure(outcome: GateOutcome) -> str:
    return f"{gate_label(outcome.gate)} fails as it did before: {outcome.reading.cause}"
