"""What crosses between the head of a run and a node of its cluster: plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestra.gates.run import GateOutcome
from orchestra.hosts.base import AttemptResult

LEASE = 30.0  # seconds of silence after which head and node give each other up
POLL = 5.0  # seconds after which a node answers a poll without a message
PIECE = 4 << 20  # bytes of a pack in one message


@dataclass(frozen=True)
class NodeVersions:
    """What must be the same on all machines of a run, because its results depend on it."""

    program: str
    aider: str
    python: str

    def explain_difference(self, head: "NodeVersions") -> str:
        """Return in a sentence what differs from the head, and the remedy; empty if nothing does."""
        pairs = ((self.program, head.program), (self.aider, head.aider), (self.python, head.python))
        for here, there in pairs:
            if here != there:
                return f"It has {here or 'no Aider'}, and the head has {there}: install that there."
        return ""


@dataclass(frozen=True)
class ProvidedFile:
    """A file of --worktree-copy."""

    path: str
    mode: int
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class NodeOrder:
    """What a node needs for a run. `extra`: variables of git that say who commits. `programs`: of agents."""

    base: str
    object_format: str
    git_config: str
    extra: Mapping[str, str]
    versions: NodeVersions
    sandbox: str
    sandbox_net: str
    untrusted: str
    fork_server: bool
    loads_aider: bool
    programs: tuple[str, ...] = ()
    files: tuple[ProvidedFile, ...] = ()
    lease: float = LEASE


@dataclass(frozen=True)
class AdmissionRequest:
    """The worktree of an attempt is ready at this path of the node."""

    attempt: str
    root: str


@dataclass(frozen=True)
class ModelRequest:
    """A request of an agent, on its way to the gateway."""

    number: int
    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)


Message = AdmissionRequest | ModelRequest


@dataclass(frozen=True)
class AnswerPart:
    """A part of the gateway's answer. The first one has the status. The last one `ends` it, or says that it broke."""

    status: int = 0
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    ends: bool = False
    broke: bool = False


@dataclass(frozen=True)
class AttemptReply:
    """The end of an attempt on a node: its result, or the message of an error.

    `is_machine`: the node itself is at fault. `set_up`: the output of its set-up command, if that is why.
    """

    result: AttemptResult | None = None
    error: str = ""
    is_machine: bool = False
    set_up: str | None = None
    outputs: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class GateReply:
    """The end of an order of gates on a node: outcomes, and what each has printed; or the message of an error.

    `is_machine`: the node itself is at fault.
    """

    outcomes: tuple[GateOutcome, ...] = ()
    printed: tuple[str, ...] = field(default=(), repr=False)
    error: str = ""
    is_machine: bool = False
