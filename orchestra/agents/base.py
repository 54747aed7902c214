"""The interface of a coding agent, and what crosses between it and its host."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

# Placeholders for paths and values that only the host of an attempt knows, in an agent's arguments and environment. The
# NUL bytes keep them from being part of anything else.
TREE, FOLDER, DOOR, TOKEN = "\0tree\0", "\0folder\0", "\0door\0", "\0token\0"


@dataclass(frozen=True)
class AgentModel:
    """The model for an agent, with everything that the agent must be told about it."""

    name: str
    agent_name: str  # as the agent names it
    weak_name: str  # the model for small questions, as the agent names it
    key_variable: str
    base_variable: str
    upstream_name: str = ""  # as its provider names it
    output_cap: int = 0  # the tokens of its longest reply; 0 if unknown
    metadata: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WorktreeSetup:
    """What prepares a worktree: paths from the user's checkout, and a command."""

    copies: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    command: str = ""
    timeout: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.copies or self.links or self.command)


@dataclass(frozen=True)
class FileRules:
    """The owners of files, and which protected files were requested: by path, and in the words of people."""

    owners: Mapping[str, int] = field(default_factory=dict)
    named: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class AttemptOrder:
    """One attempt as plain data: no absolute path, no key, no object.

    The work begins at `base`; its commit is put on `parent`, which is earlier if the base holds work of the task.
    """

    run: str
    task: int
    attempt: int
    base: str
    parent: str
    message: str  # of the commit
    brief: str
    model: AgentModel
    files: tuple[str, ...]
    new: tuple[str, ...] = ()  # files that need not exist yet
    reads: tuple[str, ...] = ()
    agent: str = "aider"
    edit_format: str = ""
    chat_mode: str = ""
    arguments: tuple[str, ...] = ()  # from the user
    command: str = ""  # from the user, for the agent that is any command
    set_up: WorktreeSetup = field(default_factory=WorktreeSetup)
    rules: FileRules = field(default_factory=FileRules)

    @property
    def name(self) -> str:
        return f"task{self.task}-{self.attempt}"


@dataclass(frozen=True)
class AgentCall:
    """How an agent is started for an order. `files` are first written into its folder. The arguments of an agent that
    is a program of its own begin with the program, and it gets the message on stdin."""

    arguments: tuple[str, ...]
    message: str
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    fallback: Mapping[str, Any] = field(default_factory=dict)

    def fill_in(self, places: Mapping[str, str]) -> "AgentCall":
        """Return the call with the placeholders replaced by a host's values."""

        def fill(text: str) -> str:
            if "\0" in text:
                for mark, value in places.items():
                    text = text.replace(mark, value)
            return text

        environment = {name: fill(value) for name, value in self.environment.items()}
        return AgentCall(tuple(map(fill, self.arguments)), self.message, environment, self.files, self.fallback)


# Why agents cannot edit files of some kinds.
NOT_EDITABLE = {
    "link": "is a symbolic link; name the file it points to",
    "binary": "is not UTF-8 text; agents edit text files only",
    "submodule": "is a submodule; run inside it",
    "lfs": "is kept by Git LFS; agents edit text files only",
    "name": "has a name that does not fit on one line of UTF-8; rename it first",
}
LAST_SIGNAL = 64


# How an agent may end. Only its host knows that it was stopped.
ENDS = ("accepted", "rejected", "no_reply", "exhausted", "crashed", "stopped")


@dataclass(frozen=True)
class AgentOutcome:
    """How an agent ended, as structured data. `end` is one of ENDS."""

    end: str
    code: int = 0
    replies: int = 0
    edited: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    complaint: str = ""
    failure: str = ""
    unparsed: tuple[str, ...] = ()


class Agent(Protocol):
    """One kind of coding agent. Pure: it says how the agent is started, and reads how it ended."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str:
        """Its name in sentences."""

    @property
    def is_command(self) -> bool:
        """Whether it is a program of its own, and not a module that our agent process loads."""

    @property
    def program(self) -> str:
        """The program that must be installed; empty if it needs none by name."""

    @property
    def tried_versions(self) -> tuple[str, str]:
        """The first and the last version of the program that the tests ran on; empty if that does not matter."""

    @property
    def providers(self) -> frozenset[str]:
        """The providers that it can use; empty: all that speak one of its dialects."""

    @property
    def iterations(self) -> int:
        """The replies that one attempt may take, unless the user sets another limit."""

    @property
    def dialects(self) -> frozenset[str]:
        """The wire formats in which it can ask models."""

    @property
    def edits_only(self) -> bool:
        """Whether it only writes files, so that its worktree can be reused."""

    @property
    def repeats_requests(self) -> bool:
        """Whether it may repeat a request although the reply was good."""

    def why_not_editable(self, kind: str) -> str:
        """Return why it cannot edit a file of this kind; empty if it can."""

    def trailer(self, model: str) -> str:
        """Return the co-author line for a commit."""

    def build_call(self, order: AttemptOrder, absent: frozenset[str], *, fenced: bool = False) -> AgentCall:
        """Return how it is started. `absent`: files of the order that do not exist yet. `fenced`: the host's sandbox
        keeps it in its own folder."""

    def read_outcome(self, printed: str, code: int, tree: str) -> AgentOutcome:
        """Read how it ended from what it printed in this worktree, and from its exit code (128+N for signal N)."""


@dataclass(frozen=True)
class CommandAgent:
    """What is the same for all agents that are programs of their own: they may run commands, and repeat requests."""

    name: str
    title: str
    dialects: frozenset[str]
    program: str = ""
    tried_versions: tuple[str, str] = ("", "")
    providers: frozenset[str] = frozenset()
    author: tuple[str, str] = ("", "")  # name and address in commits
    is_command: bool = True
    edits_only: bool = False
    repeats_requests: bool = True
    iterations: int = 60

    def why_not_editable(self, kind: str) -> str:
        return NOT_EDITABLE.get(kind, "")

    def trailer(self, model: str) -> str:
        name, address = self.author
        return f"Co-authored-by: {name} ({model}) <{address}>"


def ended_by_signal(code: int) -> bool:
    return 128 < code <= 128 + LAST_SIGNAL


def read_json_lines(printed: str) -> Iterator[Mapping[str, Any]]:
    """Yield the objects that a program printed, a line each. Other lines, and torn ones, are ignored."""
    for line in printed.splitlines():
        with suppress(ValueError, RecursionError):
            record = json.loads(line) if line.startswith("{") else None
            if isinstance(record, dict):
                yield record
