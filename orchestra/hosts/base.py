"""What every host can do. A host works; the head alone judges, pays, keeps refs and writes the journal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestra.agents.base import AgentOutcome, AttemptOrder, WorktreeSetup
from orchestra.gates.run import ALL_TESTS, ChosenTests, GateOutcome
from orchestra.model import Gate
from orchestra.workspace.collect import Changes


@dataclass(frozen=True)
class HostFacts:
    """What a host is. `untrusted` says why the repository's own commands are not run there; `note` is for the user."""

    name: str
    untrusted: str = ""
    note: str = ""


@dataclass(frozen=True)
class GatewayAccess:
    """Where an attempt's agent asks its models, and the token that opens it."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class AttemptResult:
    """What an attempt leaves, as plain data. `commit` holds the task's own changes on the order's parent; `everything`
    holds the other changes too. `pack` has those of git's objects that the head lacks."""

    outcome: AgentOutcome
    changes: Changes = field(default_factory=Changes)
    commit: str = ""
    everything: str = ""
    pack: bytes = b""
    printed: str = ""


@dataclass(frozen=True)
class GateOrder:
    """Gates to run on a commit, as plain data. `label` names the tree in logs. `paths` are the files that gates are
    asked about one by one; `planned` are those that the run is to change or make."""

    run: str
    commit: str
    label: str
    gates: tuple[Gate, ...]
    paths: tuple[str, ...] = ()
    planned: tuple[str, ...] = ()
    choice: ChosenTests = ALL_TESTS
    timeout: float = 0.0
    set_up: WorktreeSetup = field(default_factory=WorktreeSetup)


class Supervisor(Protocol):
    """The head's side of one attempt."""

    async def admit(self, root: str) -> GatewayAccess:
        """Called when the worktree is ready, at this path of the host. The agent may begin when it returns."""

    async def wait_for_stop(self) -> None:
        """Returns when the agent is to be stopped. What it has changed by then is brought back."""


class Host(Protocol):
    """One place where attempts and gates run."""

    async def open(self) -> HostFacts:
        """What it is, before gates or set-up commands are run there. Raises what makes it unusable, with the remedy."""

    async def receive_commit(self, commit: str, pack: bytes) -> None:
        """Take a commit that attempts or gates have brought or will need. One that is there already is no mistake."""

    async def run_attempt(self, order: AttemptOrder, supervisor: Supervisor) -> AttemptResult:
        """Carry an order out. It can be cancelled until the agent is admitted."""

    async def run_gates(self, check: GateOrder, started: Callable[[Gate], None]) -> Sequence[GateOutcome]:
        """Run gates one after the other, and call `started` before each. The outcomes are plain data, but for `output`:
        a file of the head, to which a host on another machine has to write what the gate printed."""

    async def close(self) -> None:
        """End all work, and take away what it used."""
