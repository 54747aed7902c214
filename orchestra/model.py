"""The vocabulary: tasks, plans, verdicts. Frozen records that every other package uses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property


class TaskState(StrEnum):
    PLANNED = "planned"
    READY = "ready"
    ACTIVE = "active"
    AWAITING_QA = "awaiting_qa"
    COMPLETE = "complete"
    FAILED = "failed"
    WAITING_HUMAN = "waiting_human"
    ABANDONED = "abandoned"


TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    TaskState.PLANNED: frozenset({TaskState.READY, TaskState.ABANDONED}),
    TaskState.READY: frozenset({TaskState.ACTIVE, TaskState.ABANDONED}),
    TaskState.ACTIVE: frozenset({TaskState.AWAITING_QA, TaskState.FAILED}),
    TaskState.AWAITING_QA: frozenset({TaskState.COMPLETE, TaskState.FAILED}),
    TaskState.FAILED: frozenset({TaskState.READY, TaskState.WAITING_HUMAN}),
    TaskState.WAITING_HUMAN: frozenset({TaskState.READY, TaskState.ABANDONED}),
    TaskState.COMPLETE: frozenset(),
    TaskState.ABANDONED: frozenset(),
}


class Verdict(StrEnum):
    """The result of one attempt."""

    APPLIED = "applied"
    NO_CHANGE = "no_change"
    REJECTED_EDIT = "rejected_edit"
    OUT_OF_SCOPE = "out_of_scope"
    GATES_FAILED = "gates_failed"
    AUTH = "auth"
    QUOTA = "quota"
    RATE_LIMIT = "rate_limit"
    CONTEXT = "context"
    PROVIDER_ERROR = "provider_error"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BUDGET = "budget"
    ITERATIONS = "iterations"
    CRASHED = "crashed"
    CANCELLED = "cancelled"


class Verified(StrEnum):
    """How far a result was checked, the least first. Only tests that agents could not influence make it 'verified'."""

    NONE = "none"
    SYNTAX = "syntax"
    CHANGED_TESTS = "changed-tests"
    TESTS = "tests"


@dataclass(frozen=True)
class Judgement:
    """A verdict with its reason and its remedy, a sentence each. `final`: another attempt would end the same way.

    `nothing_to_do`: no change was needed, so that `no_change` is no failure.
    """

    verdict: Verdict
    cause: str
    remedy: str = ""
    final: bool = False
    nothing_to_do: bool = False

    @property
    def ends_well(self) -> bool:
        return self.verdict is Verdict.APPLIED or self.nothing_to_do


@dataclass(frozen=True)
class Requirement:
    id: str
    text: str
    acceptance: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contract:
    """A name that parallel agents must agree on."""

    name: str
    signature: str
    file: str = ""
    purpose: str = ""
    together: tuple[str, ...] = ()  # files that one agent must get


@dataclass(frozen=True)
class WorkItem:
    """What the PRD asks for in one file."""

    file: str
    do: str
    new: bool = False
    requirements: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prd:
    """A product requirements document: prose for people and, usually, the block for the program."""

    prose: str
    requirements: tuple[Requirement, ...] = ()
    contracts: tuple[Contract, ...] = ()
    work: tuple[WorkItem, ...] = ()
    structured: bool = False


@dataclass(frozen=True)
class TargetFile:
    """A file to change. One that was named must change; a folder or glob only says where to look."""

    path: str
    tokens: int = 0
    new: bool = False
    required: bool = False


@dataclass(frozen=True)
class Task:
    """One agent's share of the change.

    `needs`: the tasks whose integrated result it starts from. `priority`: 1 high, 0 normal, -1 low. `name`: its id in a
    plan's file. `kind`: the kind of agent that the plan names for it; empty: what its role or the settings say.
    """

    id: int
    title: str
    files: tuple[TargetFile, ...]
    brief: str = ""
    requirements: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    needs: tuple[int, ...] = ()
    role: str = ""
    priority: int = 0
    risk: str = ""  # low, normal, high
    acceptance: tuple[str, ...] = ()
    name: str = ""
    kind: str = field(default="", metadata={"optional": True})  # of its agent; events omit it while it is empty

    @property
    def agent(self) -> str:
        return f"agent{self.id}"

    @property
    def headline(self) -> str:
        """The first line of its title in a plan's file; empty if it has no name there."""
        return next((line.strip() for line in self.title.splitlines() if self.name and line.strip()), "")

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(file.path for file in self.files)

    @property
    def tokens(self) -> int:
        return sum(file.tokens for file in self.files)


# What a person can decide about a waiting task, and whether that takes a text.
DECISION_ACTIONS = {"retry": False, "brief": True, "abandon": False, "spawn": True, "take": False}


@dataclass(frozen=True)
class Decision:
    """A person's decision about a waiting task: one of DECISION_ACTIONS, with a text, and where it was made."""

    task: int
    action: str
    text: str = ""
    question: int | None = None  # that it answers; None: the one that stands
    source: str = ""


@dataclass(frozen=True)
class FileLink:
    """Two coupled files, how strongly, and why."""

    one: str
    other: str
    strength: int
    why: str

    def __str__(self) -> str:
        return f"{self.one} + {self.other}: {self.why}"


@dataclass(frozen=True)
class DivisionBasis:
    """The basis of a division: how much of what usually changes together is cut (None: too little is known), the number
    of commits that show it, the strongest links within and between tasks, and notes."""

    cut: float | None = None
    commits: int = 0
    together: tuple[tuple[FileLink, ...], ...] = ()
    apart: tuple[FileLink, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    tasks: tuple[Task, ...]
    agents: int
    basis: DivisionBasis = DivisionBasis()

    @cached_property
    def owners(self) -> dict[str, int]:
        return {path: task.id for task in self.tasks for path in task.paths}

    @cached_property
    def needs(self) -> dict[int, tuple[int, ...]]:
        return needs_by_task(self.tasks)

    @cached_property
    def by_id(self) -> dict[int, Task]:
        return {task.id: task for task in self.tasks}

    @cached_property
    def by_title(self) -> dict[str, list[Task]]:
        """Return the tasks by the first line of their title; those without a name, by an empty one."""
        found: dict[str, list[Task]] = {}
        for task in self.tasks:
            found.setdefault(task.headline, []).append(task)
        return found

    @cached_property
    def needed_by(self) -> dict[int, list[int]]:
        """Return the direct dependents of each task."""
        found: dict[int, list[int]] = {task.id: [] for task in self.tasks}
        for task, needs in self.needs.items():
            for need in needs:
                found[need].append(task)
        return found


def needs_by_task(tasks: Sequence[Task]) -> dict[int, tuple[int, ...]]:
    """Return the existing dependencies of each task: a plan may lack a task that is needed."""
    known = {task.id for task in tasks}
    return {task.id: tuple(need for need in task.needs if need in known) for task in tasks}


@dataclass(frozen=True)
class Gate:
    """A command that decides whether a tree is good.

    `endings`: it can check single files of these. `named`: it was requested; all others were detected.
    """

    name: str
    kind: str  # syntax, lint, types, tests, command
    command: str
    why: str = ""
    endings: tuple[str, ...] = ()
    named: bool = False


@dataclass(frozen=True)
class Usage:
    """Tokens and dollars of model requests. `dollars` is None as soon as one part has no known price.

    A request that was lost may be billed without notice, so the most that it may cost is counted as `assumed`.
    `overshoot`: what providers billed beyond reservations; it is part of `dollars`.
    """

    requests: int = 0
    replies: int = 0
    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    dollars: float | None = 0.0
    assumed: float = 0.0
    assumed_tokens: int = 0
    overshoot: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        both_priced = self.dollars is not None and other.dollars is not None
        return Usage(
            self.requests + other.requests,
            self.replies + other.replies,
            self.input + other.input,
            self.cached + other.cached,
            self.cache_write + other.cache_write,
            self.output + other.output,
            math.fsum((self.dollars or 0.0, other.dollars or 0.0)) if both_priced else None,
            self.assumed + other.assumed,
            self.assumed_tokens + other.assumed_tokens,
            self.overshoot + other.overshoot,
        )

    @property
    def paid(self) -> float | None:
        """What counts as paid."""
        return None if self.dollars is None else self.dollars + self.assumed

    @property
    def tokens(self) -> int:
        return self.input + self.output
