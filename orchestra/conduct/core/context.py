"""What the steps of a run share: constants, state, services."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestra import events
from orchestra.agents import AGENTS
from orchestra.agents.base import Agent, WorktreeSetup
from orchestra.conduct.core.models import Project, role_model
from orchestra.conduct.core.secrets import Secrets
from orchestra.events import Payload
from orchestra.gateway.gateway import Gateway
from orchestra.gateway.recording import Recorder
from orchestra.hosts.base import Host
from orchestra.journal.jsonl import Journal
from orchestra.journal.ownership import RunOwnership
from orchestra.journal.store import Command
from orchestra.judge.candidates import Candidate
from orchestra.judge.permit import Permit
from orchestra.judge.retry import TriedAttempt
from orchestra.model import TRANSITIONS, Decision, Judgement, Plan, Task, TaskState, Verdict
from orchestra.plan.commit_subject import commit_subject
from orchestra.plan.draft import Draft
from orchestra.plan.roles import Role, find_role
from orchestra.providers import catalogue
from orchestra.report.state import Report, TaskReport
from orchestra.workspace.branches import BranchWriter
from orchestra.workspace.trees import Trees

# One step from each state; a task that is to wait, or to be checked, takes another one (see `Run.move_to`).
STEPS = {
    TaskState.PLANNED: TaskState.READY,
    TaskState.READY: TaskState.ACTIVE,
    TaskState.ACTIVE: TaskState.FAILED,
    TaskState.AWAITING_QA: TaskState.FAILED,
    TaskState.FAILED: TaskState.READY,
    TaskState.WAITING_HUMAN: TaskState.READY,
}


# Ask about a task; the text is the command that decides about it from another terminal.
TaskPrompt = Callable[[TaskReport, str], Coroutine[Any, Any, Decision | None]]


@dataclass(frozen=True)
class TerminalPrompts:
    """Questions at the terminal about a waiting task and about a plan. None: there is no terminal to ask at."""

    ask_about_task: TaskPrompt | None = None
    confirm_plan: Callable[[Draft], Awaitable[bool]] | None = None


@dataclass(frozen=True)
class Context(Project):
    """What never changes during a run."""

    secrets: Secrets
    folder: Path  # for this session's temporary files
    logs: Path
    stamp: str
    namespace: str
    deadline: float  # on the clock of time.monotonic

    def role_of(self, task: Task) -> Role:
        return find_role(task.role, self.settings.roles)

    def model_of(self, task: Task) -> catalogue.Model:
        return role_model(self.settings, task.role) or self.model

    def agent_of(self, task: Task) -> Agent:
        return AGENTS[task.kind or self.role_of(task).kind or self.settings.agent_kind]

    @property
    def worktree_setup(self) -> WorktreeSetup:
        """The set-up of worktrees. It is false if they need nothing but what git tracks."""
        settings = self.settings
        return WorktreeSetup(settings.worktree_copy, settings.worktree_link, settings.setup_cmd, settings.gate_timeout)

    def branch(self, name: str) -> str:
        return f"{self.namespace}/{self.stamp}/{name}"


@dataclass
class RunState:
    """The report of a run, which only events change, and its plan: the event of a plan lacks redacted secrets."""

    report: Report
    plan: Plan = field(default_factory=lambda: Plan((), 0))


@dataclass
class AgentReadiness:
    """`since`: when agents could begin, on the clock of time.monotonic; 0 before that."""

    ready_task: asyncio.Future[float] | None
    since: float = 0.0


@dataclass(frozen=True)
class Services:
    """What works for a run. `commands`: what other terminals may do now, by kind and whether it is about a task."""

    journal: Journal
    gateway: Gateway
    host: Host
    trees: Trees
    hold: RunOwnership
    readiness: AgentReadiness
    recorder: Recorder | None
    prompts: TerminalPrompts
    branches: BranchWriter
    commands: dict[str, Callable[[Command], str | Awaitable[str]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """Everything that a step of a run may need."""

    context: Context
    state: RunState
    services: Services

    def emit(self, payload: Payload, task: int | None = None, attempt: int | None = None) -> None:
        self.services.journal.emit(payload, task, attempt)

    def move(self, task: int, state: TaskState, attempt: int | None = None) -> None:
        """Move a task to another state. There is no other way; a move that the table does not allow is a bug."""
        now = self.state.report.tasks[task].state
        if state not in TRANSITIONS[now]:
            raise AssertionError(f"task {task} cannot go from {now} to {state}")
        self.emit(events.TaskMoved(state), task, attempt)

    def move_to(self, task: int, wanted: TaskState) -> None:
        """Move a task step by step to the wanted state. A complete task is not moved."""
        steps = STEPS | ({TaskState.ACTIVE: TaskState.AWAITING_QA} if wanted is TaskState.AWAITING_QA else {})
        steps |= {TaskState.FAILED: wanted} if wanted is TaskState.WAITING_HUMAN else {}
        while (now := self.state.report.tasks[task].state) not in (wanted, TaskState.COMPLETE):
            self.move(task, steps[now])

    def complete_accepted_task(self, task: int) -> None:
        """Complete an accepted task that leaves no commit, and emit the further tasks that its agent proposes."""
        record = self.state.report.tasks[task]
        has_no_commit = record.answered or record.nothing_to_do
        if has_no_commit:
            self.move_to(task, TaskState.AWAITING_QA)
        if has_no_commit and record.state != TaskState.COMPLETE:
            self.move(task, TaskState.COMPLETE)
        if record.proposed and record.proposed != self.state.report.proposals.get(task):
            self.emit(events.TasksProposed(record.proposed), task, record.attempts)

    def commit_message(self, task: Task, *, by_agent: bool = True) -> str:
        context = self.context
        subject = commit_subject(task, self.state.plan, context.settings.change, context.secrets.scrub)
        files = "\n".join(f"- {path}" for path in task.paths[:50])
        trailer = f"{context.agent_of(task).trailer(context.model_of(task).name)}\n" if by_agent else ""
        return f"{subject}\n\n{files}\n\nTask: {task.id}\nRun: {context.stamp}\n{trailer}"

    async def wait_for_agents(self) -> None:
        """Wait until agents can begin. This time is not charged to any attempt."""
        readiness = self.services.readiness
        assert readiness.ready_task is not None, "no agents were to work"
        since = await asyncio.shield(readiness.ready_task)
        if not readiness.since:
            readiness.since = since
            self.emit(events.AiderReady(round(time.monotonic() - since, 3)))

    @property
    def user_words(self) -> tuple[str, ...]:
        """The user's own words: the change, if the user gave it, and later decisions."""
        report = self.state.report
        return (*((self.context.settings.change,) if report.change_is_literal else ()), *report.decision_texts)

    @property
    def permit(self) -> Permit:
        """Which protected files persons asked to change, by the plan and by what they have said about its tasks."""
        return Permit(frozenset(self.state.report.user_files), self.user_words, self.context.entries)

    @property
    def waits_for_human(self) -> bool:
        """Whether a task that failed for good waits for a person."""
        ask = self.context.settings.ask
        return ask == "always" or (ask == "terminal" and self.services.prompts.ask_about_task is not None)


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
    # Its host was lost: this says nothing about the task, and the next attempt is not a retry.
    lost: bool = False


@dataclass(frozen=True)
class AttemptStart:
    """Where an attempt begins: the commit, the earlier changes up to it, and the lessons of earlier attempts.

    `parent` is the commit under the task's own commit; it precedes `base` if that holds earlier work of the task.
    `must_change`: a reply without a change is no result, because an earlier attempt failed by its own fault.
    """

    base: str
    parent: str
    carried: tuple[str, ...] = ()
    lesson: str = ""
    must_change: bool = False
    # The number of the first of several parallel attempts; 0 for a single one.
    round: int = 0
    # How often the host of an attempt at this task was lost since the task began.
    losses: int = 0
