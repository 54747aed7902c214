"""Events of tasks: their attempts, and what people decide about them."""

from collections.abc import Mapping

from orchestra.events.base import Payload, Record, optional_field
from orchestra.model import TaskState, Verdict


class TaskMoved(Payload, kind="task_moved", of_task=True, needs=("state",)):
    """A task went into another state."""

    state: TaskState


class AiderReady(Payload, kind="aider_ready"):
    """Aider can work since `ago` seconds. Until then an attempt had only its worktree made."""

    ago: float


class AttemptStarted(Payload, kind="attempt_started", of_task=True, kw_only=True):
    """An attempt at a task began, on the commit `base`.

    `round` is the first number of the attempts that are made side by side; `by_hand`: a person did the work.
    """

    model: str
    base: str
    round: int = optional_field(0)
    by_hand: bool = optional_field(False)


class Lesson(Record):
    """What the next attempt should know: the change, what fails because of it, and what the checks printed."""

    diff: str
    failing: tuple[str, ...]
    output: str


class AiderOutcome(Record, needs=("end",)):
    """How Aider ended, in its own structured words."""

    end: str
    code: int
    replies: int
    edited: tuple[str, ...]
    refused: tuple[str, ...]
    complaint: str
    failure: str
    unparsed: tuple[str, ...]


class ProposedTask(Record, needs=("title",)):
    """A further task that an agent proposes."""

    title: str
    brief: str
    files: tuple[str, ...]


class AttemptEnded(Payload, kind="attempt_ended", of_task=True, kw_only=True, needs=("verdict",)):
    """An attempt ended with a verdict. What the attempt did not come to is left out.

    `commit` stands on `parent`. `changed` are its own files, `foreign` those of other agents, `protected` what acts by
    itself and was not taken, `notable` what was taken and should be looked at. `patch` holds what was not committed.
    """

    verdict: Verdict
    cause: str
    remedy: str
    commit: str
    parent: str
    seconds: float
    tried: Lesson
    round: int | None = optional_field()
    changed: tuple[str, ...] | None = optional_field()
    foreign: tuple[str, ...] | None = optional_field()
    refused: tuple[str, ...] | None = optional_field()
    protected: Mapping[str, str] | None = optional_field()
    notable: Mapping[str, str] | None = optional_field()
    left_out: tuple[str, ...] | None = optional_field()
    aider: AiderOutcome | None = optional_field()
    proposed: tuple[ProposedTask, ...] | None = optional_field()
    answered: bool | None = optional_field()
    said: str | None = optional_field()
    patch: str | None = optional_field()
    size: int | None = optional_field()
    branch: str | None = optional_field()
    review: str | None = optional_field()


class BranchKept(Payload, kind="branch_kept", of_task=True, needs=("branch",)):
    """The work of a task is on a branch of its own."""

    branch: str


class AttemptChosen(Payload, kind="chosen", of_task=True):
    """Of several attempts side by side, the event's attempt was chosen as the task's result."""

    round: int
    why: str


class TaskRetried(Payload, kind="retry", of_task=True):
    """A task gets another attempt. `on_top`: it goes on from the last one's work."""

    why: str
    on_top: bool


class TasksProposed(Payload, kind="tasks_proposed", of_task=True, needs=("tasks",)):
    """The agent of an accepted task proposed further tasks. They begin only when a person says so."""

    tasks: tuple[ProposedTask, ...]


class HumanNeeded(Payload, kind="human_needed", of_task=True, needs=("why",)):
    """A task waits for a person to decide."""

    why: str


class TaskResolved(Payload, kind="resolved", of_task=True, needs=("action",)):
    """A person decided about a task: retry, brief, abandon, spawn or take."""

    action: str
    text: str


class WorktreeLent(Payload, kind="lent", of_task=True, needs=("start", "parent")):
    """A person got a worktree to do the task by hand. It begins at `start`; the commit will stand on `parent`."""

    start: str
    parent: str
