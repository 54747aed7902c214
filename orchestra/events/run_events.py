"""Events of the run as a whole: its sessions, its requirements, its plan, and what it has to say."""

from collections.abc import Iterable, Mapping
from dataclasses import field

from orchestra.events.base import Event, Json, Payload, Record, optional_field, value_if_absent
from orchestra.model import DivisionBasis, Requirement, Task, WorkItem


class RunStarted(Payload, kind="run_started", kw_only=True):
    """A run began. The first event of every run; `folder` holds its worktrees, `options` are all of its settings."""

    change: str
    options: Json
    folder: str
    pid: int
    namespace: str
    unborn: bool
    repository: str
    branch: str
    base: str
    model: str
    provider: str


class RunResumed(Payload, kind="run_resumed"):
    """Another session took the run up, after it had ended or its process had died."""

    folder: str
    pid: int
    options: Json


class RunEnded(Payload, kind="run_ended", kw_only=True, needs=("exit_code",)):
    """A session ended: the last event it writes. `signal` is what stopped it, 0 if nothing did."""

    exit_code: int
    error: str
    signal: int
    tasks: int | None
    complete: int | None
    cost: float | None


class Note(Payload, kind="note", needs=("text",)):
    """Something the user should know, in one sentence."""

    text: str


class CommandAnswered(Payload, kind="command", kw_only=True, needs=("name",)):
    """The run answered a command from another terminal, which recognizes its answer by the token."""

    name: str
    token: str
    answer: str
    refused: bool


class LimitReached(Payload, kind="limit_reached", needs=("limit",)):
    """A limit of the run was reached, so no further work begins."""

    limit: str


class PrdAsked(Payload, kind="prd_asked", needs=("model",)):
    """The run asked a model to write the requirements document (PRD)."""

    model: str


class PrdWritten(Payload, kind="prd_written", kw_only=True, needs=("text",)):
    """The PRD is there, by a model or from a file. `structured`: it has a block for the program."""

    path: str
    text: str
    structured: bool
    requirements: tuple[Requirement, ...]
    work: tuple[WorkItem, ...]


class TaskRange(Record, needs=("task", "tokens", "minutes")):
    """What one task is expected to take, from the least to the most."""

    task: int
    tokens: tuple[int, int]
    dollars: tuple[float, float] | None
    minutes: tuple[float, float]


class PlanRange(Record, needs=("tokens", "minutes", "tasks")):
    """What all tasks are expected to take. `each`: how many attempts are made at every task side by side."""

    tokens: tuple[int, int]
    dollars: tuple[float, float] | None
    minutes: tuple[float, float]
    each: int = field(metadata=value_if_absent(1))
    basis: str
    tasks: tuple[TaskRange, ...]


class PlanMade(Payload, kind="plan_made", kw_only=True, needs=("tasks",)):
    """The work was divided into tasks.

    `skipped` and `aside` are files that were left out, `named` those a person has named one by one. `words`: the change
    is in the user's own words. A plan that came from a file names it, and what was repaired in it.
    """

    agents: int
    basis: DivisionBasis
    tasks: tuple[Task, ...]
    estimate: PlanRange | None
    skipped: tuple[str, ...]
    aside: tuple[str, ...]
    named: tuple[str, ...]
    words: bool = field(metadata=value_if_absent(True))
    file: str = optional_field("")
    repairs: tuple[str, ...] | None = optional_field()


class PlanDrafted(Payload, kind="drafted", needs=("file",)):
    """The plan was written to a file and not carried out. `tasks` is how many are to be done."""

    file: str
    tasks: int
    repairs: tuple[str, ...]


class PlanChanged(Payload, kind="plan_changed", kw_only=True, needs=("tasks",)):
    """A person changed what tasks are to do, or put a task in the place of another one (`replaces`, `by`)."""

    tasks: tuple[Task, ...]
    replaces: int = optional_field(0)
    by: int = optional_field(0)


class ReplayEnded(Payload, kind="replayed"):
    """A run with --replay ended. `unused` counts, per agent, the replies of the recording that were not asked for."""

    unused: Mapping[str, int]


def has_ended(events: Iterable[Event]) -> bool:
    """Whether the last session of a run has ended. A note may come after its last event."""
    marks = [each.kind for each in events if each.kind in (RunStarted.kind, RunResumed.kind, RunEnded.kind)]
    return marks[-1:] == [RunEnded.kind]
