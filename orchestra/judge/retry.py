"""After an attempt: is it done, is another one worth its money, and what must the next one know."""

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


class NextAction(StrEnum):
    DONE = "done"
    FRESH = "fresh"
    ON_TOP = "on_top"
    ASK = "ask"
    GIVE_UP = "give_up"


@dataclass(frozen=True)
class CheckFailure:
    """What fails because of an attempt, and what the checks printed of it."""

    failing: frozenset[str] = frozenset()
    output: str = ""


@dataclass(frozen=True)
class TriedAttempt:
    """An attempt as the next one should know it. `diff` is what it changed, `output` what its failed gate printed."""

    verdict: Verdict
    cause: str
    diff: str = ""
    failing: frozenset[str] = frozenset()
    output: str = ""
    dollars: float | None = 0.0
    # Those that were made side by side with it and were no better.
    beside: tuple["TriedAttempt", ...] = ()
    final: bool = False


@dataclass(frozen=True)
class NextStep:
    """What comes next, and the sentence that says why."""

    next: NextAction
    why: str


def next_step(
    tried: Sequence[TriedAttempt], retries: int, *, dollars_left: float | None = None, human: bool = False
) -> NextStep:
    """`retries` is how many attempts may follow the first; `dollars_left` is None without a budget."""
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
        return NextStep(end, f"It failed {count_times(len(tried))}; the last time: {last.cause}")
    if is_stuck(tried):
        return NextStep(end, f"Two attempts running ended the same way, so a third is not paid for: {last.cause}")
    if dollars_left is not None and last.dollars is not None and last.dollars > dollars_left:
        return NextStep(end, f"The last attempt cost ${last.dollars:.2f}, and only ${dollars_left:.2f} are left.")
    return retry_step(tried)


def retry_step(tried: Sequence[TriedAttempt]) -> NextStep:
    """On top of the last where its work is there and comes nearer; fresh where it led nowhere."""
    last = tried[-1]
    if last.verdict is Verdict.NO_CHANGE and last.diff:
        return NextStep(NextAction.ON_TOP, f"Once more, for what is still missing: {last.cause}")
    if last.verdict is not Verdict.GATES_FAILED or not last.diff:
        return NextStep(NextAction.FRESH, f"Once more, from the start ({last.verdict}): {last.cause}")
    before = [each for each in tried[:-1] if each.verdict is Verdict.GATES_FAILED]
    if before and len(last.failing) >= len(before[-1].failing):
        return NextStep(NextAction.FRESH, f"The last attempt came no nearer, so once more from the start: {last.cause}")
    return NextStep(NextAction.ON_TOP, f"Once more, on top of what is there: {last.cause}")


def is_stuck(tried: Sequence[TriedAttempt]) -> bool:
    """The same diff and the same failure twice running. A server that was down says nothing of the agent."""
    if len(tried) < 2:
        return False
    one, two = tried[-2:]
    same = (one.verdict, one.diff, one.failing) == (two.verdict, two.diff, two.failing)
    # What fails has names; of any other failure only its sentence tells whether it is the same.
    same = same and (one.verdict is Verdict.GATES_FAILED or one.cause == two.cause)
    return same and POLICY[two.verdict].retry is Retry.UNLESS_STUCK


def count_times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


# --- what the next attempt is told ----------------------------------------------------------------------------------


def build_feedback(tried: Sequence[TriedAttempt], limit: int = LIMIT) -> str:
    """The story of the attempts so far: one line for each, then the last one's failures, output and diff, in at most
    `limit` characters however many there were."""
    if not tried:
        return ""
    last = tried[-1]
    parts = [summarise_attempts([one for each in tried for one in (*each.beside, each)], limit // 4)]
    if last.failing:
        parts.append("What fails because of the last attempt:\n" + list_failing_names(last.failing, limit // 8))
    room = limit - sum(map(len, parts)) - 200
    shown = shorten_text(last.diff.strip(), room // 2)
    output = excerpt_failures(last.output, last.failing, room - len(shown)) if last.output else ""
    parts += [f"What the checks printed:\n{output}"] if output else []
    parts += [f"What the last attempt had changed:\n{shown}"] if shown else []
    return "\n\n".join(parts)[:limit]


def summarise_attempts(tried: Sequence[TriedAttempt], limit: int) -> str:
    """The newest attempts are told, the older ones counted when there is no room."""
    lines: list[str] = []
    for number, each in reversed(list(enumerate(tried, 1))):
        line = f"Attempt {number}: {shorten_text(' '.join(each.cause.split()), 300)}"
        if lines and sum(map(len, lines)) + len(line) > limit - 60:
            lines.append(
                f"({number} earlier attempts failed too.)" if number > 1 else "(An earlier attempt failed too.)"
            )
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
    """The lines around the failures, for an output begins with what went well. The end is the best guess without."""
    lines = output.splitlines()
    keys = [key for name in failing if (key := short_failure_name(name))]
    # Failures are told of where they happen, and a second time in a list at the end: the first telling says why.
    hits = [n for n, line in enumerate(lines) if any(key in line for key in keys)]
    errors = [n for n, line in enumerate(lines) if is_error(line)]
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


def is_error(line: str) -> bool:
    """Whether a line looks like the reason for a failure in one of the usual tools."""
    text = line.strip()
    return text.startswith(
        ("E  ", "Error:", "AssertionError", "panicked at", "thread '", "error[", "error:", "✕", "not ok")
    )


def short_failure_name(name: str) -> str:
    """test_x of tests/test_a.py::TestA::test_x[1]: what an output names a failure by."""
    return name.split("::")[-1].split(" > ")[-1].split(": ")[-1].partition("[")[0].strip()


def lines_with_gaps(lines: Sequence[str], wanted: Sequence[int]) -> list[str]:
    shown: list[str] = []
    for n, at in enumerate(wanted):
        if at and (n == 0 or wanted[n - 1] != at - 1):
            shown.append("...")
        shown.append(shorten_text(lines[at], 300))
    return shown


def shorten_text(text: str, limit: int) -> str:
    """At most `limit` characters; the beginning says most."""
    return text if len(text) <= limit else text[: max(0, limit - 2)].rstrip() + " …"
