"""The tests of one run by name, and which tests of the base another run lacks. Pure."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from orchestra.gates.readers import DESELECTED, EXPECTED, FAILED, OUTCOME_READERS, PASSED, SKIPPED, Lines
from orchestra.gates.reading import normalise_line

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
    def by_function(self) -> dict[str, dict[str, str]]:
        """The outcomes by function and test: a test's parameters may differ from run to run."""
        found = defaultdict[str, dict[str, str]](dict)
        for name, outcome in self.tests.items():
            found[function_of(name)][name] = outcome
        return found


@dataclass(frozen=True)
class LostTestNames:
    """Tests of the base that did not run as before: gone, skipped, or expected to fail.

    `ran` and `of`: how many ran of how many on the base, if names are unknown.
    """

    missing: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    ran: int | None = None
    of: int | None = None

    def __bool__(self) -> bool:
        return bool(self.missing or self.skipped or self.expected or self.of is not None)


def find_lost_tests(base: RecordedTests, now: RecordedTests) -> LostTestNames:
    """Find lost tests by function: as many of its cases must run as on the base."""
    after = now.by_function
    found: dict[str, list[str]] = {"missing": [], "skipped": [], "expected": []}
    for function, tests in sorted(base.by_function.items()):
        outcomes, here = tests.values(), after.get(function, {}).values()
        if count_outcomes(here, *RAN) >= count_outcomes(outcomes, *RAN):
            continue
        more = {
            "expected": count_outcomes(here, EXPECTED) > count_outcomes(outcomes, EXPECTED),
            "skipped": count_outcomes(here, SKIPPED, DESELECTED) > count_outcomes(outcomes, SKIPPED, DESELECTED),
        }
        kind = next((kind for kind, is_more in more.items() if is_more), "missing")
        # Only the function's name, if its cases may be named differently now.
        cases = [name for name, outcome in tests.items() if outcome in RAN and now.tests.get(name) not in RAN]
        found[kind] += sorted(cases) if len(cases) <= MOST_CASES else [function]
    return LostTestNames(tuple(found["missing"]), tuple(found["skipped"]), tuple(found["expected"]))


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
