"""From what a gate printed to the names of what fails, to tell what failed before from what is new. Pure."""

import re
from collections import Counter
from collections.abc import Iterable

from orchestra.gates.failure_readers import CHECK_READERS, TEST_READERS, Lines

Names = frozenset[str]
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\r(?=\n)")
BAD_WORDS = re.compile(
    r"(?:error|exception)s?\b|\*\*\*|\b(?:fail|failed|failure|fatal|panic|cannot|not found|traceback|no such file|"
    r"no module named|no rule|missing|denied|refused|unrecognized|not installed)\b",
    re.IGNORECASE,
)
# What differs between two runs of the same thing.
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
# More that passes is no new failure; the count of what failed stays.
GOOD_COUNT = re.compile(r"\b\d+(?= (?:tests?|passed|passing|ok|skipped|total|successful|succeeded)\b)")
MOST_LINES = 200
MOST_ERRORS = 1_000
OPAQUE = "exit code "


def failures(output: str, code: int, *, roots: Iterable[str] = (), timed_out: bool = False) -> Names:
    """What fails, by name. Empty only when the command said that all is well: its exit code decides. `roots` are the
    paths under which the tree was known to the command."""
    if code == 0 and not timed_out:
        return frozenset()
    lines = clean_lines(output, roots)
    ending = describe_end(code, timed_out)
    found = read_failure_names(lines) | ({ending} if ending else set())
    return frozenset(found or failing_lines(lines) or {f"{OPAQUE}{code}"})


def new_failures(base: Names, now: Names) -> Names:
    """What cannot be put down to the base. A mere exit code says nothing of what failed, so it always counts."""
    return frozenset(name for name in now if name not in base or name.startswith(OPAQUE))


def describe_end(code: int, timed_out: bool) -> str:
    """The name of an end that is a failure by itself, whatever was printed before it."""
    if timed_out:
        return "did not end in time"
    return f"killed by signal {code - 128}" if 128 < code <= 192 else ""


def clean_lines(output: str, roots: Iterable[str]) -> list[str]:
    """The lines without colours, and without the path of the tree."""
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
    """Where no reader knows the tool: the lines that speak of a failure."""
    bad = [line for line in lines if BAD_WORDS.search(line)]
    return {GOOD_COUNT.sub("…", normalise_line(line)) for line in bad[-MOST_LINES:]}


def find_complaints(lines: Lines, ending: str) -> Names:
    """What a run without names says is wrong, the same in each run of the same tree. Of pytest only the errors, because
    the other lines name files and tests. `ending` is said if nothing speaks of a failure."""
    errors = dict.fromkeys(line[1:] for line in lines if re.match(r"^E\s+\S", line) and BAD_WORDS.search(line))
    if found := {normalise_line(line) for line in list(errors)[:MOST_ERRORS]} or failing_lines(lines):
        return frozenset(found)
    return frozenset({ending} | {line_shape(normalise_line(line)) for line in lines[-MOST_LINES:] if line.strip()})


def line_shape(text: str) -> str:
    """A line without its numbers and absolute paths, to know it again when these differ."""
    return re.sub(r"(?<!\S)/\S+|\S*\d\S*|\b[a-f]{6,}\b", "#", text)
