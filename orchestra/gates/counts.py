"""How many tests a runner says it ran, and how many of them passed: one reader for each format, all of them pure."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Lines = Sequence[str]
Pair = tuple[int, int]  # ran, passed

# Detected gates whose runner always says how many tests it ran. If it says nothing, no test ran.
COUNTING_GATES = frozenset({"pytest", "unittest", "go test", "cargo test"})


@dataclass(frozen=True)
class Counts:
    """Skipped tests did not run. None if the output does not tell. Go counts packages."""

    ran: int | None = None
    passed: int | None = None


def count_tests(lines: Lines) -> Counts:
    pairs = [pair for reader in COUNTERS for pair in reader(lines)] or list(count_pytest_progress(lines))
    if not pairs:
        return Counts(0, 0) if any(NO_TESTS.match(line) for line in lines) else Counts()
    return Counts(sum(ran for ran, _ in pairs), sum(passed for _, passed in pairs))


# --- one reader for each format -------------------------------------------------------------------------------------

TALLY = r"\d+ [a-z]+(?: [a-z]+)?"
PYTEST_TOTAL = re.compile(rf"^=* ?({TALLY}(?:, {TALLY})*) in [\d.]+ ?s")
PYTEST_PROGRESS = re.compile(r"^(?:\S+ )?([.FEsxXR]+) +\[ *\d+(?:%|/\d+)\]$")
GO_PACKAGE = re.compile(r"^(ok|FAIL)\s+\S+\s+(\(cached\)|[\d.]+s)(?!.*\[no tests to run\])")
NO_TESTS = re.compile(r"^\?\s+\S+\s+\[no test files\]|^No tests found|^(=+ )?no tests ran in |^NO TESTS RAN$")


def count_pytest(lines: Lines) -> Iterator[Pair]:
    """`2 failed, 3 passed in 0.1s`; an error in a fixture or an import is no test that ran."""
    for line in lines:
        if hit := PYTEST_TOTAL.match(line):
            by_word = {word: int(count) for count, _, word in (part.partition(" ") for part in hit[1].split(", "))}
            passed = by_word.get("passed", 0) + by_word.get("xpassed", 0)
            yield passed + by_word.get("failed", 0) + by_word.get("xfailed", 0), passed


def count_pytest_sugar(lines: Lines) -> Iterator[Pair]:
    inside = False
    for line in lines:
        inside = inside or bool(re.match(r"^Results \([\d.]+s\):", line))
        if inside and (hit := re.match(r"^\s+(\d+) (passed|failed)$", line)):
            yield int(hit[1]), int(hit[1]) * (hit[2] == "passed")


def count_pytest_progress(lines: Lines) -> Iterator[Pair]:
    """With -qq there is no total, only a character for each test."""
    for line in lines:
        if hit := PYTEST_PROGRESS.match(line):
            yield sum(map(hit[1].count, ".FxX")), sum(map(hit[1].count, ".X"))


UNITTEST_END = re.compile(r"^(?:OK|FAILED)\b")
UNITTEST_BAD = re.compile(r"^(?:FAIL|ERROR): (\S+ \([\w.<>]+\)|\S+)")


def count_unittest(lines: Lines) -> Iterator[Pair]:
    """Failures are counted by test, because each failing subtest is told of. A module that cannot be loaded is told of
    as a test, and an error while a class is set up beside the tests."""
    bad = set[str]()
    for at, line in enumerate(lines):
        if hit := UNITTEST_BAD.match(line):
            bad |= {hit[1]} if not hit[1].startswith(("setUp", "tearDown")) else set()
        elif hit := re.match(r"^Ran (\d+) tests? in ", line):
            end = next((after for after in lines[at + 1 : at + 6] if UNITTEST_END.match(after)), "")
            skipped, expected = (sum_counts(word, end) for word in ("skipped", "expected failures"))
            loaded = sum("_FailedTest" in name for name in bad)
            yield max(0, int(hit[1]) - skipped - loaded), max(0, int(hit[1]) - skipped - expected - len(bad))
            bad = set()


def sum_counts(word: str, line: str) -> int:
    return sum(int(count) for count in re.findall(rf"\b{word}=(\d+)", line))


def count_cargo(lines: Lines) -> Iterator[Pair]:
    for line in lines:
        if hit := re.match(r"^test result: \w+\. (\d+) passed; (\d+) failed", line):
            yield int(hit[1]) + int(hit[2]), int(hit[1])


def count_go(lines: Lines) -> Iterator[Pair]:
    for line in lines:
        if hit := GO_PACKAGE.match(line):
            yield 1, int(hit[1] == "ok")


def count_jest(lines: Lines) -> Iterator[Pair]:
    """`Tests:  1 failed, 2 passed, 3 total`; Vitest says `Tests  1 failed | 2 passed (3)`."""
    for line in lines:
        if re.match(r"^\s*Tests:?\s+(?=.*\b\d+ (?:passed|failed|total|skipped)\b)", line):
            by_word = {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed)", line)}
            yield sum(by_word.values()), by_word.get("passed", 0)


def count_mocha(lines: Lines) -> Iterator[Pair]:
    for line in lines:
        if hit := re.match(r"^\s+(\d+) (passing|failing)\b", line):
            yield int(hit[1]), int(hit[1]) * (hit[2] == "passing")


def count_node(lines: Lines) -> Iterator[Pair]:
    """A file that cannot be loaded counts as a test that fails."""
    for line in lines:
        if hit := re.match(r"^(?:#|ℹ) (pass|fail) (\d+)$", line):
            yield int(hit[2]), int(hit[2]) * (hit[1] == "pass")


COUNTERS: tuple[Callable[[Lines], Iterator[Pair]], ...] = (
    *(count_pytest, count_pytest_sugar, count_unittest, count_cargo, count_go, count_jest, count_mocha, count_node),
)
