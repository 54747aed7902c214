"""Read one run of a gate: what fails, how many tests ran, and what is missing if it could not start. Pure."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from orchestra.gates.causes import find_cause, is_own_module, missing_by_file, missing_modules
from orchestra.gates.readers import CHECK_READERS, TEST_READERS, Counts, Lines, count_tests
from orchestra.model import Gate

Names = frozenset[str]
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\r(?=\n)")
BAD_WORDS = re.compile(
    r"(?:error|exception)s?\b|\*\*\*|\b(?:fail|failed|failure|fatal|panic|cannot|not found|traceback|no such file|"
    r"no module named|no rule|missing|denied|refused|unrecognized|not installed)\b",
    re.IGNORECASE,
)
# What differs between two runs of the same tree.
FLEETING = (
    (re.compile(r"0x[0-9a-fA-F]+"), "0x…"),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE), "<uuid>"),
    (re.compile(r"\bseed\b(\W{1,3}(?:is )?)[0-9a-fx]+\b", re.IGNORECASE), r"seed\1<seed>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T _]\d\d[:_]\d\d[:_]\d\d[\d.,_]*(?:Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b"), "<time>"),
    (re.compile(r"\b\d+(?:\.\d+)?\s?(?:ms|µs|us|ns|s|sec|seconds?|minutes?)\b"), "<duration>"),
    (re.compile(r"(?<=\w):\d+(?::\d+)?\b"), ""),
    (re.compile(r"(?:/private)?(?:/var/folders|/var/tmp|/tmp)/[^\s:'\"),]+"), "<temporary>"),
    (re.compile(r"\bline \d+\b", re.IGNORECASE), "line"),
    (re.compile(r"\b(?:pid|process|thread)[ =:]+\d+", re.IGNORECASE), "<process>"),
)
# More passing tests are no new failure; the number of failing ones stays.
GOOD_COUNT = re.compile(r"\b\d+(?= (?:tests?|passed|passing|ok|skipped|total|successful|succeeded)\b)")
MOST_LINES = 200
MOST_ERRORS = 1_000
OPAQUE = "exit code "
# Detected gates whose runner always prints how many tests it ran. If it prints none, none ran.
COUNTING_GATES = frozenset({"pytest", "unittest", "go test", "cargo test"})
# A file or package that could not be loaded, which is no test: pytest and node, unittest, jest, go.
NOT_LOADED = re.compile(r"^[^:>]*(?:\.py|\.[cm]?[jt]sx?)\]?$|unittest\.loader\._FailedTest|> Test suite failed to run$")
RUNNER = re.compile(
    r"\b(?:pytest|py\.test|unittest|nose2?|tox|nox|npm|npx|pnpm|yarn|jest|vitest|mocha|ava|go|cargo|make|ctest|gradlew?|"
    r"mvnw?|sbt|rspec|rake|phpunit|dotnet|bazel|manage\.py)\b"
)
NO_TEST = re.compile(r"^no tests? |^Ran 0 tests|no test files|^NO TESTS RAN|^\d+ (?:deselected|skipped)", re.IGNORECASE)


@dataclass(frozen=True)
class Reading:
    """`failing` is empty only if the gate passed.

    `by_name`: a known format, so the names stay the same in another run. `complaints`: error lines of outputs without
    names.
    """

    failing: Names = frozenset()
    by_name: bool = False
    counts: Counts = field(default_factory=Counts)
    complaints: Names = frozenset()
    cause: str = ""
    begins: bool = True  # unless the cause kept it from starting
    silent: bool = False  # it failed without output
    ending: str = ""  # set if it was ended from outside
    # Missing modules of others, in all and by file, and whether the project's own are missing.
    missing: frozenset[str] = frozenset()
    lacking: Mapping[str, frozenset[str]] = field(default_factory=dict)
    lacks_own: bool = False


def read_output(
    printed: str, code: int, *, roots: Iterable[str] = (), files: Collection[str] = (), timed_out: bool = False
) -> Reading:
    """Read an output. `roots`: the paths under which the gate saw its tree. `files`: those of the project."""
    lines = clean_lines(printed, roots)
    counts = count_tests(lines)
    if code == 0 and not timed_out:
        return Reading(counts=counts)
    # An end that is a failure by itself, whatever was printed.
    ending = "did not end in time" if timed_out else f"killed by signal {code - 128}" if 128 < code <= 192 else ""
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
    """Return why a run says nothing about the code, as a sentence without its full stop; empty if it says something."""
    ran, name = reading.counts.ran, gate_label(gate)
    if reading.ending:
        return f"{name} {reading.ending if reading.ending.startswith('did') else f'was {reading.ending}'}"
    if not reading.failing:
        return f"{name} ran no test" if gate.kind == "tests" and ran_no_test(gate, reading) else ""
    if can_be_compared(gate, reading) or must_pass(gate, reading):
        return ""
    if ran == 0:
        return f"{name} ran no test" if NO_TEST.search(reading.cause) else f"{name} could run no test: {reading.cause}"
    began = reading.begins and gate.kind == "tests"
    return f"{name} {'failed and named no test' if began else 'could not start'}: {reading.cause}"


def ran_no_test(gate: Gate, reading: Reading) -> bool:
    silent_means_none = gate.name in COUNTING_GATES and not (gate.named or reading.failing)
    return reading.counts.ran == 0 or (reading.counts.ran is None and silent_means_none)


def gate_label(gate: Gate) -> str:
    return "the command" if gate.name == gate.kind == "tests" else gate.name


def can_be_compared(gate: Gate, reading: Reading) -> bool:
    """Whether a run's failures are the code's, so that further ones are new."""
    if gate.kind != "tests":
        return reading.by_name or gate.named
    if reading.lacks_own and not reading.missing:
        return True  # a test of code that is still to be written
    return bool(reading.counts.ran) or (reading.by_name and reading.counts.ran is None)


def must_pass(gate: Gate, reading: Reading) -> bool:
    """Whether a demanded command tells nothing but its exit code, as `test -f` and `grep -q` do. It has nothing to be
    compared with, so it must pass, unless it is a test runner, which prints more if it can start."""
    return gate.named and reading.silent and not RUNNER.search(gate.command)


def new_failures(base: Names, now: Names) -> Names:
    """Return the failures that the base does not have. A bare exit code, which names nothing, is always new."""
    return frozenset(name for name in now if name not in base or name.startswith(OPAQUE))


def clean_lines(output: str, roots: Iterable[str]) -> list[str]:
    """Return the lines without colours and without the path of the tree."""
    text = ANSI.sub("", output)
    for root in sorted({root.rstrip("/") for root in roots} - {""}, key=len, reverse=True):
        text = text.replace(f"file://{root}/", "").replace(f"{root}/", "").replace(root, ".")
    return [line.rstrip() for line in text.split("\n")]


def read_failure_names(lines: Lines) -> set[str]:
    tests = {normalise_line(name) for reader in TEST_READERS for name in reader(lines)}
    checks = Counter(normalise_line(name) for reader in CHECK_READERS for name in reader(lines))
    return tests | {f"{name} ({n + 1})" if n else name for name, count in checks.items() for n in range(count)}


def normalise_line(text: str) -> str:
    for pattern, instead in FLEETING:
        text = pattern.sub(instead, text)
    return " ".join(text.split())[:300]


def failing_lines(lines: Lines) -> set[str]:
    """Return lines that mention a failure, if no reader knows the tool."""
    bad = [line for line in lines if BAD_WORDS.search(line)]
    return {GOOD_COUNT.sub("…", normalise_line(line)) for line in bad[-MOST_LINES:]}


def find_complaints(lines: Lines, ending: str) -> Names:
    """Return a run's error lines, for an output without names. Of pytest only the errors, because other lines name
    files and tests. If no line mentions a failure: the shapes of the last lines, and `ending`."""
    errors = dict.fromkeys(line[1:] for line in lines if re.match(r"^E\s+\S", line) and BAD_WORDS.search(line))
    if found := {normalise_line(line) for line in list(errors)[:MOST_ERRORS]} or failing_lines(lines):
        return frozenset(found)
    return frozenset({ending} | {line_shape(normalise_line(line)) for line in lines[-MOST_LINES:] if line.strip()})


def line_shape(text: str) -> str:
    """Return a line without numbers and absolute paths, to recognise it when these differ."""
    return re.sub(r"(?<!\S)/\S+|\S*\d\S*|\b[a-f]{6,}\b", "#", text)
