"""What every step of a run needs."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestra import events
from orchestra.agents import AGENTS, DEFAULT_AGENT
from orchestra.agents.base import Agent
from orchestra.conduct.core.commands import Commands
from orchestra.conduct.core.models import role_model
from orchestra.conduct.core.readiness import AgentReadiness
from orchestra.conduct.core.secrets import Secrets
from orchestra.conduct.core.state import RunState
from orchestra.events import Payload
from orchestra.gateway.gateway import Gateway
from orchestra.gateway.recording import Recorder
from orchestra.hosts.base import Host
from orchestra.journal.jsonl import Journal
from orchestra.journal.ownership import RunOwnership
from orchestra.model import Decision, Task, TaskState
from orchestra.plan.draft import Draft
from orchestra.plan.roles import Role, find_role
from orchestra.providers import catalogue
from orchestra.report.state import TaskReport
from orchestra.settings import Settings
from orchestra.workspace.repository import Entry, Repository
from orchestra.workspace.trees import Trees


@dataclass(frozen=True)
class TerminalPrompts:
    """Who can be asked at the terminal about a task that waits, and about a plan. None: no one is there."""

    ask_about_task: Callable[[TaskReport], Awaitable[Decision | None]] | None = None
    confirm_plan: Callable[[Draft], Awaitable[bool]] | None = None


@dataclass(frozen=True)
class Context:
    """What never changes while a run goes on."""

    settings: Settings
    repository: Repository
    entries: Mapping[str, Entry]  # the files of its base
    model: catalogue.Model
    secrets: Secrets
    folder: Path  # for what this session needs for a while
    logs: Path
    stamp: str
    namespace: str
    deadline: float  # on the clock of time.monotonic

    def role_of(self, task: Task) -> Role:
        return find_role(task.role, self.settings.roles)

    def model_of(self, task: Task) -> catalogue.Model:
        return role_model(self.settings, task.role) or self.model

    def agent_of(self, task: Task) -> Agent:
        return AGENTS[DEFAULT_AGENT]

    def branch(self, name: str) -> str:
        return f"{self.namespace}/{self.stamp}/{name}"


@dataclass(frozen=True)
class Services:
    """What works for a run, and is closed with it."""

    journal: Journal
    gateway: Gateway
    host: Host
    trees: Trees
    hold: RunOwnership
    readiness: AgentReadiness = field(default_factory=AgentReadiness)
    recorder: Recorder | None = None
    prompts: TerminalPrompts = field(default_factory=TerminalPrompts)
    commands: Commands = field(default_factory=Commands)


@dataclass(frozen=True)
class Run:
    """All that a step of the story may need."""

    context: Context
    state: RunState
    services: Services

    def emit(self, payload: Payload, task: int | None = None, attempt: int | None = None) -> None:
        self.state.emit(payload, task, attempt)

    def move(self, task: int, state: TaskState, attempt: int | None = None) -> None:
        self.state.move(task, state, attempt)

    async def wait_for_agents(self) -> None:
        """Wait until agents can begin. The time until then is not charged to any attempt."""
        ago = await self.services.readiness.wait()
        if ago is not None:
            self.emit(events.AiderReady(round(ago, 3)))

    @property
    def waits_for_human(self) -> bool:
        """Whether a task that failed for good waits for a person."""
        ask = self.context.settings.ask
        return ask == "always" or (ask == "terminal" and self.services.prompts.ask_about_task is not None)
