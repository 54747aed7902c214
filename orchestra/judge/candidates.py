"""Choose among parallel attempts at one task, and explain why. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from orchestra.judge.policy import POLICY, is_worth_retrying
from orchestra.model import Verdict


@dataclass(frozen=True)
class Candidate:
    """An attempt as the choice sees it.

    `review`: the critic's verdict. `failing`: how much fails because of it. `size`: lines added and removed.
    """

    number: int
    verdict: Verdict
    review: str = ""
    failing: int = 0
    size: int = 0

    @property
    def accepted(self) -> bool:
        return self.verdict is Verdict.APPLIED

    @property
    def rank(self) -> tuple[int, int, int, int]:
        return self.distance, self.failing, self.size, self.number

    @property
    def distance(self) -> int:
        """How far the attempt is from acceptance. Gates decide first, then the critic, who is asked only if they pass.
        What no attempt can change counts least."""
        if self.accepted:
            return 0
        if self.review == "fail" or (self.verdict is Verdict.NO_CHANGE and self.size):
            return 1
        if self.verdict is Verdict.GATES_FAILED:
            return 2
        if is_worth_retrying(self.verdict):
            return 3
        return 5 if POLICY[self.verdict].interrupted else 4


def best_candidate(candidates: Iterable[Candidate]) -> Candidate:
    return min(candidates, key=lambda one: one.rank)


def explain_choice(candidates: Iterable[Candidate]) -> str:
    """Explain the choice in one sentence."""
    candidates = list(candidates)
    number, accepted = best_candidate(candidates).number, sum(one.accepted for one in candidates)
    if not accepted:
        return f"none was accepted; attempt {number} came nearest"
    if accepted == 1:
        return f"attempt {number} is the only one that was accepted"
    return f"of {accepted} that were accepted, attempt {number} changes the least"
