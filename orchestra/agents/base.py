"""What every kind of coding agent is to the program: how it is called, and how its end is read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

Part = TypeVar("Part")

# Places that only the host of an attempt knows. They stand in an agent's arguments and environment until it is started;
# with NUL bytes around them they cannot be part of anything else.
TREE, FOLDER, DOOR, TOKEN = "\0tree\0", "\0folder\0", "\0door\0", "\0token\0"


@dataclass(frozen=True)
class AgentModel:
    """The model that an agent is to use, with all that the agent must be told about it."""

    name: str
    agent_name: str  # as the agent calls it
    weak_name: str  # the model for small questions, as the agent calls it
    key_variable: str
    base_variable: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WorktreeSetup:
    """What makes a worktree ready beside the checkout: paths of the user's checkout, and a command."""

    copies: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    command: str = ""
    timeout: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.copies or self.links or self.command)


@dataclass(frozen=True)
class FileRules:
    """Whose files are whose, and what of protected files was asked for: by path, and in the words of people."""

    owners: Mapping[str, int] = field(default_factory=dict)
    named: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class AttemptOrder:
    """One attempt as plain data: no absolute path, no key, no object.

    The work begins at `base`; its commit stands on `parent`, which is earlier if the base holds work of the task.
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
    new: tuple[str, ...] = ()  # files that need not be there
    reads: tuple[str, ...] = ()
    agent: str = "aider"
    edit_format: str = ""
    chat_mode: str = ""
    arguments: tuple[str, ...] = ()  # of the user
    set_up: WorktreeSetup = field(default_factory=WorktreeSetup)
    rules: FileRules = field(default_factory=FileRules)

    @property
    def name(self) -> str:
        return f"task{self.task}-{self.attempt}"


@dataclass(frozen=True)
class AgentCall:
    """How an agent is started for an order. `files` are written into its folder first."""

    arguments: tuple[str, ...]
    message: str
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    fallback: Mapping[str, Any] = field(default_factory=dict)

    def fill_in(self, places: Mapping[str, str]) -> "AgentCall":
        """The same call, with the places of one host in it."""

        def fill(text: str) -> str:
            if "\0" in text:
                for mark, value in places.items():
                    text = text.replace(mark, value)
            return text

        environment = {name: fill(value) for name, value in self.environment.items()}
        return AgentCall(tuple(map(fill, self.arguments)), self.message, environment, self.files, self.fallback)


# How an agent may end. Only its host says that it was stopped.
ENDS = ("accepted", "rejected", "no_reply", "exhausted", "crashed", "stopped")


@dataclass(frozen=True)
class AgentOutcome:
    """How an agent ended, in its own structured words. `end` is one of ENDS."""

    end: str
    code: int = 0
    replies: int = 0
    edited: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    complaint: str = ""
    failure: str = ""
    unparsed: tuple[str, ...] = ()


class Agent(Protocol):
    """One kind of coding agent. Pure: it says how the agent is called, and reads how it ended."""

    @property
    def name(self) -> str: ...

    @property
    def dialects(self) -> frozenset[str]:
        """The wire formats in which it can ask models."""

    @property
    def edits_only(self) -> bool:
        """Whether it writes files and does nothing else, so that its worktree can be used again."""

    @property
    def repeats_requests(self) -> bool:
        """Whether it may send the same request again although the reply was good."""

    def why_not_editable(self, kind: str) -> str:
        """Why it cannot edit a file of this kind, or nothing."""

    def trailer(self, model: str) -> str:
        """The line under a commit that names it as co-author."""

    def build_call(self, order: AttemptOrder, absent: frozenset[str]) -> AgentCall:
        """How it is started. `absent` are files of the order that the worktree does not have yet."""

    def read_outcome(self, record: Path, code: int) -> AgentOutcome:
        """How it ended: from the record that it left, and its exit code."""


def order_to_json(order: AttemptOrder) -> str:
    """The order as another machine gets it."""
    return json.dumps(to_json_value(order), sort_keys=True)


def order_from_json(text: str) -> AttemptOrder:
    """The order that `to_json` has written."""
    record = json.loads(text)
    parts = {"model": AgentModel, "set_up": WorktreeSetup, "rules": FileRules}
    return rebuild_dataclass(
        AttemptOrder, record | {name: rebuild_dataclass(kind, record[name]) for name, kind in parts.items()}
    )


def rebuild_dataclass(kind: type[Part], record: Mapping[str, Any]) -> Part:
    """A dataclass from its fields as JSON has them."""
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in record.items()})


def to_json_value(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {name: to_json_value(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(name): to_json_value(each) for name, each in value.items()}
    return [to_json_value(each) for each in value] if isinstance(value, list | tuple) else value
