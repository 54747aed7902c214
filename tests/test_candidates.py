"""Of several attempts at one task the best is kept: by its gates, then the critic's word, then the smallest diff."""

import itertools

import pytest

from orchestra.judge.candidates import Candidate, best_candidate, explain_choice
from orchestra.model import Verdict as V


def made(number: int, verdict: V = V.APPLIED, *, size: int = 10, failing: int = 0, review: str = "") -> Candidate:
    return Candidate(number, verdict, review, failing, size)


GATE = V.GATES_FAILED
# The best first, and what is said of it; each list is judged in any order.
CASES = [
    ([made(1)], "attempt 1 is the only one that was accepted"),
    ([made(2), made(1, GATE, size=1, failing=1)], "attempt 2 is the only one that was accepted"),
    ([made(3, size=4), made(1, size=5), made(2, size=90)], "of 3 that were accepted, attempt 3 changes the least"),
    ([made(2, size=4), made(1, V.BUDGET, size=0), made(3, size=5)], "of 2 that were accepted, attempt 2 changes the"),
    ([made(1, size=4), made(2, size=4)], "of 2 that were accepted, attempt 1 changes the least"),
    ([made(2, size=0), made(1, V.CRASHED, size=0)], "attempt 2 is the only one that was accepted"),
    # None was accepted: what came nearest, for the next round to go on from.
    ([made(2, GATE, failing=1, review="fail"), made(1, GATE, failing=1, size=1)], "none was accepted; attempt 2"),
    ([made(2, GATE, failing=1), made(1, GATE, failing=2, size=1)], "none was accepted; attempt 2 came nearest"),
    ([made(2, GATE, failing=1, size=3), made(1, GATE, failing=1, size=8)], "none was accepted; attempt 2 came"),
    ([made(2, GATE, failing=9), made(1, V.REJECTED_EDIT, size=0)], "none was accepted; attempt 2 came nearest"),
    ([made(2, V.NO_CHANGE), made(1, GATE, failing=1)], "none was accepted; attempt 2 came nearest"),
    ([made(2, GATE, failing=9), made(1, V.NO_CHANGE, size=0)], "none was accepted; attempt 2 came nearest"),
    ([made(2, V.REJECTED_EDIT, size=0), made(1, V.AUTH, size=0)], "none was accepted; attempt 2 came nearest"),
    ([made(2, V.TIMEOUT, size=0), made(1, V.BUDGET, size=0)], "none was accepted; attempt 2 came nearest"),
    # One is stopped when all are: what has stopped it is the better answer to why there is nothing.
    ([made(2, V.BUDGET, size=0), made(1, V.CANCELLED, size=0)], "none was accepted; attempt 2 came nearest"),
]


@pytest.mark.parametrize(("ranked", "words"), CASES)
def test_the_best_is_the_same_in_whatever_order_they_end(ranked: list[Candidate], words: str) -> None:
    for order in itertools.permutations(ranked):
        assert best_candidate(order) == ranked[0]
        assert explain_choice(order).startswith(words)


def test_every_verdict_has_a_place() -> None:
    for verdict in V:
        assert best_candidate([made(1, verdict), made(2, V.APPLIED)]).verdict is V.APPLIED
