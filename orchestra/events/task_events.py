"""Events of tasks: their attempts, and people's decisions about them."""

from collections.abc import Mapping

from orchestra.events.base import Payload, Record, optional_field
from orchestra.model import TaskState, Verdict


class TaskMoved(Payload, kind="task_moved", of_task=True, needs=("state",)):
    """A task changed its state."""

    state: TaskState


class AiderReady(Payload, kind="aider_ready"):
    """Aider became ready `ago` seconds before. Until then an attempt only prepared its worktree."""

    ago: float


class AttemptStarted(Payload, kind="attempt_started", of_task=True, kw_only=True):
    """An attempt at a task began, on the commit `base`.

    `round` is the first number of the attempts that are made side by side; `by_hand`: a person did the work;
    `agent_kind` is that of the agent, if it is not Aider.
    """

    model: str
    base: str
    round: int = optional_field(0)
    by_hand: bool = optional_field(False)
    agent_kind: str = optional_field("")


class Lesson(Record):
    """What the next attempt is told: the change, the failures it caused, and the output of the checks."""

    diff: str
    failing: tuple[str, ...]
    output: str


class AiderOutcome(Record, needs=("end",)):
    """How Aider ended, as it reported."""

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
    """An attempt ended with a verdict. Fields that the attempt did not reach are omitted.

    `commit` stands on `parent`. `changed` are its own files, `foreign` those of other agents, `protected` files that
    run by themselves and were not taken, `notable` taken files that need a look. `patch` has what was not committed.
    `nothing_to_do`: no change was needed, and `no_change` is no failure.
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
    nothing_to_do: bool | None = optional_field()
    said: str | None = optional_field()
    patch: str | None = optional_field()
    size: int | None = optional_field()
    branch: str | None = optional_field()
    review: str | None = optional_field()


class BranchKept(Payload, kind="branch_kept", of_task=True, needs=("branch",)):
    """The work of a task is kept on its own branch."""

    branch: str


class AttemptChosen(Payload, kind="chosen", of_task=True):
    """The event's attempt was chosen among several attempts side by side as the task's result."""

    round: int
    why: str


class TaskRetried(Payload, kind="retry", of_task=True):
    """A task gets another attempt. `on_top`: it continues the last attempt's work."""

    why: str
    on_top: bool


class TasksProposed(Payload, kind="tasks_proposed", of_task=True, needs=("tasks",)):
    """The agent of an accepted task proposed further tasks. They start only with a person's approval."""

    tasks: tuple[ProposedTask, ...]


class HumanNeeded(Payload, kind="human_needed", of_task=True, needs=("why",)):
    """A task needs a person's decision."""

    why: str


class TaskResolved(Payload, kind="resolved", of_task=True, needs=("action",)):
    """A person decided about a task: retry, brief, abandon, spawn or take."""

    action: str
    text: str
    source: str = optional_field("")  # where the person decided


class WorktreeLent(Payload, kind="lent", of_task=True, needs=("start", "parent")):
    """A person got a worktree to do the task by hand. It begins at `start`; the commit will stand on `parent`."""

    start: str
    parent: str
