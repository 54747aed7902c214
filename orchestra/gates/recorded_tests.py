"""The tests of one run by name, and which tests of the base another run lacks. Pure."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from orchestra.gates.failures import normalise_line

Lines = Sequence[str]
PASSED, FAILED, SKIPPED, EXPECTED, DESELECTED = "passed", "failed", "skipped", "expected", "deselected"
RAN = (PASSED, FAILED)
MOST_CASES = 3


@dataclass(frozen=True)
class RecordedTests:
    """The outcome of each test. Empty if the names are unknown."""

    tests: Mapping[str, str] = field(default_factory=dict)
    runner: str = ""

    def __bool__(self) -> bool:
        return bool(self.tests)

    def names_with(self, *outcomes: str) -> set[str]:
        return {name for name, outcome in self.tests.items() if outcome in outcomes}

    @property
    def by_function(self) -> dict[str, list[str]]:
        """Return the tests that ran, without parameters, which may differ from run to run."""
        found = defaultdict[str, list[str]](list)
        for name, outcome in self.tests.items():
            found[function_of(name)].append(outcome)
        return found


@dataclass(frozen=True)
class LostTestNames:
    """Tests of the base that did not run as before: gone, skipped, or expected to fail.

    `count`: how many of how many, if names are unknown.
    """

    missing: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    ran: int | None = None
    of: int | None = None

    def __bool__(self) -> bool:
        return bool(self.missing or self.skipped or self.expected or self.of is not None)

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.missing, *self.skipped, *self.expected)


def find_lost_tests(base: RecordedTests, now: RecordedTests) -> LostTestNames:
    """Find lost tests by function: as many of its cases must run as on the base."""
    before, after, names = base.by_function, now.by_function, ran_by_function(base)
    found: dict[str, list[str]] = {"missing": [], "skipped": [], "expected": []}
    for function, outcomes in sorted(before.items()):
        ran, here = count_outcomes(outcomes, *RAN), after.get(function, [])
        if count_outcomes(here, *RAN) >= ran:
            continue
        more = {
            "expected": count_outcomes(here, EXPECTED) > count_outcomes(outcomes, EXPECTED),
            "skipped": count_outcomes(here, SKIPPED, DESELECTED) > count_outcomes(outcomes, SKIPPED, DESELECTED),
        }
        kind = next((kind for kind, is_more in more.items() if is_more), "missing")
        # Only the function's name, if its cases may be named differently now.
        cases = [name for name in names[function] if now.tests.get(name) not in RAN]
        found[kind] += sorted(cases) if len(cases) <= MOST_CASES else [function]
    return LostTestNames(tuple(found["missing"]), tuple(found["skipped"]), tuple(found["expected"]))


def ran_by_function(roll: RecordedTests) -> dict[str, list[str]]:
    """Group the tests that ran by function."""
    found = defaultdict[str, list[str]](list)
    for name in roll.names_with(*RAN):
        found[function_of(name)].append(name)
    return found


def count_outcomes(outcomes: Iterable[str], *wanted: str) -> int:
    return sum(outcome in wanted for outcome in outcomes)


def function_of(name: str) -> str:
    return name.partition("[")[0]


def file_of_test(name: str, files: Collection[str]) -> str:
    """Return the file of a test, if its name tells it: tests/test_a.py::test_b, tests.test_a.Case.test_b."""
    path = name.partition("::")[0]
    return path if path in files else file_of_module(name.rpartition(".")[0], files)


def file_of_module(name: str, files: Collection[str]) -> str:
    parts = name.split(".") if name and "/" not in name else []
    for end in range(len(parts), 0, -1):
        ending = f"{'/'.join(parts[:end])}.py"
        if hits := [one for one in files if one == ending or one.endswith(f"/{ending}")]:
            return min(hits)
    return ""


def files_of_tests(names: Iterable[str], files: Collection[str]) -> list[str]:
    """Return the files of tests, each once, in order."""
    found = dict.fromkeys(path for name in names if (path := name.partition("::")[0]) in files)
    modules = dict.fromkeys(name.rpartition(".")[0] for name in names if "::" not in name)
    return list(dict.fromkeys([*found, *(file_of_module(module, files) for module in modules)]))


# --- from what was written down, or printed -------------------------------------------------------------------------


def read_recorded_tests(record: str, lines: Lines) -> RecordedTests:
    """Read the tests from what our plug-ins recorded (`record`), or else from the output."""
    found, runner = dict[str, str](), ""
    for line in record.splitlines():
        try:
            entry = json.loads(line)
            found |= {str(name): str(outcome) for name, outcome in entry["tests"].items()}
            runner = str(entry["runner"])
        except (ValueError, LookupError, TypeError, AttributeError):
            continue
    if found or runner:
        return RecordedTests(found, runner)
    for runner, reader in OUTCOME_READERS.items():
        if outcomes := dict(reader(lines)):
            return RecordedTests({normalise_line(name): outcome for name, outcome in outcomes.items()}, runner)
    return RecordedTests()


NamedOutcomes = Iterator[tuple[str, str]]
OUTCOME_WORDS = {"ok": PASSED, "FAILED": FAILED, "ignored": SKIPPED, "PASS": PASSED, "FAIL": FAILED, "SKIP": SKIPPED}


def cargo_outcomes(lines: Lines) -> NamedOutcomes:
    binary = ""
    for line in lines:
        if hit := re.match(r"^\s*(?:Running (?:unittests )?|Doc-tests )(\S+)", line):
            binary = hit[1]
        elif hit := re.match(r"^test (.+?)(?: - should panic)? \.\.\. (ok|FAILED|ignored)\b", line):
            yield f"{binary}: {re.sub(r' [(]line [0-9]+[)]', '', hit[1])}".removeprefix(": "), OUTCOME_WORDS[hit[2]]


def go_outcomes(lines: Lines) -> NamedOutcomes:
    """Read go test -v or -json; a package comes after its tests."""
    tests: dict[str, str] = {}
    for line in lines:
        if hit := re.match(r"^\s*--- (PASS|FAIL|SKIP): (\S+)", line):
            tests[hit[2]] = OUTCOME_WORDS[hit[1]]
        elif tests and (hit := re.match(r"^(?:ok|FAIL)\s+(\S+)", line)):
            yield from ((f"{hit[1]}: {name}", outcome) for name, outcome in tests.items())
            tests = {}


def tap_outcomes(lines: Lines) -> NamedOutcomes:
    """Read TAP. A subtest's outcome comes before its test, whose name was in `# Subtest:`."""
    above: dict[int, str] = {}
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if hit := re.match(r"^\s*# Subtest: (.+)$", line):
            above[depth] = hit[1]
        elif hit := re.match(r"^\s*(not ok|ok) \d+(?: - | )(.+?)\s*(?:#\s*(\w+).*)?$", line):
            name = " > ".join([above[n] for n in sorted(above) if n < depth] + [hit[2]])
            pardon = (hit[3] or "").lower()
            outcome = SKIPPED if pardon == "skip" else EXPECTED if pardon == "todo" else PASSED
            yield name, FAILED if hit[1] == "not ok" and not pardon else outcome


MARK = re.compile(r"^(\s*)([✓✔√✖✗×○↓﹣⚠-]) (?:(skipped|todo) )?(.*?)(?: \(?[\d.]+ ?m?s\)?)?(?:\s+# (SKIP|TODO).*)?$")
A_FILE = re.compile(r"\(\d+ tests?\b[^)]*\)$")  # with Vitest
PLAIN_LINE = re.compile(r"^(\s+)(?:▶ )?(\S.*)$")


def marked_outcomes(lines: Lines) -> NamedOutcomes:
    """Read mocha, node's `spec`, jest and vitest with names: a mark before each test, its suites above it."""
    above: dict[int, str] = {}
    for line in lines:
        if re.match(r"^✖ failing tests:|^\s+\d+ (?:passing|failing|pending)\b|^ℹ tests \d+", line):
            return
        if hit := MARK.match(line):
            depth, sign, word, name, pardon = len(hit[1]), hit[2], hit[3], hit[4], hit[5]
            if not name.strip() or (sign == "-" and depth == 0) or A_FILE.search(name):
                continue
            todo, skip = "TODO" in (pardon, (word or "").upper()), sign in "○↓﹣-" or pardon == "SKIP"
            outcome = EXPECTED if todo else SKIPPED if skip else FAILED if sign in "✖✗×" else PASSED
            yield " > ".join([above[n] for n in sorted(above) if n < depth] + [name.strip()]), outcome
        elif hit := PLAIN_LINE.match(line):
            above = {n: title for n, title in above.items() if n < len(hit[1])} | {len(hit[1]): hit[2].strip()}
        elif line.startswith("▶ "):
            above = {0: line[2:].strip()}
        elif not line.strip():
            above = {}


OUTCOME_READERS: dict[str, Callable[[Lines], NamedOutcomes]] = {
    "cargo": cargo_outcomes,
    "go": go_outcomes,
    "tap": tap_outcomes,
    "marks": marked_outcomes,
}
