"""Events of the run as a whole: its sessions, requirements, plan and notes."""

from collections.abc import Iterable, Mapping
from dataclasses import field

from orchestra.events.base import Event, Json, Payload, Record, optional_field, value_if_absent
from orchestra.model import DivisionBasis, Requirement, Task, WorkItem


class RunStarted(Payload, kind="run_started", kw_only=True):
    """A run began. The first event of every run; `folder` holds its worktrees, `options` are all of its settings.
    `launch`: what a server started it as."""

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
    launch: str = optional_field("")


class RunResumed(Payload, kind="run_resumed"):
    """Another session continues the run, after it ended or its process died. `launch`: what a server started it as."""

    folder: str
    pid: int
    options: Json
    launch: str = optional_field("")


class RunEnded(Payload, kind="run_ended", kw_only=True, needs=("exit_code",)):
    """A session ended: its last event. `signal` stopped it; 0 if none did."""

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
    """The answer to a command from another terminal, which recognizes it by the token."""

    name: str
    token: str
    answer: str
    refused: bool
    source: str = optional_field("")  # where it came from


class RunPaused(Payload, kind="run_paused", needs=("paused",)):
    """A person paused the run, so that no further attempt begins, or ended the pause."""

    paused: bool


class BudgetChanged(Payload, kind="budget_changed", needs=("dollars",)):
    """A person changed the dollars that the run may cost."""

    dollars: float


class LimitReached(Payload, kind="limit_reached", needs=("limit",)):
    """A limit of the run was reached, so no further work begins."""

    limit: str


class PrdAsked(Payload, kind="prd_asked", needs=("model",)):
    """The run asked a model to write the requirements document (PRD)."""

    model: str


class PrdWritten(Payload, kind="prd_written", kw_only=True, needs=("text",)):
    """The PRD was written by a model or read from a file. `structured`: it has a block for the program."""

    path: str
    text: str
    structured: bool
    requirements: tuple[Requirement, ...]
    work: tuple[WorkItem, ...]


class TaskRange(Record, needs=("task", "tokens", "minutes")):
    """The estimate of a task, as ranges from least to most."""

    task: int
    tokens: tuple[int, int]
    dollars: tuple[float, float] | None
    minutes: tuple[float, float]


class PlanRange(Record, needs=("tokens", "minutes", "tasks")):
    """The estimate of all tasks. `each`: attempts at every task side by side."""

    tokens: tuple[int, int]
    dollars: tuple[float, float] | None
    minutes: tuple[float, float]
    each: int = field(metadata=value_if_absent(1))
    basis: str
    tasks: tuple[TaskRange, ...]


class PlanMade(Payload, kind="plan_made", kw_only=True, needs=("tasks",)):
    """The work was divided into tasks.

    `skipped` and `aside` are files that were left out, `named` those that the user named one by one. `words`: the
    change is in the user's own words. `file` and `repairs`: the file of the plan, and what was repaired in it. `cut`:
    the digest of the plan that was cut into shards, of which these are some or all tasks.
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
    cut: str = optional_field("")


class PlanDrafted(Payload, kind="drafted", needs=("file",)):
    """The plan was written to a file and not carried out. `tasks` is the number of unfinished tasks."""

    file: str
    tasks: int
    repairs: tuple[str, ...]


class PlanChanged(Payload, kind="plan_changed", kw_only=True, needs=("tasks",)):
    """A person changed tasks, or replaced the task `replaces` with the task `by`."""

    tasks: tuple[Task, ...]
    replaces: int = optional_field(0)
    by: int = optional_field(0)


class ReplayEnded(Payload, kind="replayed"):
    """A run with --replay ended. `unused` counts, per agent, the replies of the recording that were not used."""

    unused: Mapping[str, int]


def has_ended(events: Iterable[Event]) -> bool:
    """Whether the last session of a run has ended. A note may come after its last event."""
    marks = [event.kind for event in events if event.kind in (RunStarted.kind, RunResumed.kind, RunEnded.kind)]
    return marks[-1:] == [RunEnded.kind]
