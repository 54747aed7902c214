"""The base of events: immutable records, and the envelope around them."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError, dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, dataclass_transform

Json = Mapping[str, Any]  # a JSON object
EMPTY_OBJECT: Json = MappingProxyType({})


def optional_field(default: Any = None) -> Any:
    """A field that a line omits while it has its default."""
    return field(default=default, metadata={"optional": True})


def value_if_absent(value: Any) -> dict[str, object]:
    """Metadata of a field: its value in logs without it, if that is not the empty value of its type."""
    return {"absent": value}


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Record:
    """A frozen dataclass whose methods are written here once: generated for 60 classes, they cost 30 ms per start.

    Logs of older versions have fewer fields, and damaged logs have wrong ones. Only the fields in `needs` are required.
    A missing or wrong other field gets the empty value of its type: "", 0, False, (), {}, None, or a record of these.
    """

    names: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[Json] = EMPTY_OBJECT
    optional: ClassVar[frozenset[str]] = frozenset()
    needs: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, *, needs: tuple[str, ...] = (), kw_only: bool = False) -> None:
        cls.needs = needs
        dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(cls)
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        cls.names = tuple(field.name for field in fields)
        cls.defaults = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
        cls.optional = frozenset(field.name for field in fields if field.metadata.get("optional"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        values = {**self.defaults, **dict(zip(self.names, args, strict=False)), **kwargs}
        if len(values) != len(self.names) or len(args) > len(self.names):
            wrong = set(self.names) ^ values.keys()
            raise TypeError(f"{type(self).__name__}: missing or unknown fields: {', '.join(sorted(wrong))}")
        self.__dict__.update(values)

    def written_fields(self) -> Sequence[str]:
        """The fields in its line, in order."""
        if not self.optional:
            return self.names
        return [name for name in self.names if name not in self.optional or getattr(self, name) != self.defaults[name]]

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self.names)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.names)})"


class Payload(Record):
    """The data of one kind of event. Its fields are the keys of the line's `data`, in order.

    `of_task`: an event of this kind must have the number of a task.
    """

    kind: ClassVar[str]
    of_task: ClassVar[bool] = False

    def __init_subclass__(
        cls, *, kind: str = "", of_task: bool = False, needs: tuple[str, ...] = (), kw_only: bool = False
    ) -> None:
        super().__init_subclass__(needs=needs, kw_only=kw_only)
        if kind:
            cls.kind, cls.of_task = kind, of_task
            KINDS[kind] = cls


KINDS: dict[str, type[Payload]] = {}


class UnreadableEvent(Payload):
    """An event of an unknown kind, or with data that does not fit its kind."""

    kind: str  # type: ignore[misc]
    why: str


@dataclass(frozen=True)
class Event:
    """One event of a run. State, summary and board are folds over events.

    `data` is that of the line, with fields of newer versions, which stores and archives keep. `partial_problem` tells
    which fields could not be read and count as absent.
    """

    run: str
    seq: int
    time: int  # ms since 1970
    task: int | None
    attempt: int | None
    payload: Payload
    data: Json = field(repr=False)
    partial_problem: str = ""

    @property
    def kind(self) -> str:
        return self.payload.kind

    @property
    def read_problem(self) -> str:
        """Why it could not be read in full; empty if it could."""
        return self.payload.why if isinstance(self.payload, UnreadableEvent) else self.partial_problem


@dataclass(frozen=True)
class EventLog:
    """The events of a run in order, and how many lines of its files are no events."""

    events: tuple[Event, ...] = ()
    torn_lines: int = 0
