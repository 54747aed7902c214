"""What is known of an attempt as it goes on. However it ends, this is what its last event tells."""

from dataclasses import dataclass, field
from typing import Any

from orchestra import events
from orchestra.agents.base import AgentOutcome
from orchestra.judge.candidates import Candidate
from orchestra.judge.retry import CheckFailure, TriedAttempt
from orchestra.model import Judgement
from orchestra.workspace.collect import Changes

EVENT_FIELDS = ("round", "answered", "changed", "proposed", "said", "patch", "size", "branch", "review")


@dataclass
class AttemptRecord:
    """None: the attempt did not come so far. `diff` and `failure` are for the next attempt."""

    round: int | None = None
    changes: Changes | None = None
    outcome: AgentOutcome | None = None
    changed: tuple[str, ...] | None = None
    proposed: tuple[events.ProposedTask, ...] | None = None
    answered: bool | None = None
    said: str | None = None
    patch: str | None = None
    size: int | None = None
    branch: str | None = None
    review: str | None = None
    diff: str = ""
    failure: CheckFailure = field(default_factory=CheckFailure)

    def as_lesson(self, judged: Judgement) -> TriedAttempt:
        """The attempt as the next one learns from it."""
        failing, output = self.failure.failing, self.failure.output
        return TriedAttempt(judged.verdict, judged.cause, self.diff, failing, output, final=judged.final)

    def candidate(self, number: int, judged: Judgement) -> Candidate:
        return Candidate(number, judged.verdict, self.review or "", len(self.failure.failing), self.size or 0)

    def event_data(self) -> dict[str, Any]:
        """What it came to, as its last event has it."""
        known = (
            outcome_data(self.changes, self.outcome) if self.changes is not None and self.outcome is not None else {}
        )
        return known | {name: value for name in EVENT_FIELDS if (value := getattr(self, name)) is not None}


def outcome_data(changes: Changes, outcome: AgentOutcome) -> dict[str, Any]:
    return {
        "changed": changes.own,
        "foreign": changes.foreign,
        "refused": outcome.refused,
        "protected": changes.protected,
        "notable": changes.notable,
        "left_out": changes.left_out,
        "aider": events.AiderOutcome(**vars(outcome)),
    }
