"""What every step of a run needs."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestra.conduct.core.commands import Commands
from orchestra.conduct.core.models import role_model
from orchestra.conduct.core.secrets import Secrets
from orchestra.conduct.core.warm import Warm
from orchestra.gateway.door import Gateway
from orchestra.gateway.tape import Recorder
from orchestra.hosts.base import Host
from orchestra.journal.hold import Hold
from orchestra.journal.jsonl import Journal
from orchestra.model import MOVES, Decision, Plan, Task, TaskState
from orchestra.plan.draft import Draft
from orchestra.plan.roles import Role, find
from orchestra.providers import catalogue
from orchestra.report.fold import Report, TaskReport
from orchestra.settings import Settings
from orchestra.workspace.repository import Entry, Repository
from orchestra.workspace.trees import Trees

BRANCHES = "aider-orchestrator"
LOGS = ".aider_logs"
DATABASE = "orchestra.db"


@dataclass(frozen=True)
class People:
    """Who can be asked at the terminal about a task that waits, and about a plan. None: no one is there."""

    ask: Callable[[TaskReport], Awaitable[Decision | None]] | None = None
    confirm: Callable[[Draft], Awaitable[bool]] | None = None


@dataclass
class Run:
    """What every step of the story needs."""

    settings: Settings
    repository: Repository
    entries: Mapping[str, Entry]
    model: catalogue.Model
    secrets: Secrets
    folder: Path
    journal: Journal
    gateway: Gateway
    host: Host
    trees: Trees
    hold: Hold
    namespace: str
    deadline: float  # on the clock of time.monotonic
    report: Report = field(default_factory=Report)
    plan: Plan = field(default_factory=lambda: Plan((), 0))
    warm: Warm = field(default_factory=Warm)
    recorder: Recorder | None = None
    people: People = field(default_factory=People)
    commands: Commands = field(default_factory=Commands)

    @property
    def logs(self) -> Path:
        return self.journal.folder

    @property
    def stamp(self) -> str:
        return self.journal.stamp

    def emit(self, kind: str, task: int | None = None, attempt: int | None = None, **data: Any) -> None:
        self.journal.emit(kind, task, attempt, **data)

    async def wait_for_agents(self) -> None:
        """Wait until agents can begin. The time until then is not charged to any attempt."""
        ago = await self.warm.wait()
        if ago is not None:
            self.emit("aider_ready", ago=round(ago, 3))

    def move(self, task: int, state: TaskState, attempt: int | None = None) -> None:
        """The one way in which a task changes state; what the table does not allow is a bug."""
        now = TaskState(self.report.tasks[task].state)
        if state not in MOVES[now]:
            raise AssertionError(f"task {task} cannot go from {now} to {state}")
        self.emit("task_moved", task, attempt, state=state)

    @property
    def waits_for_human(self) -> bool:
        """Whether a task that failed for good waits for a person."""
        return self.settings.ask == "always" or (self.settings.ask == "terminal" and self.people.ask is not None)

    def role(self, task: Task) -> Role:
        return find(task.role, self.settings.roles)

    def model_of(self, task: Task) -> catalogue.Model:
        return role_model(self.settings, task.role) or self.model

    def branch(self, name: str) -> str:
        return f"{self.namespace}/{self.stamp}/{name}"
