"""Which tests are flaky: with the same tree, command and environment, they failed and did not fail. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from orchestra.events import FlakyTest
from orchestra.journal.store import GateRun

MOST_TESTS = 50  # of one gate


def is_flaky(runs: Iterable[GateRun]) -> bool:
    """Whether runs with one digest have two verdicts."""
    return len({(each.passed, each.failing) for each in runs}) > 1


def find_flaky_tests(runs: Sequence[GateRun]) -> dict[str, tuple[FlakyTest, ...]]:
    """Return the flaky tests of each gate, the worst first. Each counts the runs in which it failed without cause, of
    those that ran the gate. A gate that names no tests is itself the test."""
    by_digest, all_runs = defaultdict[str, list[GateRun]](list), defaultdict[str, set[str]](set)
    for each in runs:
        by_digest[each.digest].append(each)
        all_runs[each.gate].add(each.run)
    failed = defaultdict[tuple[str, str], set[str]](set)
    for same in by_digest.values():
        verdicts = [(each, frozenset(each.failing if each.passed or each.failing else [each.gate])) for each in same]
        always = frozenset.intersection(*(names for _, names in verdicts))
        for each, names in verdicts:
            for name in names - always:
                failed[each.gate, name].add(each.run)
    found = defaultdict[str, list[FlakyTest]](list)
    for (gate, name), where in failed.items():
        found[gate].append(FlakyTest(name, len(where), len(all_runs[gate])))
    worst_first = {gate: sorted(tests, key=lambda test: (-test.runs, test.name)) for gate, tests in found.items()}
    return {gate: tuple(tests[:MOST_TESTS]) for gate, tests in worst_first.items()}
