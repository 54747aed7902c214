"""Read the output of common tools: the names of failures, how many tests ran, and the outcome of each test. Pure.

A failure's name holds what stays the same if the same thing fails again: no line number, no duration, no order.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import dropwhile, pairwise

Lines = Sequence[str]
NamedOutcomes = Iterator[tuple[str, str]]
Pair = tuple[int, int]  # ran, passed

PASSED, FAILED, SKIPPED, EXPECTED, DESELECTED = "passed", "failed", "skipped", "expected", "deselected"
OUTCOME_WORDS = {"ok": PASSED, "FAILED": FAILED, "ignored": SKIPPED, "PASS": PASSED, "FAIL": FAILED, "SKIP": SKIPPED}


def lines_from(pattern: str, lines: Lines) -> Iterator[str]:
    """Return the lines from the first that matches on."""
    return dropwhile(lambda line: not re.match(pattern, line), lines)


SUMMARY = re.compile(r"^=+ short test summary info =+$")
NODE_ID = re.compile(r"^(?:SUB)?(?:FAILED|ERROR)(?:\([^)]*\)|\[[^\]]*\])? (?P<id>.+)$")
VERBOSE = re.compile(
    r"^(?:\[gw\d+\] \[ *\d+%\] (?:FAILED|ERROR) (\S.*?)|(\S+::.*?) (?:FAILED|ERROR) *(?:\[ *\d+%\])?) *$"
)
TITLE = re.compile(r"^_{3,} (?:ERROR (?:collecting|at setup of|at teardown of) )?(\S.*?) _{3,}$")
PARDONED = re.compile(r"#\s*(todo|skip)\b", re.IGNORECASE)


def read_pytest(lines: Lines) -> Iterator[str]:
    """Read the short summary; without one (-rN) the lines of -v, or the titles of the failures."""
    found = list(read_pytest_summary(lines))
    if not found and any(re.match(r"^=+ (FAILURES|ERRORS) =+$", line) for line in lines):
        found = [hit[1] or hit[2] for line in lines if (hit := VERBOSE.match(line))]
        found = found or [hit[1] for line in lines if (hit := TITLE.match(line))]
    yield from found


def read_pytest_summary(lines: Lines) -> Iterator[str]:
    """Read tests/test_a.py::test_b[x - y] from `FAILED tests/test_a.py::test_b[x - y] - assert 1 == 2`."""
    inside = False
    for line in lines:
        if SUMMARY.match(line):
            inside = True
        elif line.startswith("===") or re.match(r"^\d+ (failed|passed|error)", line):
            inside = False
        elif inside and (hit := NODE_ID.match(line)):
            head, bracket, rest = hit["id"].partition("[")
            inner, closing, _ = rest.partition("] - ")
            if not bracket or " - " in head:
                yield hit["id"].partition(" - ")[0]
            else:
                yield f"{head}[{inner}]" if closing else hit["id"]


def read_unittest(lines: Lines) -> Iterator[str]:
    """Read `FAIL: test_x (pkg.test_a.A.test_x) (n=3)` below a double line."""
    for above, line in pairwise(lines):
        if above.startswith("=" * 70) and (hit := re.match(r"^(?:FAIL|ERROR): (\S+ \([\w.<>]+\).*|\S.*)$", line)):
            yield hit[1]


def read_go(lines: Lines) -> Iterator[str]:
    """Read go test, which prints a test's package after the test."""
    open_tests: list[str] = []
    for line in lines:
        if line.startswith("{") and '"Action":"fail"' in line:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                yield f"{event.get('Package', '')}: {event.get('Test', 'failed')}"
        elif hit := re.match(r"^\s*--- FAIL: (\S+)", line):
            open_tests.append(hit[1])
        elif hit := re.match(r"^FAIL\t(\S+)(?:\s+\[(.+)\])?", line):
            yield from (f"{hit[1]}: {test}" for test in open_tests or [hit[2] or "failed"])
            open_tests = []
        elif re.match(r"^ok\s+\S", line):
            open_tests = []
    yield from open_tests


def read_cargo(lines: Lines) -> Iterator[str]:
    """Read failed tests, and compiler errors with the file on a line below."""
    yield from (name for name, word in cargo_tests(lines) if word == "FAILED")
    message = ""
    for line in lines:
        if hit := re.match(r"^(error(?:\[E\d+\])?: .+)$", line):
            message = hit[1]
        elif message and (hit := re.match(r"^\s+--> ([^:]+):\d+:\d+$", line)):
            yield f"{hit[1]}: {message}"
            message = ""
        elif not line.strip():
            message = ""


def cargo_tests(lines: Lines) -> NamedOutcomes:
    """Read each test below its binary, with cargo's word for its outcome."""
    binary = ""
    for line in lines:
        if hit := re.match(r"^\s*(?:Running (?:unittests )?|Doc-tests )(\S+)", line):
            binary = hit[1]
        elif hit := re.match(r"^test (.+?) \.\.\. (ok|FAILED|ignored)\b", line):
            yield f"{binary}: {re.sub(r' [(]line [0-9]+[)]', '', hit[1])}".removeprefix(": "), hit[2]


def read_jest(lines: Lines) -> Iterator[str]:
    """Read `FAIL file` with `● suite, test` below it. Vitest prints both on one line, `FAIL  file > suite > test`."""
    file, named = "", False
    for line in lines:
        if hit := re.match(r"^\s*(?:❯ )?FAIL +(\S.*?)(?: \([\d.]+ m?s\))?$", line):
            if file and not named:
                yield file
            file = hit[1].removeprefix("./")
            named = " > " in file
            if named:
                yield file
        elif file and (hit := re.match(r"^  ● (?!Console$)(.+)$", line)):
            named = True
            yield f"{file} > {hit[1].strip()}"
    if file and not named:
        yield file


def read_mocha(lines: Lines) -> Iterator[str]:
    """Read `1) suite`, the inner titles below it, and a colon after the last."""
    title: list[str] = []
    for line in lines_from(r"^\s+\d+ failing$", lines):
        if hit := re.match(r"^  \d+\) (.+)$", line):
            title = [hit[1].strip()]
        elif title and line.strip():
            title.append(line.strip())
        if title and title[-1].endswith(":"):
            yield " > ".join(title)[:-1]
            title = []


def read_tap(lines: Lines) -> Iterator[str]:
    return (name for name, outcome in tap_outcomes(lines) if outcome == FAILED)


def read_node_spec(lines: Lines) -> Iterator[str]:
    """Read node --test's format for people, which repeats failures at the end."""
    for line in lines_from(r"^✖ failing tests:", lines):
        hit = re.match(r"^(?!✖ failing tests:)\s*✖ (.+?)(?: \([\d.]+ms\))?$", line)
        if hit and not PARDONED.search(line):
            yield hit[1]


TEST_READERS = (read_pytest, read_unittest, read_go, read_cargo, read_jest, read_mocha, read_tap, read_node_spec)

RULE = re.compile(r"^([A-Z]+\d+|invalid-syntax:|[a-z-]+:) (?<!error: )")
DIAGNOSTIC = re.compile(
    r"^\s*(?P<file>[^\s:()][^:()]*\.\w+)(?::\d+(?::\d+)?(?:-\d+)?|\(\d+,\d+\))(?::| -)\s*(?P<message>.*)$"
)
COMPLAINT = re.compile(r"^(?:(?:fatal )?error\b|[A-Z]{1,6}\d{2,5}\b|undefined:|syntax error)", re.IGNORECASE)


def read_eslint(lines: Lines) -> Iterator[str]:
    """Read eslint: a file's name on a line of its own, its errors below."""
    file = ""
    for line in lines:
        if hit := re.match(r"^\s+\d+:\d+\s+error\s+(.+?)\s*$", line):
            if file:
                yield f"{file}: {re.sub(r'  +', ' ', hit[1])}"
        elif re.match(r"^\S.*\.\w+$", line):
            file = line
        elif not line.strip():
            file = ""


def read_ruff(lines: Lines) -> Iterator[str]:
    """Read ruff's long form: the rule, and the location on the next line."""
    for rule, location in pairwise(lines):
        if RULE.match(rule) and (hit := re.match(r"^\s*--> (.+?):\d+:\d+$", location)):
            yield f"{hit[1]}: {rule.replace('[*] ', '')}"


def read_diagnostics(lines: Lines) -> Iterator[str]:
    """Read `file:line:column: message`, as compilers, type checkers and linters print it."""
    for line in lines:
        hit = DIAGNOSTIC.match(line)
        if hit and COMPLAINT.match(hit["message"]):
            yield f"{hit['file'].removeprefix('./')}: {hit['message'].replace('[*] ', '').strip()}"


# The same error may occur twice in one file.
CHECK_READERS = (read_eslint, read_ruff, read_diagnostics)

TALLY = r"\d+ [a-z]+(?: [a-z]+)?"
PYTEST_PROGRESS = re.compile(r"^(?:\S+ )?([.FEsxXR]+) +\[ *\d+(?:%|/\d+)\]$")
NO_TESTS = re.compile(r"^\?\s+\S+\s+\[no test files\]|^No tests found|^(=+ )?no tests ran in |^NO TESTS RAN$")
UNITTEST_BAD = re.compile(r"^(?:FAIL|ERROR): (\S+ \([\w.<>]+\)|\S+)")


@dataclass(frozen=True)
class Counts:
    """Counts of tests; skipped ones did not run. None if the output has no counts. Go counts packages."""

    ran: int | None = None
    passed: int | None = None


def count_tests(lines: Lines) -> Counts:
    pairs = [*count_unittest(lines), *count_pytest_sugar(lines)]
    pairs += [count(hit) for line in lines for pattern, count in COUNT_LINES if (hit := pattern.match(line))]
    if not pairs:  # the progress characters of pytest -qq, which prints no total
        shown = [hit[1] for line in lines if (hit := PYTEST_PROGRESS.match(line))]
        pairs = [(sum(map(signs.count, ".FxX")), sum(map(signs.count, ".X"))) for signs in shown]
    if not pairs:
        return Counts(0, 0) if any(NO_TESTS.match(line) for line in lines) else Counts()
    return Counts(sum(ran for ran, _ in pairs), sum(passed for _, passed in pairs))


def count_words(hit: re.Match[str]) -> Pair:
    """Count `2 failed, 3 passed`. An error in a fixture or an import is no test that ran."""
    by_word = {word: int(count) for count, word in re.findall(r"(\d+) ([a-z]+(?: [a-z]+)?)", hit["words"])}
    passed = by_word.get("passed", 0) + by_word.get("xpassed", 0)
    return passed + by_word.get("failed", 0) + by_word.get("xfailed", 0), passed


def count_one_word(hit: re.Match[str]) -> Pair:
    return int(hit["count"]), int(hit["count"]) * hit["word"].startswith("pass")


COUNT_LINES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Pair]], ...] = (
    # pytest
    (re.compile(rf"^=* ?(?P<words>{TALLY}(?:, {TALLY})*) in [\d.]+ ?s"), count_words),
    # jest: `Tests:  1 failed, 2 passed, 3 total`; vitest: `Tests  1 failed | 2 passed (3)`
    (re.compile(r"^\s*Tests:?\s+(?P<words>(?=.*\b\d+ (?:passed|failed|total|skipped)\b).*)"), count_words),
    # cargo
    (re.compile(r"^test result: \w+\. (?P<words>\d+ passed; \d+ failed)"), count_words),
    # go
    (
        re.compile(r"^(ok|FAIL)\s+\S+\s+(\(cached\)|[\d.]+s)(?!.*\[no tests to run\])"),
        lambda hit: (1, int(hit[1] == "ok")),
    ),
    # mocha
    (re.compile(r"^\s+(?P<count>\d+) (?P<word>passing|failing)\b"), count_one_word),
    # node, for which a file that cannot be loaded is a failing test
    (re.compile(r"^(?:#|ℹ) (?P<word>pass|fail) (?P<count>\d+)$"), count_one_word),
)


def count_pytest_sugar(lines: Lines) -> Iterator[Pair]:
    for line in lines_from(r"^Results \([\d.]+s\):", lines):
        if hit := re.match(r"^\s+(?P<count>\d+) (?P<word>passed|failed)$", line):
            yield count_one_word(hit)


def count_unittest(lines: Lines) -> Iterator[Pair]:
    """Read unittest. Failures are counted per test, because each failing subtest is printed. A module that cannot be
    loaded appears as a test; an error in a class's set-up appears beside the tests."""
    bad = set[str]()
    for at, line in enumerate(lines):
        if hit := UNITTEST_BAD.match(line):
            bad |= {hit[1]} if not hit[1].startswith(("setUp", "tearDown")) else set()
        elif hit := re.match(r"^Ran (\d+) tests? in ", line):
            end = next((after for after in lines[at + 1 : at + 6] if re.match(r"^(?:OK|FAILED)\b", after)), "")
            skipped, expected = (
                sum(map(int, re.findall(rf"\b{word}=(\d+)", end))) for word in ("skipped", "expected failures")
            )
            loaded = sum("_FailedTest" in name for name in bad)
            yield max(0, int(hit[1]) - skipped - loaded), max(0, int(hit[1]) - skipped - expected - len(bad))
            bad = set()


MARK = re.compile(r"^(\s*)([✓✔√✖✗×○↓﹣⚠-]) (?:(skipped|todo) )?(.*?)(?: \(?[\d.]+ ?m?s\)?)?(?:\s+# (SKIP|TODO).*)?$")
VITEST_FILE = re.compile(r"\(\d+ tests?\b[^)]*\)$")
PLAIN_LINE = re.compile(r"^(\s+)(?:▶ )?(\S.*)$")


def cargo_outcomes(lines: Lines) -> NamedOutcomes:
    return ((name.removesuffix(" - should panic"), OUTCOME_WORDS[word]) for name, word in cargo_tests(lines))


def go_outcomes(lines: Lines) -> NamedOutcomes:
    """Read go test -v; a package comes after its tests."""
    tests: dict[str, str] = {}
    for line in lines:
        if hit := re.match(r"^\s*--- (PASS|FAIL|SKIP): (\S+)", line):
            tests[hit[2]] = OUTCOME_WORDS[hit[1]]
        elif tests and (hit := re.match(r"^(?:ok|FAIL)\s+(\S+)", line)):
            yield from ((f"{hit[1]}: {name}", outcome) for name, outcome in tests.items())
            tests = {}


def tap_outcomes(lines: Lines) -> NamedOutcomes:
    """Read TAP, of node --test and other tools. `# Subtest: x` opens what the lines below it belong to."""
    above: dict[int, str] = {}
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if hit := re.match(r"^\s*# Subtest: (.+)$", line):
            above[depth] = hit[1]
        elif hit := re.match(r"^\s*(not ok|ok) \d+(?: - | )(.+?)\s*(?:(?<=\s)#\s*\w.*)?$", line):
            pardon = PARDONED.search(line)
            outcome = FAILED if hit[1] == "not ok" else PASSED
            if pardon:
                outcome = SKIPPED if pardon[1].lower() == "skip" else EXPECTED
            yield " > ".join([above[n] for n in sorted(above) if n < depth] + [hit[2]]), outcome


def marked_outcomes(lines: Lines) -> NamedOutcomes:
    """Read mocha, node's `spec`, jest and vitest with names: a mark before each test, its suites above it."""
    above: dict[int, str] = {}
    for line in lines:
        if re.match(r"^✖ failing tests:|^\s+\d+ (?:passing|failing|pending)\b|^ℹ tests \d+", line):
            return
        if hit := MARK.match(line):
            depth, sign, word, name, pardon = len(hit[1]), hit[2], hit[3], hit[4], hit[5]
            if not name.strip() or (sign == "-" and depth == 0) or VITEST_FILE.search(name):
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


OUTCOME_READERS = {"cargo": cargo_outcomes, "go": go_outcomes, "tap": tap_outcomes, "marks": marked_outcomes}
