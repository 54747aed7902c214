"""What the usual tools print when something fails, read into names: one reader for each tool, all of them pure.

A name holds what stays the same when the same thing fails again: no line number, no duration, no order.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

Lines = Sequence[str]
Reader = Callable[[Lines], Iterator[str]]

SUMMARY = re.compile(r"^=+ short test summary info =+$")
NODE_ID = re.compile(r"^(?:SUB)?(?P<how>FAILED|ERROR)(?:\([^)]*\)|\[[^\]]*\])? (?P<id>.+)$")
VERBOSE = re.compile(
    r"^(?:\[gw\d+\] \[ *\d+%\] (?:FAILED|ERROR) (\S.*?)|(\S+::.*?) (?:FAILED|ERROR) *(?:\[ *\d+%\])?) *$"
)
TITLE = re.compile(r"^_{3,} (?:ERROR (?:collecting|at setup of|at teardown of) )?(\S.*?) _{3,}$")


def read_pytest(lines: Lines) -> Iterator[str]:
    """The short summary; without one (-rN) what -v says, or the titles of the failures."""
    found = list(read_pytest_summary(lines))
    if not found and any(re.match(r"^=+ (FAILURES|ERRORS) =+$", line) for line in lines):
        found = [one or two for line in lines if (hit := VERBOSE.match(line)) for one, two in [hit.groups()]]
        found = found or [hit[1] for line in lines if (hit := TITLE.match(line))]
    yield from found


def read_pytest_summary(lines: Lines) -> Iterator[str]:
    inside = False
    for line in lines:
        if SUMMARY.match(line):
            inside = True
        elif line.startswith("===") or re.match(r"^\d+ (failed|passed|error)", line):
            inside = False
        elif inside and (hit := NODE_ID.match(line)):
            yield parse_node_id(hit["id"])


def parse_node_id(words: str) -> str:
    """tests/test_a.py::test_b[x - y] of `tests/test_a.py::test_b[x - y] - assert 1 == 2`."""
    head, bracket, rest = words.partition("[")
    if bracket and " - " not in head:
        inner, closing, _ = rest.partition("] - ")
        return f"{head}[{inner}]" if closing else words
    return words.partition(" - ")[0]


def read_unittest(lines: Lines) -> Iterator[str]:
    """`FAIL: test_x (pkg.test_a.A.test_x) (n=3)` below a double line."""
    for above, line in pairwise(lines):
        if above.startswith("=" * 70) and (hit := re.match(r"^(?:FAIL|ERROR): (\S+ \([\w.<>]+\).*|\S.*)$", line)):
            yield hit[1]


def read_go(lines: Lines) -> Iterator[str]:
    """A test's package is told after the test."""
    open_tests: list[str] = []
    for line in lines:
        if line.startswith("{") and '"Action":"fail"' in line:
            yield from read_go_event(line)
        elif hit := re.match(r"^\s*--- FAIL: (\S+)", line):
            open_tests.append(hit[1])
        elif hit := re.match(r"^FAIL\t(\S+)(?:\s+\[(.+)\])?", line):
            yield from (f"{hit[1]}: {test}" for test in open_tests)
            if not open_tests:
                yield f"{hit[1]}: {hit[2] or 'failed'}"
            open_tests = []
        elif re.match(r"^ok\s+\S", line):
            open_tests = []
    yield from open_tests


def read_go_event(line: str) -> Iterator[str]:
    try:
        event = json.loads(line)
    except ValueError:
        return
    yield f"{event.get('Package', '')}: {event.get('Test', 'failed')}"


def read_cargo(lines: Lines) -> Iterator[str]:
    binary, message = "", ""
    for line in lines:
        if hit := re.match(r"^\s*(?:Running (?:unittests )?|Doc-tests )(\S+)", line):
            binary = hit[1]
        elif hit := re.match(r"^test (.+?) \.\.\. FAILED$", line):
            yield f"{binary}: {re.sub(r' [(]line [0-9]+[)]', '', hit[1])}".removeprefix(": ")
        elif hit := re.match(r"^(error(?:\[E\d+\])?: .+)$", line):
            message = hit[1]
        elif message and (hit := re.match(r"^\s+--> ([^:]+):\d+:\d+$", line)):
            yield f"{hit[1]}: {message}"
            message = ""
        elif not line.strip():
            message = ""


def read_jest(lines: Lines) -> Iterator[str]:
    """`FAIL file`, and below it `● suite, test`. Vitest says both in one line, `FAIL  file > suite > test`."""
    file, named = "", False
    for line in lines:
        if hit := re.match(r"^\s*(?:❯ )?FAIL +(\S.*?)(?: \([\d.]+ m?s\))?$", line):
            if file and not named and " > " not in file:
                yield file
            file, named = hit[1].removeprefix("./"), False
            if " > " in file:
                yield file
        elif file and (hit := re.match(r"^  ● (?!Console$)(.+)$", line)):
            named = True
            yield f"{file} > {hit[1].strip()}"
    if file and not named and " > " not in file:
        yield file


def read_mocha(lines: Lines) -> Iterator[str]:
    """`1) suite`, the inner titles below it, and a colon behind the last."""
    inside, title = False, []
    for line in lines:
        if re.match(r"^\s+\d+ failing$", line):
            inside = True
        elif inside and (hit := re.match(r"^  \d+\) (.+)$", line)):
            title = [hit[1].strip()]
        elif inside and title and line.strip():
            title.append(line.strip())
        if title and title[-1].endswith(":"):
            yield " > ".join(title)[:-1]
            title = []


PARDONED = re.compile(r"#\s*(todo|skip)\b", re.IGNORECASE)


def read_tap(lines: Lines) -> Iterator[str]:
    """node --test and every other that speaks TAP. `# Subtest: x` opens what the lines below it belong to."""
    above: dict[int, str] = {}
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if hit := re.match(r"^\s*# Subtest: (.+)$", line):
            above[depth] = hit[1]
        elif not PARDONED.search(line) and (hit := re.match(r"^\s*not ok \d+(?: - | )(.+?)\s*(?:#.*)?$", line)):
            yield " > ".join([above[n] for n in sorted(above) if n < depth] + [hit[1]])


def read_node_spec(lines: Lines) -> Iterator[str]:
    """node --test for people: what failed stands once more at the end."""
    inside = False
    for line in lines:
        if re.match(r"^✖ failing tests:", line):
            inside = True
        elif inside and not PARDONED.search(line) and (hit := re.match(r"^\s*✖ (.+?)(?: \([\d.]+ms\))?$", line)):
            yield hit[1]


def read_eslint(lines: Lines) -> Iterator[str]:
    """A file's name in a line of its own, what is wrong in it below."""
    file = ""
    for line in lines:
        if hit := re.match(r"^\s+\d+:\d+\s+error\s+(.+?)\s*$", line):
            if file:
                yield f"{file}: {re.sub(r'  +', ' ', hit[1])}"
        elif re.match(r"^\S.*\.\w+$", line):
            file = line
        elif not line.strip():
            file = ""


RULE = re.compile(r"^([A-Z]+\d+|invalid-syntax:|[a-z-]+:) (?<!error: )")


def read_ruff(lines: Lines) -> Iterator[str]:
    """Its long form: the rule, and the place in the next line."""
    for rule, place in pairwise(lines):
        if RULE.match(rule) and (hit := re.match(r"^\s*--> (.+?):\d+:\d+$", place)):
            yield f"{hit[1]}: {rule.replace('[*] ', '')}"


PLACE = r"^\s*(?P<file>[^\s:()][^:()]*\.\w+)(?::\d+(?::\d+)?(?:-\d+)?|\(\d+,\d+\))(?::| -)\s*(?P<said>.*)$"
DIAGNOSTIC = re.compile(PLACE)
COMPLAINT = re.compile(r"^(?:(?:fatal )?error\b|[A-Z]{1,6}\d{2,5}\b|undefined:|syntax error)", re.IGNORECASE)


def read_diagnostics(lines: Lines) -> Iterator[str]:
    """`file:line:column: what is wrong`, as compilers, type checkers and linters say it."""
    for line in lines:
        hit = DIAGNOSTIC.match(line)
        if hit and COMPLAINT.match(hit["said"]):
            yield f"{hit['file'].removeprefix('./')}: {hit['said'].replace('[*] ', '').strip()}"


TEST_READERS: tuple[Reader, ...] = (
    read_pytest,
    read_unittest,
    read_go,
    read_cargo,
    read_jest,
    read_mocha,
    read_tap,
    read_node_spec,
)
# The same thing may be wrong twice in one file.
CHECK_READERS: tuple[Reader, ...] = (read_eslint, read_ruff, read_diagnostics)
