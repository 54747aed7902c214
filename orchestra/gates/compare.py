"""Compare a gate's outcome on a tree with its outcome on the base: what is new, and what cannot be decided. Pure."""

from collections.abc import Collection
from dataclasses import dataclass

from orchestra.gates.failures import Names, line_shape, new_failures
from orchestra.gates.reading import Reading, must_pass, why_not_started
from orchestra.model import Gate

NONE: Names = frozenset()


@dataclass(frozen=True)
class Comparison:
    """`new`: failures that the base did not have.

    `old`: those that it had. `flaky`: failed in one of two runs. `unknown`: fails, and it is not known whether it did
    before. `why`: the base cannot be compared with.
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
    """Compare two readings.

    `second`: another run on the same tree, if there was one. `noise`: shapes of lines that differ from run to run.
    """
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
    def new_names(now: Names) -> Names:
        return frozenset(name for name in new_failures(base.failing, now) if not is_excused(name))

    def is_excused(name: str) -> bool:
        return lacks_same_module(name, first, base, base_files)

    excused = {name for name in first.failing if is_excused(name)}
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
