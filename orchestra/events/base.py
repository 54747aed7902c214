"""What every event is made of: records that never change, and the envelope around them."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError, dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Self, dataclass_transform

Json = Mapping[str, Any]  # an object as JSON has it
EMPTY_OBJECT: Json = MappingProxyType({})


def optional_field(default: Any = None) -> Any:
    """A field that is left out of the line while it has its default."""
    return field(default=default, metadata={"optional": True})


def value_if_absent(value: Any) -> dict[str, object]:
    """Metadata of a field: what it is in logs that do not have it, if that is not nothing."""
    return {"absent": value}


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Record:
    """A frozen dataclass whose methods stand here once: generated for each of 60 classes, they cost 30 ms per start.

    Logs of older versions have fewer fields, and damaged ones wrong ones: only `needs` must be there and be right. All
    others are then the nothing of their type: "", 0, False, (), {}, None, or a record of such.
    """

    names: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[Json] = EMPTY_OBJECT
    optional: ClassVar[frozenset[str]] = frozenset()
    needs: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, *, needs: tuple[str, ...] = (), kw_only: bool = False) -> None:
        cls.needs = needs
        dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(cls)
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        cls.names = tuple(each.name for each in fields)
        cls.defaults = {each.name: each.default for each in fields if each.default is not dataclasses.MISSING}
        cls.optional = frozenset(each.name for each in fields if each.metadata.get("optional"))

    def __init__(self, *args: Any, **given: Any) -> None:
        values = {**self.defaults, **dict(zip(self.names, args, strict=False)), **given}
        if len(values) != len(self.names) or len(args) > len(self.names):
            wrong = set(self.names) ^ values.keys()
            raise TypeError(f"{type(self).__name__}: missing or unknown fields: {', '.join(sorted(wrong))}")
        self.__dict__.update(values)

    def written_fields(self) -> Sequence[str]:
        """The fields that its line has, in their order."""
        optional = self.optional
        if not optional:
            return self.names
        return [name for name in self.names if name not in optional or getattr(self, name) != self.defaults[name]]

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """A record of values that are known to be complete."""
        made = cls.__new__(cls)
        made.__dict__.update(values)
        return made

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
    """What one kind of event tells. Its fields are the keys of the line's `data`, in their order.

    `of_task`: an event of this kind says nothing without the number of its task.
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
    """An event whose kind is unknown here, or whose data is not what its kind says."""

    kind: str  # type: ignore[misc]
    why: str


@dataclass(frozen=True)
class Event:
    """One thing that happened. State, summary and board are folds over a list of these.

    `data` is what the line has, with all that a newer version may have put into it: stores and archives keep that.
    `flaw` says what of it could not be read, and was taken as if it were not there.
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
        """Why it could not be read, or not in full."""
        return self.payload.why if isinstance(self.payload, UnreadableEvent) else self.partial_problem


@dataclass(frozen=True)
class EventLog:
    """The events of a run in their order, and how many lines of its files are none."""

    events: tuple[Event, ...] = ()
    torn_lines: int = 0
