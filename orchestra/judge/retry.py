"""Decide what follows an attempt: done, another attempt, or the end; and what the next attempt must know."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from orchestra.judge.policy import POLICY, Retry, is_worth_retrying
from orchestra.model import Verdict

LIMIT = 8_000  # characters of feedback, about 2,000 tokens
MOST_NAMES = 20
AROUND = 12
MOST_PLACES = 200
LAST = 10
# How a line begins that looks like the reason of a failure in one of the usual tools.
ERROR_STARTS = ("E  ", "Error:", "AssertionError", "panicked at", "thread '", "error[", "error:", "✕", "not ok")

# Faults of the machine in messages of git, Aider or the system, which another attempt would meet again.
ROOM = "Free some space in {place}, or set TMPDIR to a larger disk; then `resume`."
RIGHTS = "Make {place} writable; then `resume`."
SYSTEM_LIMITS = "Use a smaller --max-agents, or raise the limits (`ulimit -n`, `ulimit -u`, memory); then `resume`."
OBJECTS = "git has lost objects of {place}: `git fsck` lists them, and a fresh clone has them. Then `resume`."
TROUBLES = (
    (r"No space left on device|Disk quota exceeded|File too large|unable to write file|\[Errno (?:28|122|27)\]", ROOM),
    (r"Read-only file system|Permission denied|Operation not permitted|\[Errno (?:30|13|1)\]", RIGHTS),
    (
        r"Too many open files|Resource temporarily unavailable|Cannot allocate memory|[Cc]annot fork|MemoryError",
        SYSTEM_LIMITS,
    ),
    (
        r"unable to read (?:sha1 file|tree|[0-9a-f]{40})|missing blob|bad object|object file \S+ is empty|corrupt"
        r"|failed to read object|git has lost the content",
        OBJECTS,
    ),
)


class NextAction(StrEnum):
    DONE = "done"
    FRESH = "fresh"
    ON_TOP = "on_top"
    ASK = "ask"
    GIVE_UP = "give_up"


@dataclass(frozen=True)
class CheckFailure:
    """What fails because of an attempt, and what the checks printed about it. `conflict`: the work of other tasks that
    its edit could not be merged with."""

    failing: frozenset[str] = frozenset()
    output: str = ""
    conflict: str = ""


@dataclass(frozen=True)
class TriedAttempt:
    """An attempt as the next one should know it. `diff`: its change. `output`: of its failed gate. `conflict`: the work
    that it could not be merged with, and that the next attempt begins from."""

    verdict: Verdict
    cause: str
    diff: str = ""
    failing: frozenset[str] = frozenset()
    output: str = ""
    conflict: str = ""
    beside: tuple["TriedAttempt", ...] = ()  # parallel attempts that were no better
    final: bool = False


@dataclass(frozen=True)
class NextStep:
    """What comes next, and the sentence that says why."""

    next: NextAction
    why: str


def next_step(tried: Sequence[TriedAttempt], retries: int, *, human: bool = False) -> NextStep:
    """Decide the next step. `retries`: attempts allowed after the first. `human`: a person can be asked."""
    if not tried:
        return NextStep(NextAction.FRESH, "Nothing was tried yet.")
    last, end = tried[-1], NextAction.ASK if human else NextAction.GIVE_UP
    if last.verdict is Verdict.APPLIED:
        return NextStep(NextAction.DONE, last.cause)
    if last.verdict is Verdict.CANCELLED:
        return NextStep(NextAction.GIVE_UP, last.cause)
    if last.final or not is_worth_retrying(last.verdict):
        return NextStep(NextAction.GIVE_UP, f"Another attempt would end the same way ({last.verdict}): {last.cause}")
    if len(tried) > retries:
        times = {1: "once", 2: "twice"}.get(len(tried), f"{len(tried)} times")
        return NextStep(end, f"It failed {times}; the last time: {last.cause}")
    if is_stuck(tried):
        why = f"Two attempts in a row failed the same way; stopped before paying for a third: {last.cause}"
        return NextStep(end, why)
    return retry_step(tried)


def retry_step(tried: Sequence[TriedAttempt]) -> NextStep:
    """Continue on the last attempt if its work exists and comes nearer; start fresh if it led nowhere."""
    last = tried[-1]
    if last.verdict is Verdict.NO_CHANGE and last.diff:
        return NextStep(NextAction.ON_TOP, f"Retry for what is still missing: {last.cause}")
    if last.verdict is not Verdict.GATES_FAILED or not last.diff:
        return NextStep(NextAction.FRESH, f"Retry from the start ({last.verdict}): {last.cause}")
    earlier = [each for each in tried[:-1] if each.verdict is Verdict.GATES_FAILED]
    if earlier and len(last.failing) >= len(earlier[-1].failing):
        return NextStep(NextAction.FRESH, f"The last attempt came no nearer; retry from the start: {last.cause}")
    return NextStep(NextAction.ON_TOP, f"Retry on top of the present work: {last.cause}")


def is_stuck(tried: Sequence[TriedAttempt]) -> bool:
    """Whether the same diff failed the same way twice in a row. A server that was down says nothing about the agent."""
    if len(tried) < 2:
        return False
    one, two = tried[-2:]
    same = (one.verdict, one.diff, one.failing) == (two.verdict, two.diff, two.failing)
    # Failures with names are compared by name; others by their sentence.
    same = same and (one.verdict is Verdict.GATES_FAILED or one.cause == two.cause)
    return same and POLICY[two.verdict].retry is Retry.UNLESS_STUCK


def machine_remedy(message: str) -> str:
    """Return the remedy, with {place} for the location; empty if the machine is not at fault."""
    return next((remedy for pattern, remedy in TROUBLES if re.search(pattern, message)), "")


def build_feedback(tried: Sequence[TriedAttempt], limit: int = LIMIT) -> str:
    """Describe the attempts in at most `limit` characters: a line each, then the last one's failures and diff."""
    if not tried:
        return ""
    last = tried[-1]
    parts = [summarise_attempts([one for each in tried for one in (*each.beside, each)], limit // 4)]
    if last.conflict:
        parts.append(shorten_text(last.conflict, limit // 2))
    if last.failing:
        parts.append("What fails because of the last attempt:\n" + list_failing_names(last.failing, limit // 8))
    room = limit - sum(map(len, parts)) - 200
    shown = shorten_text(last.diff.strip(), room // 2)
    output = excerpt_failures(last.output, last.failing, room - len(shown)) if last.output else ""
    parts += [f"What the checks printed:\n{output}"] if output else []
    parts += [f"What the last attempt had changed:\n{shown}"] if shown else []
    return "\n\n".join(parts)[:limit]


def summarise_attempts(tried: Sequence[TriedAttempt], limit: int) -> str:
    """List the newest attempts; older ones are only counted if there is no room."""
    lines: list[str] = []
    for number, each in reversed(list(enumerate(tried, 1))):
        line = f"Attempt {number}: {shorten_text(' '.join(each.cause.split()), 300)}"
        if lines and sum(map(len, lines)) + len(line) > limit - 60:
            older = f"{number} earlier attempts" if number > 1 else "An earlier attempt"
            lines.append(f"({older} failed too.)")
            break
        lines.append(line)
    return "\n".join(reversed(lines))


def list_failing_names(failing: frozenset[str], limit: int) -> str:
    shown = [f"- {shorten_text(name, 200)}" for name in sorted(failing)[:MOST_NAMES]]
    while len(shown) > 1 and sum(map(len, shown)) > limit:
        shown.pop()
    more = len(failing) - len(shown)
    return "\n".join(shown + ([f"- and {more} more"] if more else []))


def excerpt_failures(output: str, failing: frozenset[str], limit: int) -> str:
    """Return the lines around the failures, because an output begins with what went well. Without any, its end."""
    lines = output.splitlines()
    keys = [key for name in failing if (key := short_failure_name(name))]
    # Failures are printed where they happen, and again in a list at the end: the first time has the reason.
    hits = [n for n, line in enumerate(lines) if any(key in line for key in keys)]
    errors = [n for n, line in enumerate(lines) if line.strip().startswith(ERROR_STARTS)]
    wanted: set[int] = set()
    size = 0
    for hit in [*errors[:MOST_PLACES], *hits[:MOST_PLACES], *range(len(lines) - 1, max(-1, len(lines) - 1 - LAST), -1)]:
        near = range(max(0, hit - AROUND // 2), min(len(lines), hit + AROUND // 2 + 1))
        new = [n for n in near if n not in wanted]
        cost = sum(min(len(lines[n]), 300) + 1 for n in new)
        if size + cost > limit - 40:
            break
        wanted.update(new)
        size += cost
    return shorten_text("\n".join(lines_with_gaps(lines, sorted(wanted))), limit)


def short_failure_name(name: str) -> str:
    """Return test_x for tests/test_a.py::TestA::test_x[1]: the name of a failure in outputs."""
    return name.split("::")[-1].split(" > ")[-1].split(": ")[-1].partition("[")[0].strip()


def lines_with_gaps(lines: Sequence[str], wanted: Sequence[int]) -> list[str]:
    shown: list[str] = []
    for n, at in enumerate(wanted):
        if at and (n == 0 or wanted[n - 1] != at - 1):
            shown.append("...")
        shown.append(shorten_text(lines[at], 300))
    return shown


def shorten_text(text: str, limit: int) -> str:
    """Shorten a text to `limit` characters; the beginning says most."""
    return text if len(text) <= limit else text[: max(0, limit - 2)].rstrip() + " …"
