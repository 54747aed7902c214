"""What is known of an attempt as it goes on. However it ends, this is what its last event tells."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from orchestra.agents.base import Outcome
from orchestra.judge.candidates import Candidate
from orchestra.judge.retry import Tried
from orchestra.model import Judgement
from orchestra.plan.proposals import Proposed
from orchestra.workspace.collect import Changes


@dataclass(frozen=True)
class Lesson:
    """What the next attempt should know: the change, the names of what failed, and what the checks printed."""

    diff: str = ""
    failing: frozenset[str] = frozenset()
    output: str = ""


@dataclass
class AttemptRecord:
    """None: the attempt did not come so far."""

    round: int = 0
    changed: tuple[str, ...] | None = None
    changes: Changes | None = None
    outcome: Outcome | None = None
    answered: bool = False
    said: str | None = None
    proposed: tuple[Proposed, ...] | None = None
    patch: str | None = None
    size: int | None = None
    branch: str | None = None
    review: str | None = None
    lesson: Lesson = field(default_factory=Lesson)

    def learn(self, **more: Any) -> None:
        self.lesson = dataclasses.replace(self.lesson, **more)

    def tried(self, judged: Judgement) -> Tried:
        """The attempt as the next one learns from it."""
        lesson = self.lesson
        return Tried(judged.verdict, judged.cause, lesson.diff, lesson.failing, lesson.output, final=judged.final)

    def candidate(self, number: int, judged: Judgement) -> Candidate:
        return Candidate(number, judged.verdict, self.review or "", len(self.lesson.failing), self.size or 0)

    def data(self) -> dict[str, Any]:
        """What it came to, as its last event has it."""
        known: dict[str, Any] = {"round": self.round} if self.round else {}
        if self.changes is not None and self.outcome is not None:
            known |= data_of(self.changes, self.outcome)
        if self.changed is not None:
            known["changed"] = list(self.changed)
        if self.proposed is not None:
            known["proposed"] = [dataclasses.asdict(one) for one in self.proposed]
        known |= {"answered": True} if self.answered else {}
        names = ("said", "patch", "size", "branch", "review")
        return known | {name: value for name in names if (value := getattr(self, name)) is not None}


def data_of(changes: Changes, outcome: Outcome) -> dict[str, Any]:
    return {
        "changed": list(changes.own),
        "foreign": list(changes.foreign),
        "refused": list(outcome.refused),
        "protected": dict(changes.protected),
        "notable": dict(changes.notable),
        "left_out": list(changes.left_out),
        "aider": dataclasses.asdict(outcome),
    }
