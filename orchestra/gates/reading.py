"""What one run of a gate tells: what fails, how many tests ran, and what is missing if it could not start. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from orchestra.gates.causes import find_cause, is_own_module, missing_by_file, missing_modules
from orchestra.gates.counts import COUNTING_GATES, Counts, count_tests
from orchestra.gates.failures import (
    OPAQUE,
    Names,
    clean_lines,
    describe_end,
    failing_lines,
    find_complaints,
    read_failure_names,
)
from orchestra.model import Gate

# A file or package that could not be loaded, which is no test: pytest and node, unittest, jest, go.
NOT_LOADED = re.compile(r"^[^:>]*(?:\.py|\.[cm]?[jt]sx?)\]?$|unittest\.loader\._FailedTest|> Test suite failed to run$")


@dataclass(frozen=True)
class Reading:
    """`failing` is empty only if the gate passed. `by_name`: it holds names that stay the same in another run, because
    a reader knows the format. `complaints` are the lines that say what is wrong, for outputs without names."""

    failing: Names = frozenset()
    by_name: bool = False
    counts: Counts = field(default_factory=Counts)
    complaints: Names = frozenset()
    cause: str = ""
    begins: bool = True  # unless the cause is one for not beginning at all
    silent: bool = False  # it failed without a word
    ending: str = ""  # if it was ended from outside
    # Modules that were not found: of others, in all and by the file that needs them, and whether the project's own are.
    missing: frozenset[str] = frozenset()
    lacking: Mapping[str, frozenset[str]] = field(default_factory=dict)
    lacks_own: bool = False


def read_output(
    printed: str, code: int, *, roots: Iterable[str] = (), files: Collection[str] = (), timed_out: bool = False
) -> Reading:
    """`roots` are the paths under which the gate knew its tree, `files` those of the project."""
    lines = clean_lines(printed, roots)
    counts, ending = count_tests(lines), describe_end(code, timed_out)
    if code == 0 and not timed_out:
        return Reading(counts=counts)
    names = read_failure_names(lines)
    if names and not counts.passed and all(map(NOT_LOADED.search, names)):
        counts = Counts(0, 0)
    failing = names | ({ending} if ending else set())
    missing = missing_modules(lines)
    cause, cannot_start = find_cause(lines)
    foreign = frozenset(name for name in missing if not is_own_module(name, files))
    return Reading(
        failing=frozenset(failing or failing_lines(lines) or {f"{OPAQUE}{code}"}),
        by_name=bool(names),
        counts=counts,
        complaints=find_complaints(lines, ending or f"{OPAQUE}{code}"),
        cause=cause or f"{OPAQUE}{code}, and it printed nothing",
        begins=not cannot_start,
        silent=not (ending or any(line.strip() for line in lines)),
        ending=ending,
        missing=foreign,
        lacking={file: lacks & foreign for file, lacks in missing_by_file(lines).items() if lacks <= foreign},
        lacks_own=missing != foreign,
    )


def why_not_started(gate: Gate, reading: Reading) -> str:
    """Why a run says nothing of the code: the gate could not begin, or nothing tells what it checked. A sentence
    without its end; empty if the run says something."""
    ran, name = reading.counts.ran, gate_label(gate)
    if reading.ending:
        return f"{name} {reading.ending if reading.ending.startswith('did') else f'was {reading.ending}'}"
    if not reading.failing:
        told_none = ran == 0 or (ran is None and gate.name in COUNTING_GATES and not gate.named)
        return f"{name} ran no test" if gate.kind == "tests" and told_none else ""
    if can_be_compared(gate, reading) or must_pass(gate, reading):
        return ""
    if ran == 0:
        return f"{name} ran no test" if NO_TEST.search(reading.cause) else f"{name} could run no test: {reading.cause}"
    began = reading.begins and gate.kind == "tests"
    return f"{name} {'failed and named no test' if began else 'could not start'}: {reading.cause}"


def gate_label(gate: Gate) -> str:
    return "the command" if gate.name == gate.kind == "tests" else gate.name


def can_be_compared(gate: Gate, reading: Reading) -> bool:
    """Whether the failures of a run are those of the code, so that others are new."""
    if gate.kind != "tests":
        return reading.by_name or gate.named
    if reading.lacks_own and not reading.missing:
        return True  # a test of what is still to be written
    return bool(reading.counts.ran) or (reading.by_name and reading.counts.ran is None)


def must_pass(gate: Gate, reading: Reading) -> bool:
    """Whether a command that was asked for says nothing but its exit code, as `test -f` and `grep -q` do. There is
    nothing to compare, so it must pass, unless it is a test runner, which has more to say if it can start."""
    return gate.named and reading.silent and not RUNNER.search(gate.command)


RUNNER = re.compile(
    r"\b(?:pytest|py\.test|unittest|nose2?|tox|nox|npm|npx|pnpm|yarn|jest|vitest|mocha|ava|go|cargo|make|ctest|gradlew?|"
    r"mvnw?|sbt|rspec|rake|phpunit|dotnet|bazel|manage\.py)\b"
)
NO_TEST = re.compile(r"^no tests? |^Ran 0 tests|no test files|^NO TESTS RAN|^\d+ (?:deselected|skipped)", re.IGNORECASE)
