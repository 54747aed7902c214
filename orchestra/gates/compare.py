"""Compare a gate's outcome on a tree with its outcome on the base: what is new, and what passing proves. Pure."""

from collections.abc import Collection
from dataclasses import dataclass

from orchestra.gates.reading import (
    Names,
    Reading,
    gate_label,
    line_shape,
    must_pass,
    new_failures,
    ran_no_test,
    why_not_started,
)
from orchestra.gates.run import GateOutcome
from orchestra.model import Gate

NONE: Names = frozenset()


@dataclass(frozen=True)
class Comparison:
    """The failures by what the base's tell about them.

    `new`: the base does not have them. `old`: it has them. `flaky`: failed in one of two runs. `unknown`: the base
    cannot be compared with, for the reason `why`.
    """

    new: Names = NONE
    old: Names = NONE
    flaky: Names = NONE
    unknown: Names = NONE
    why: str = ""


def compare_readings(
    gate: Gate,
    first: Reading,
    base: Reading,
    *,
    second: Reading | None = None,
    base_files: Collection[str] = (),
    noise: Names = NONE,
) -> Comparison:
    """Compare a reading with the base's. `second`: of another run on the same tree. `noise`: see `noise_between`."""
    if not first.failing:
        return Comparison()
    second = second or first
    if why := why_not_started(gate, base):
        # A detected gate that cannot start on the base is dropped; a demanded one that can start now has nothing to be
        # compared with. Neither is blamed on the change.
        if not gate.named or not (why_not_started(gate, first) or must_pass(gate, first)):
            return Comparison(unknown=first.failing, why=why)
        comparison = compare_lines(first, base, second, noise)
        return comparison if comparison.new else Comparison(old=comparison.old, flaky=comparison.flaky, why=why)
    if base.failing and not (base.by_name or must_pass(gate, base)):
        return compare_lines(first, base, second, noise)
    return compare_names(first, base, second, base_files)


def compare_names(first: Reading, base: Reading, second: Reading, base_files: Collection[str]) -> Comparison:
    failing = first.failing | second.failing
    excused = {name for name in failing if lacks_same_module(name, first, base, base_files)}

    def new_names(now: Names) -> Names:
        return new_failures(base.failing, now) - excused

    # Two runs that fail in different ways are no good sign either.
    new = new_names(first.failing & second.failing) or new_names(second.failing)
    return Comparison(new, first.failing & (base.failing | excused) - new, new_names(first.failing ^ second.failing))


def lacks_same_module(name: str, now: Reading, base: Reading, base_files: Collection[str]) -> bool:
    """Whether a failure is due to a module that this machine lacks, as on the base: in a test file that could not be
    loaded there, or in a new file."""
    file, _, _ = name.partition("::")
    if file in base.lacking and file in base.failing:
        return True
    lacks = now.lacking.get(file)
    return bool(lacks and lacks <= base.missing) and name == file and file not in base_files


def compare_lines(first: Reading, base: Reading, second: Reading, noise: Names) -> Comparison:
    """Compare by printed lines, without those that differ between two runs of the same tree."""

    def new_lines(now: Names) -> Names:
        return frozenset(line for line in now - base.complaints if line_shape(line) not in noise)

    new = new_lines(first.complaints & second.complaints) or new_lines(second.complaints)
    if new and first.by_name and not base.by_name:
        new = first.failing & second.failing or second.failing
    return Comparison(new, NONE if new else first.failing, new_lines(first.complaints ^ second.complaints))


def noise_between(one: Reading, two: Reading) -> Names:
    """Return the shapes of the lines that differ between two runs of the same tree."""
    return frozenset(line_shape(line) for line in one.complaints ^ two.complaints)


def why_unproven(outcome: GateOutcome, compared: Comparison) -> str:
    """Return why a gate without new failures proves nothing about this tree (a clause); empty if it does."""
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
    if ran_no_test(gate, outcome.reading):
        return why_not_started(gate, outcome.reading) or f"{gate_label(gate)} ran no test"
    if counts.ran is None and not outcome.passed:
        return why_not_started(gate, outcome.reading) or explain_same_failure(outcome)
    if counts.passed == 0:
        return f"none of the {counts.ran} tests passes, and none did before"
    return ""


def explain_same_failure(outcome: GateOutcome) -> str:
    return f"{gate_label(outcome.gate)} fails as it did before: {outcome.reading.cause}"
