"""What attempts start from and what they leave behind."""

from dataclasses import dataclass, field

from orchestra.judge.candidates import Candidate
from orchestra.judge.retry import TriedAttempt
from orchestra.model import Judgement, Task, Verdict


@dataclass(frozen=True)
class TaskResult:
    """What an attempt leaves: a commit when the work was accepted, a patch when there is something that was not."""

    task: Task
    judgement: Judgement
    commit: str = ""
    parent: str = ""
    tried: TriedAttempt = field(default_factory=lambda: TriedAttempt(Verdict.CANCELLED, ""))
    # Of one of several side by side: in which round, and what the choice looks at.
    round: int = 0
    candidate: Candidate | None = None


@dataclass(frozen=True)
class AttemptStart:
    """Where an attempt begins: the commit, what earlier attempts had changed up to there, and what they teach.
    `parent` is what the task's commit stands on, which is before `base` when that holds earlier work of the task."""

    base: str
    parent: str
    carried: tuple[str, ...] = ()
    lesson: str = ""
    # Of attempts that are made side by side: the number of the first. 0 where it is made alone.
    round: int = 0
