"""Hold what a gate said of a tree against what it said of the base: what is new, and what cannot be told. Pure."""

from collections.abc import Collection
from dataclasses import dataclass

from orchestra.gates.failures import Names, line_shape, new_failures
from orchestra.gates.reading import Reading, must_pass, why_not_started
from orchestra.model import Gate

NONE: Names = frozenset()


@dataclass(frozen=True)
class Comparison:
    """`new` is what the base did not have, `old` what it had, `flaky` what failed once and not the other time.
    `unknown` fails, and nothing tells whether it did before; `why`: the base is nothing to compare with."""

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
    """`second` is another run on the same tree, if there was one. `noise` are the shapes of lines that differ from run
    to run."""
    if not first.failing:
        return Comparison()
    second = second or first
    if why := why_not_started(gate, base):
        # A gate that was only found in the repository is none if it cannot start there; a named one that can start
        # now has nothing to be compared with. Neither is put down to the change.
        if not gate.named or not (why_not_started(gate, first) or must_pass(gate, first)):
            return Comparison(unknown=first.failing, why=why)
        said = compare_lines(first, base, second, noise)
        return said if said.new else Comparison(old=said.old, flaky=said.flaky, why=why)
    if base.failing and not (base.by_name or must_pass(gate, base)):
        return compare_lines(first, base, second, noise)
    return compare_names(first, base, second, base_files)


def compare_names(first: Reading, base: Reading, second: Reading, base_files: Collection[str]) -> Comparison:
    def new_names(now: Names) -> Names:
        return frozenset(name for name in new_failures(base.failing, now) if not is_excused(name))

    def is_excused(name: str) -> bool:
        return lacks_same_module(name, first, base, base_files)

    excused = {name for name in first.failing if is_excused(name)}
    # If it failed twice, each time in another way, that is no good sign either.
    new = new_names(first.failing & second.failing) or new_names(second.failing)
    return Comparison(new, first.failing & (base.failing | excused) - new, new_names(first.failing ^ second.failing))


def lacks_same_module(name: str, now: Reading, base: Reading, base_files: Collection[str]) -> bool:
    """Whether a failure is put down to a module that this machine has not, as it had not on the base: of a test in a
    file that could not be loaded there, or of a new file."""
    file, _, _ = name.partition("::")
    if file in base.lacking and file in base.failing:
        return True
    lacks = now.lacking.get(file)
    return bool(lacks and lacks <= base.missing) and name == file and file not in base_files


def compare_lines(first: Reading, base: Reading, second: Reading, noise: Names) -> Comparison:
    """By what was printed, without what differs between two runs of the same tree."""

    def new_lines(now: Names) -> Names:
        return frozenset(line for line in now - base.complaints if line_shape(line) not in noise)

    new = new_lines(first.complaints & second.complaints) or new_lines(second.complaints)
    if new and first.by_name and not base.by_name:
        new = first.failing & second.failing or second.failing
    return Comparison(new, NONE if new else first.failing, new_lines(first.complaints ^ second.complaints))


def noise_between(one: Reading, two: Reading) -> Names:
    """The shapes of the lines that differ between two runs of the same tree."""
    return frozenset(line_shape(line) for line in one.complaints ^ two.complaints)
