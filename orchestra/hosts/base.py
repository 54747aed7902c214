"""The interface of a host. A host works; only the head judges, pays, keeps refs and writes the journal."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestra.agents.base import AgentOutcome, AttemptOrder, WorktreeSetup
from orchestra.events import COMBINED_TREE
from orchestra.gates.environment import GateEnvironment
from orchestra.gates.run import ALL_TESTS, ChosenTests, GateOutcome
from orchestra.model import Gate
from orchestra.workspace.collect import Changes


@dataclass(frozen=True)
class HostFacts:
    """What a host is like. `untrusted`: why the repository's own commands are not run there. `note`: for the user."""

    name: str
    untrusted: str = ""
    note: str = ""


@dataclass(frozen=True)
class GatewayAccess:
    """Where an attempt's agent asks its models, and its token."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class AttemptResult:
    """What an attempt leaves, as plain data.

    `commit`: the task's own changes on the order's parent. `everything`: with all other changes. `pack`: git objects
    that the head lacks.
    """

    outcome: AgentOutcome
    changes: Changes = field(default_factory=Changes)
    commit: str = ""
    everything: str = ""
    pack: bytes = b""
    printed: str = ""


@dataclass(frozen=True)
class GateOrder:
    """Gates to run on a commit, as plain data.

    `label` names the tree in logs. `paths`: files for gates that check single ones. `planned`: files that the run is to
    change or create.
    """

    run: str
    commit: str
    label: str
    gates: tuple[Gate, ...]
    paths: tuple[str, ...] = ()
    planned: tuple[str, ...] = ()
    choice: ChosenTests = ALL_TESTS
    timeout: float = 0.0
    set_up: WorktreeSetup = field(default_factory=WorktreeSetup)

    def output_name(self, gate: Gate) -> str:
        """Return the file of a gate's output: tests_<stamp>.txt for the result, tests_base_<stamp>.txt for the base."""
        label = "" if self.label == COMBINED_TREE else f"_{self.label}"
        return re.sub(r"[^\w.-]+", "-", gate.name) + f"{label}_{self.run}.txt"


async def ignore_outcome(outcome: GateOutcome) -> None:
    """Do nothing with an outcome."""


class Supervisor(Protocol):
    """The head's side of one attempt."""

    async def admit(self, root: str) -> GatewayAccess:
        """Admit the agent, when the worktree is ready at this path of the host. The agent begins when it returns."""

    async def wait_for_stop(self) -> None:
        """Return when the agent must stop. What it has changed by then is brought back."""


class Host(Protocol):
    """One place where attempts and gates run."""

    @property
    def offloads_gates(self) -> bool:
        """Whether gates can run on another machine than the head now."""

    async def open(self) -> HostFacts:
        """Return facts about the host before commands run there. Raise what makes it unusable, with the remedy."""

    async def receive_commit(self, commit: str, pack: bytes) -> None:
        """Take a commit that attempts or gates made or will need. A known one is no error."""

    async def run_attempt(self, order: AttemptOrder, supervisor: Supervisor) -> AttemptResult:
        """Carry out an order. It can be cancelled until the agent is admitted."""

    async def run_gates(
        self,
        check: GateOrder,
        started: Callable[[Gate], None],
        ended: Callable[[GateOutcome], Awaitable[None]] = ignore_outcome,
    ) -> Sequence[GateOutcome]:
        """Run gates one after the other, and call `started` before and `ended` after each. A gate's output goes to a
        file of the head."""

    async def offload_gates(self, check: GateOrder, started: Callable[[Gate], None]) -> Sequence[GateOutcome]:
        """Run gates on another machine than the head, if there is one that can; else return nothing. Several orders may
        be at work at once."""

    async def describe_environment(self, check: GateOrder) -> GateEnvironment:
        """Return the digest of what can change the outcome of these gates beside tree and command."""

    async def close(self) -> None:
        """End all work, and remove what it used."""
