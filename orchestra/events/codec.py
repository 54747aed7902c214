"""Events as JSON, and back: the one place that is tolerant of old, newer, torn and damaged logs."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache, partial
from types import MappingProxyType, NoneType, UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

from orchestra.events.base import EMPTY_OBJECT, KINDS, Event, Json, Payload, Record, UnreadableEvent

NUMBER_LIMIT = 1 << 63  # a number beyond it is damage
ValueReader = Callable[[Any], Any]
T = TypeVar("T")


class InvalidValue(ValueError):
    """A value is not what its field may hold."""


# --- to JSON --------------------------------------------------------------------------------------------------------


def to_json_value(value: Any, scrub: Callable[[str], str] = str) -> Any:
    """The value as JSON has it. Every text passes `scrub`; numbers are ours, whatever a secret looks like."""
    if isinstance(value, str):
        return scrub(str(value))
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Record):
        return {name: to_json_value(getattr(value, name), scrub) for name in value.written_fields()}
    if isinstance(value, Mapping):
        return {scrub(str(name)): to_json_value(each, scrub) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(each, scrub) for each in value]
    if is_dataclass(value):
        return {name: to_json_value(getattr(value, name), scrub) for name in field_names(value.__class__)}
    return value


@cache
def field_names(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


def event_record(event: Event) -> dict[str, Any]:
    """The event as it stands in the file. `event` repeats the kind under the name that the seed's readers look for."""
    head = {"event": event.kind, "run": event.run, "seq": event.seq, "time": event.time}
    owner = {"task": event.task, "attempt": event.attempt}
    return head | {name: value for name, value in owner.items() if value is not None} | {"data": dict(event.data)}


# --- from JSON ------------------------------------------------------------------------------------------------------


def read_line(line: str | bytes) -> Event | None:
    """None for what is no event: a line that a crash has torn, or that a disk has lost."""
    try:
        return parse_event(json.loads(line))
    except (ValueError, RecursionError):
        return None


def parse_event(record: object) -> Event:
    """The event of a record. Raises Wrong if it is none; data that cannot be read is an event that is Unreadable."""
    if not isinstance(record, dict):
        raise InvalidValue("no event")
    data, kind = record.get("data", {}), record.get("event")
    task, attempt = record.get("task"), record.get("attempt")
    run, seq, time = record.get("run"), record.get("seq"), record.get("time")
    if not (isinstance(kind, str) and isinstance(run, str) and isinstance(data, dict)):
        raise InvalidValue("no event")
    for number in (seq, time, *(each for each in (task, attempt) if each is not None)):
        read_scalar((int,), number)
    return make_event(run, seq or 0, time or 0, kind, task, attempt, data)


def make_event(run: str, seq: int, time: int, kind: str, task: int | None, attempt: int | None, data: Json) -> Event:
    payload, flaw = read_payload(kind, data, task)
    return Event(run, seq, time, task, attempt, payload, data, flaw)


def read_payload(kind: str, data: Json, task: int | None) -> tuple[Payload, str]:
    """The payload, and what of it could not be read."""
    known: Any = KINDS.get(kind)
    if known is None:
        return UnreadableEvent(kind, "this version does not know its kind"), ""
    if known.of_task and task is None:
        return UnreadableEvent(kind, "it has no task"), ""
    flaws: list[str] = []
    try:
        return read_fields(known, *field_readers(known), data, flaws), "; ".join(flaws)
    except InvalidValue as wrong:
        return UnreadableEvent(kind, str(wrong)), ""


def read_record(kind: type[T], data: Json) -> T:
    """A record of this class. What the class does not know is passed over."""
    wanted: Any = kind
    found: T = value_reader(wanted)(data)
    return found


@cache
def value_reader(kind: Any) -> ValueReader:
    """What reads values of this type."""
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        return lambda value: value
    if origin is UnionType:
        inner = value_reader(without_none(kind))
        return lambda value: None if value is None else inner(value)
    if origin is tuple and args[-1] is Ellipsis:
        return partial(read_list, value_reader(args[0]))
    if origin is tuple:
        return partial(read_row, tuple(map(value_reader, args)))
    if origin is not None and issubclass(origin, Mapping):
        return partial(read_mapping, value_reader(args[1]))
    if hasattr(kind, "__dataclass_fields__"):
        return partial(read_fields, kind, *field_readers(kind))
    if issubclass(kind, StrEnum):
        return partial(read_enum, kind)
    return partial(read_scalar, (int, float) if kind is float else (kind,))


def without_none(kind: Any) -> Any:
    """The type without None."""
    if get_origin(kind) is not UnionType:
        return kind
    (other,) = (each for each in get_args(kind) if each is not NoneType)
    return other


class FieldReader(NamedTuple):
    """How a field is read: a value that is `exactly` of this type as it is, any other by `read`."""

    name: str
    exactly: type | None
    read: ValueReader


@cache
def field_readers(kind: Any) -> tuple[tuple[FieldReader, ...], Json]:
    """How each field is read, and what those are that a record need not have."""
    # A field that is left out while it is None is never written as null.
    types: dict[str, Any] = {
        each.name: without_none(each.type) if each.metadata.get("optional") else each.type for each in fields(kind)
    }
    absent = {each.name: found for each in fields(kind) for found in absent_values(kind, each, types[each.name])}
    simple = {str: str, bool: bool}
    return tuple(FieldReader(name, simple.get(each), value_reader(each)) for name, each in types.items()), absent


def absent_values(kind: Any, each: Field[Any], its_type: Any) -> Iterator[Any]:
    """What a field is when a record does not have it; nothing if a record must have it."""
    if each.name in getattr(kind, "needs", ()):
        return
    if "absent" in each.metadata:
        yield each.metadata["absent"]
    elif each.default is not MISSING:
        yield each.default
    elif issubclass(kind, Record):
        yield empty_value(its_type)


def empty_value(kind: Any) -> Any:
    """The empty value of a type."""
    origin = get_origin(kind)
    if origin is UnionType:
        return None
    if origin is tuple:
        return ()
    if origin is not None:
        return EMPTY_OBJECT
    return value_reader(kind)({}) if hasattr(kind, "__dataclass_fields__") else kind()


def read_fields(
    kind: Any, readers: Sequence[FieldReader], absent: Json, data: Any, flaws: list[str] | None = None
) -> Any:
    """A record. With `flaws`, a field that is wrong is taken as absent where it may be, and named there."""
    if not isinstance(data, dict):
        raise InvalidValue(f"{kind.__name__} is no object")
    found = {}
    for name, exactly, read in readers:
        value = data.get(name, MISSING)
        if type(value) is exactly:
            found[name] = value
        elif value is not MISSING:
            try:
                found[name] = read(value)
            except InvalidValue as wrong:
                if flaws is None or name not in absent:
                    raise InvalidValue(f"{name}: {wrong}") from None
                flaws.append(f"{name}: {wrong}")
                found[name] = absent[name]
        elif name in absent:
            found[name] = absent[name]
        else:
            raise InvalidValue(f"{name} is missing")
    return kind.from_values(found) if issubclass(kind, Record) else kind(**found)


def read_list(read: ValueReader, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidValue("no list")
    return tuple(map(read, value))


def read_row(readers: tuple[ValueReader, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or len(value) != len(readers):
        raise InvalidValue(f"no list of {len(readers)}")
    return tuple(read(each) for read, each in zip(readers, value, strict=True))


def read_mapping(read: ValueReader, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidValue("no object")
    return MappingProxyType({name: read(each) for name, each in value.items()})


def read_enum(kind: type[StrEnum], value: Any) -> StrEnum:
    try:
        return kind(value)
    except ValueError:
        raise InvalidValue(f"{str(value)[:60]!r} is unknown") from None


def read_scalar(kinds: tuple[type, ...], value: Any) -> Any:
    if type(value) not in kinds or (type(value) in (int, float) and not -NUMBER_LIMIT < value < NUMBER_LIMIT):
        raise InvalidValue(f"{str(value)[:60]!r} is not {kinds[-1].__name__}")
    return value
