"""The tests of one run of a gate by name, and what of the base's tests another run lacks. Pure."""

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
    """What became of each test. Empty where nothing tells the names."""

    tests: Mapping[str, str] = field(default_factory=dict)
    runner: str = ""

    def __bool__(self) -> bool:
        return bool(self.tests)

    def names_with(self, *outcomes: str) -> set[str]:
        return {name for name, outcome in self.tests.items() if outcome in outcomes}

    @property
    def by_function(self) -> dict[str, list[str]]:
        """The tests that ran, without the parameters, whose words may differ from run to run."""
        found = defaultdict[str, list[str]](list)
        for name, outcome in self.tests.items():
            found[function_of(name)].append(outcome)
        return found


@dataclass(frozen=True)
class LostTestNames:
    """Tests of the base that did not run as they did there: not there any more, skipped now, or expected to fail now.
    `count` tells of how many of how many, where names are not known."""

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
    """By function: as many of its cases must run now as did on the base."""
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
        # Only the function's name where its cases may be called otherwise now.
        cases = [name for name in names[function] if now.tests.get(name) not in RAN]
        found[kind] += sorted(cases) if len(cases) <= MOST_CASES else [function]
    return LostTestNames(tuple(found["missing"]), tuple(found["skipped"]), tuple(found["expected"]))


def ran_by_function(roll: RecordedTests) -> dict[str, list[str]]:
    """Of the tests that ran."""
    found = defaultdict[str, list[str]](list)
    for name in roll.names_with(*RAN):
        found[function_of(name)].append(name)
    return found


def count_outcomes(outcomes: Iterable[str], *wanted: str) -> int:
    return sum(outcome in wanted for outcome in outcomes)


def function_of(name: str) -> str:
    return name.partition("[")[0]


def file_of_test(name: str, files: Collection[str]) -> str:
    """The file that a test stands in, as far as its name tells: tests/test_a.py::test_b, tests.test_a.Case.test_b."""
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
    """The files of many tests, each once, in their order."""
    found = dict.fromkeys(path for name in names if (path := name.partition("::")[0]) in files)
    modules = dict.fromkeys(name.rpartition(".")[0] for name in names if "::" not in name)
    return list(dict.fromkeys([*found, *(file_of_module(module, files) for module in modules)]))


# --- from what was written down, or printed -------------------------------------------------------------------------


def read_recorded_tests(record: str, lines: Lines) -> RecordedTests:
    """`book` is what our own plug-ins wrote; without it what was printed."""
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
        if told := dict(reader(lines)):
            return RecordedTests({normalise_line(name): outcome for name, outcome in told.items()}, runner)
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
    """Only with -v or -json; a package is told after its tests."""
    tests: dict[str, str] = {}
    for line in lines:
        if hit := re.match(r"^\s*--- (PASS|FAIL|SKIP): (\S+)", line):
            tests[hit[2]] = OUTCOME_WORDS[hit[1]]
        elif tests and (hit := re.match(r"^(?:ok|FAIL)\s+(\S+)", line)):
            yield from ((f"{hit[1]}: {name}", outcome) for name, outcome in tests.items())
            tests = {}


def tap_outcomes(lines: Lines) -> NamedOutcomes:
    """A subtest's outcome is told before the test that it belongs to, whose name stood in `# Subtest:`."""
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
    """Mocha, node's `spec`, jest and vitest with names: a mark before each test, its suites above it."""
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
