"""What attempts start from and what they leave behind."""

from dataclasses import dataclass, field

from orchestra.judge.candidates import Candidate
from orchestra.judge.retry import TriedAttempt
from orchestra.model import Judgement, Task, Verdict


@dataclass(frozen=True)
class TaskResult:
    """What an attempt leaves: a commit if its work was accepted, a patch if some of it was not."""

    task: Task
    judgement: Judgement
    commit: str = ""
    parent: str = ""
    tried: TriedAttempt = field(default_factory=lambda: TriedAttempt(Verdict.CANCELLED, ""))
    # For parallel attempts: the round, and what the choice between them looks at.
    round: int = 0
    candidate: Candidate | None = None


@dataclass(frozen=True)
class AttemptStart:
    """Where an attempt begins: the commit, the earlier changes up to it, and the lessons of earlier attempts.

    `parent` is the commit under the task's own commit; it precedes `base` if that holds earlier work of the task.
    """

    base: str
    parent: str
    carried: tuple[str, ...] = ()
    lesson: str = ""
    # The number of the first of several parallel attempts; 0 for a single one.
    round: int = 0
