"""Events of the run as a whole: its sessions, its requirements, its plan, and what it has to say."""

from collections.abc import Mapping
from dataclasses import field

from orchestra.events.base import EMPTY, Json, Payload, Record, absent, optional
from orchestra.model import Basis, Requirement, Task, Work


class RunStarted(Payload, kind="run_started", kw_only=True):
    """A run began. The first event of every run; `folder` holds its worktrees, `options` are all of its settings."""

    change: str
    options: Json = field(metadata=absent(EMPTY))
    folder: str = field(metadata=absent(""))
    pid: int = field(metadata=absent(0))
    namespace: str = field(metadata=absent(""))
    unborn: bool = field(metadata=absent(False))
    repository: str = field(metadata=absent(""))
    branch: str = field(metadata=absent(""))
    base: str = field(metadata=absent(""))
    model: str = field(metadata=absent(""))
    provider: str = field(metadata=absent(""))


class RunResumed(Payload, kind="run_resumed"):
    """Another session took the run up, after it had ended or its process had died."""

    folder: str = field(metadata=absent(""))
    pid: int = field(metadata=absent(0))
    options: Json = field(metadata=absent(EMPTY))


class RunEnded(Payload, kind="run_ended", kw_only=True):
    """A session ended: the last event it writes. `signal` is what stopped it, 0 if nothing did."""

    exit_code: int
    error: str = field(metadata=absent(""))
    signal: int = field(metadata=absent(0))
    tasks: int | None = field(metadata=absent(None))
    complete: int | None = field(metadata=absent(None))
    cost: float | None = field(metadata=absent(None))


class Note(Payload, kind="note"):
    """Something the user should know, in one sentence."""

    text: str


class CommandAnswered(Payload, kind="command", kw_only=True):
    """The run answered a command from another terminal, which recognizes its answer by the token."""

    name: str
    token: str = field(metadata=absent(""))
    answer: str = field(metadata=absent(""))
    refused: bool = field(metadata=absent(False))


class LimitReached(Payload, kind="limit_reached"):
    """A limit of the run was reached, so no further work begins."""

    limit: str


class PrdAsked(Payload, kind="prd_asked"):
    """The run asked a model to write the requirements document (PRD)."""

    model: str


class PrdWritten(Payload, kind="prd_written", kw_only=True):
    """The PRD is there, by a model or from a file. `structured`: it has a block for the program."""

    path: str
    text: str
    structured: bool
    requirements: tuple[Requirement, ...]
    work: tuple[Work, ...]


class TaskRange(Record):
    """What one task is expected to take, from the least to the most."""

    task: int
    tokens: tuple[int, int]
    dollars: tuple[float, float] | None
    minutes: tuple[float, float]


class PlanRange(Record):
    """What all tasks are expected to take. `each`: how many attempts are made at every task side by side."""

    tokens: tuple[int, int]
    dollars: tuple[float, float] | None
    minutes: tuple[float, float]
    each: int = field(metadata=absent(1))
    basis: str = field(metadata=absent(""))
    tasks: tuple[TaskRange, ...]


class PlanMade(Payload, kind="plan_made", kw_only=True):
    """The work was divided into tasks.

    `skipped` and `aside` are files that were left out, `named` those a person has named one by one. `words`: the change
    is in the user's own words. A plan that came from a file names it, and what was repaired in it.
    """

    agents: int
    basis: Basis = field(metadata=absent(Basis()))
    tasks: tuple[Task, ...]
    estimate: PlanRange | None = field(metadata=absent(None))
    skipped: tuple[str, ...] = field(metadata=absent(()))
    aside: tuple[str, ...] = field(metadata=absent(()))
    named: tuple[str, ...] = field(metadata=absent(()))
    words: bool = field(metadata=absent(True))
    file: str = optional("")
    repairs: tuple[str, ...] | None = optional()


class Drafted(Payload, kind="drafted"):
    """The plan was written to a file and not carried out. `tasks` is how many are to be done."""

    file: str
    tasks: int
    repairs: tuple[str, ...] = field(metadata=absent(()))


class PlanChanged(Payload, kind="plan_changed", kw_only=True):
    """A person changed what tasks are to do, or put a task in the place of another one (`replaces`, `by`)."""

    tasks: tuple[Task, ...]
    replaces: int = optional(0)
    by: int = optional(0)


class Replayed(Payload, kind="replayed"):
    """A run with --replay ended. `unused` counts, per agent, the replies of the recording that were not asked for."""

    unused: Mapping[str, int]
