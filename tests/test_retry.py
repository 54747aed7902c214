"""Whether another attempt is worth its money, and what it is told: what matters, in a bounded size."""

import pytest

from orchestra.judge.retry import LIMIT, NextAction, TriedAttempt, build_feedback, next_step
from orchestra.model import Verdict as V


def tried(verdict: V, diff: str = "d", failing: str = "") -> TriedAttempt:
    return TriedAttempt(verdict, f"It ended as {verdict}.", diff, frozenset(failing.split()))


GATE, APPLIED = V.GATES_FAILED, V.APPLIED
CASES = [
    ([], {}, NextAction.FRESH),
    ([tried(APPLIED)], {}, NextAction.DONE),
    ([tried(GATE, "1", "a b"), tried(APPLIED)], {}, NextAction.DONE),
    ([tried(GATE, "1", "a")], {}, NextAction.ON_TOP),
    ([tried(GATE, "1", "a b"), tried(GATE, "2", "a")], {}, NextAction.ON_TOP),  # nearer
    ([tried(GATE, "1", "a"), tried(GATE, "2", "a b")], {}, NextAction.FRESH),  # no nearer
    ([tried(GATE, "1", "a"), tried(GATE, "1", "a")], {}, NextAction.GIVE_UP),  # stuck
    ([tried(GATE, "1", "a"), tried(GATE, "1", "b")], {}, NextAction.FRESH),  # same diff, another failure
    ([tried(GATE, "1", "a"), tried(GATE, "1", "a")], {"human": True}, NextAction.ASK),
    ([tried(GATE, "1", "a"), tried(GATE, "2", "b"), tried(GATE, "1", "a")], {}, NextAction.FRESH),  # not running
    ([tried(GATE, str(n), str(n)) for n in range(4)], {}, NextAction.FRESH),
    ([tried(GATE, str(n), str(n)) for n in range(5)], {}, NextAction.GIVE_UP),
    ([tried(GATE, str(n), str(n)) for n in range(5)], {"human": True}, NextAction.ASK),
    ([tried(V.REJECTED_EDIT, "")], {}, NextAction.FRESH),
    ([tried(V.REJECTED_EDIT, ""), tried(V.REJECTED_EDIT, "")], {}, NextAction.GIVE_UP),
    ([tried(V.CRASHED, ""), tried(V.CRASHED, "")], {}, NextAction.FRESH),  # says nothing of the agent
    ([tried(V.UNREACHABLE, "")], {}, NextAction.GIVE_UP),  # the gateway has been patient already
    ([tried(V.TIMEOUT, "")], {}, NextAction.FRESH),
    ([tried(V.CANCELLED)], {"human": True}, NextAction.GIVE_UP),
    *(([tried(verdict)], {}, NextAction.GIVE_UP) for verdict in (V.AUTH, V.QUOTA, V.BUDGET, V.CONTEXT)),
    *(([tried(verdict)], {"human": True}, NextAction.GIVE_UP) for verdict in (V.AUTH, V.QUOTA, V.BUDGET, V.CONTEXT)),
]


@pytest.mark.parametrize(("attempts", "more", "then"), CASES)
def test_next_step(attempts: list[TriedAttempt], more: dict[str, bool], then: NextAction) -> None:
    step = next_step(attempts, 4, **more)
    assert step.next is then and step.why.endswith(".")


def test_every_verdict_has_an_answer() -> None:
    for verdict in V:
        assert next_step([tried(verdict)], 4).why


# --- feedback -------------------------------------------------------------------------------------------------------

NOISE = "".join(f"test_shop.py::test_fine_{n} PASSED\n" for n in range(3000))
OUTPUT = f"""{NOISE}
____ test_total ____
    def test_total():
>       assert total([2, 3]) == 5
E       assert 6 == 5
test_shop.py:9: AssertionError
{NOISE}
FAILED test_shop.py::test_total - assert 6 == 5
"""
DIFF = "+++ b/shop.py\n-    return sum(x)\n+    return sum(x) + 1\n"
LAST = TriedAttempt(GATE, "pytest failed.", DIFF, frozenset({"test_shop.py::test_total"}), OUTPUT)


def test_feedback_has_attempts_failures_and_diff() -> None:
    told = build_feedback([TriedAttempt(V.NO_CHANGE, "It changed nothing."), LAST])
    assert "Attempt 1: It changed nothing." in told and "Attempt 2: pytest failed." in told
    assert "- test_shop.py::test_total" in told
    assert ">       assert total([2, 3]) == 5\nE       assert 6 == 5\ntest_shop.py:9" in told
    assert DIFF.strip() in told
    assert told.count("PASSED") < 40 and len(told) <= LIMIT


@pytest.mark.thorough
@pytest.mark.parametrize("count", [1, 2, 10, 500])
@pytest.mark.parametrize("limit", [1_000, LIMIT])
def test_it_is_bounded_however_much_there_is(count: int, limit: int) -> None:
    failing = frozenset(f"tests/test_{n}.py::test_{n * 'x'}" for n in range(400))
    huge = TriedAttempt(GATE, "Much failed. " * 100, "+ line\n" * 90_000, failing, "E   no\n" * 90_000)
    told = build_feedback([huge] * (count - 1) + [LAST], limit)
    assert len(told) <= limit and f"Attempt {count}: pytest failed." in told and "assert 6 == 5" in told
    assert len(build_feedback([huge] * count, limit)) <= limit
    if count > 100:
        assert "earlier attempts failed too" in told


def test_what_is_not_there_is_not_spoken_of() -> None:
    assert build_feedback([]) == ""
    told = build_feedback([TriedAttempt(V.REJECTED_EDIT, "The edits did not fit.")])
    assert told == "Attempt 1: The edits did not fit."
    unknown = build_feedback(
        [TriedAttempt(GATE, "make failed.", "", frozenset({"exit code 2"}), NOISE + "the very end\n")]
    )
    assert "the very end" in unknown and len(unknown) <= LIMIT
