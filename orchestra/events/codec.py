"""Events to JSON and back. Only this module tolerates old, newer, torn and damaged logs."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache, partial
from types import MappingProxyType, NoneType, UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

from orchestra.events.base import EMPTY_OBJECT, KINDS, Event, Json, Record, UnreadableEvent

NUMBER_LIMIT = 1 << 63  # a larger number is damage
ValueReader = Callable[[Any], Any]
T = TypeVar("T")


class InvalidValue(ValueError):
    """A value does not fit its field."""


def to_json_value(value: Any, scrub: Callable[[str], str] = str) -> Any:
    """The value as JSON. `scrub` is applied to texts, not to numbers, which cannot hold secrets."""
    if isinstance(value, str):
        return scrub(str(value))
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Record):
        return {name: to_json_value(getattr(value, name), scrub) for name in value.written_fields()}
    if isinstance(value, Mapping):
        return {scrub(str(name)): to_json_value(item, scrub) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(item, scrub) for item in value]
    if is_dataclass(value):
        found = ((name, getattr(value, name), unless) for name, unless in written_fields_of(value.__class__))
        return {name: to_json_value(item, scrub) for name, item, unless in found if item != unless}
    return value


@cache
def written_fields_of(kind: Any) -> tuple[tuple[str, Any], ...]:
    """The fields of a dataclass, each with the value at which it is omitted (MISSING: never)."""
    return tuple((field.name, field.default if field.metadata.get("optional") else MISSING) for field in fields(kind))


def event_record(event: Event) -> dict[str, Any]:
    """The event as in the file. The kind is named `event`, as in the first version."""
    head = {"event": event.kind, "run": event.run, "seq": event.seq, "time": event.time}
    owner = {"task": event.task, "attempt": event.attempt}
    return head | {name: value for name, value in owner.items() if value is not None} | {"data": dict(event.data)}


def read_line(line: str | bytes) -> Event | None:
    """None for a line that is no event, for example torn by a crash."""
    try:
        return parse_event(json.loads(line))
    except (ValueError, RecursionError):
        return None


def parse_event(record: object) -> Event:
    """The event of a record; data that cannot be read becomes an UnreadableEvent. Raises InvalidValue if it is none."""
    if not isinstance(record, dict):
        raise InvalidValue("no event")
    data, kind = record.get("data", {}), record.get("event")
    task, attempt = record.get("task"), record.get("attempt")
    run, seq, time = record.get("run"), record.get("seq"), record.get("time")
    if not (isinstance(kind, str) and isinstance(run, str) and isinstance(data, dict)):
        raise InvalidValue("no event")
    for number in (seq, time, *(number for number in (task, attempt) if number is not None)):
        read_scalar((int,), number)
    return make_event(run, seq or 0, time or 0, kind, task, attempt, data)


def make_event(run: str, seq: int, time: int, kind: str, task: int | None, attempt: int | None, data: Json) -> Event:
    payload_class: Any = KINDS.get(kind)
    problems: list[str] = []
    try:
        if payload_class is None:
            raise InvalidValue("this version does not know its kind")
        if payload_class.of_task and task is None:
            raise InvalidValue("it has no task")
        payload = read_fields(payload_class, *field_readers(payload_class), data, problems)
    except InvalidValue as error:
        payload, problems = UnreadableEvent(kind, str(error)), []
    return Event(run, seq, time, task, attempt, payload, data, "; ".join(problems))


def read_record(kind: type[T], data: Json) -> T:
    """A record of this class. Unknown keys are ignored."""
    record_class: Any = kind
    record: T = value_reader(record_class)(data)
    return record


@cache
def value_reader(kind: Any) -> ValueReader:
    """The function that reads values of this type."""
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
    if get_origin(kind) is not UnionType:
        return kind
    (other,) = (member for member in get_args(kind) if member is not NoneType)
    return other


class FieldReader(NamedTuple):
    """How a field is read: a value whose type is `exactly` needs no conversion, any other is read by `read`."""

    name: str
    exactly: type | None
    read: ValueReader


@cache
def field_readers(kind: Any) -> tuple[tuple[FieldReader, ...], Json]:
    """How each field is read, and the values of fields that a record may omit."""
    readers, absent = [], {}
    for field in fields(kind):
        # A field that is omitted while it is None is never written as null.
        field_type: Any = without_none(field.type) if field.metadata.get("optional") else field.type
        exactly = field_type if field_type in (str, bool) else None
        readers.append(FieldReader(field.name, exactly, value_reader(field_type)))
        if field.name in getattr(kind, "needs", ()):
            continue
        if "absent" in field.metadata:
            absent[field.name] = field.metadata["absent"]
        elif field.default is not MISSING:
            absent[field.name] = field.default
        elif issubclass(kind, Record):
            absent[field.name] = empty_value(field_type)
    return tuple(readers), absent


def empty_value(kind: Any) -> Any:
    origin = get_origin(kind)
    if origin is UnionType:
        return None
    if origin is tuple:
        return ()
    if origin is not None:
        return EMPTY_OBJECT
    return value_reader(kind)({}) if hasattr(kind, "__dataclass_fields__") else kind()


def read_fields(
    kind: Any, readers: Sequence[FieldReader], absent: Json, data: Any, problems: list[str] | None = None
) -> Any:
    """A record. With `problems`, a wrong field counts as absent if it may be, and is listed there."""
    if not isinstance(data, dict):
        raise InvalidValue(f"{kind.__name__} is no object")
    values = {}
    for name, exactly, read in readers:
        value = data.get(name, MISSING)
        if type(value) is exactly:
            values[name] = value
        elif value is not MISSING:
            try:
                values[name] = read(value)
            except InvalidValue as error:
                if problems is None or name not in absent:
                    raise InvalidValue(f"{name}: {error}") from None
                problems.append(f"{name}: {error}")
                values[name] = absent[name]
        elif name in absent:
            values[name] = absent[name]
        else:
            raise InvalidValue(f"{name} is missing")
    if not issubclass(kind, Record):
        return kind(**values)
    record = kind.__new__(kind)  # these values are known to be complete
    record.__dict__.update(values)
    return record


def read_list(read: ValueReader, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidValue("no list")
    return tuple(map(read, value))


def read_row(readers: tuple[ValueReader, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or len(value) != len(readers):
        raise InvalidValue(f"no list of {len(readers)}")
    return tuple(read(item) for read, item in zip(readers, value, strict=True))


def read_mapping(read: ValueReader, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidValue("no object")
    return MappingProxyType({name: read(item) for name, item in value.items()})


def read_enum(kind: type[StrEnum], value: Any) -> StrEnum:
    try:
        return kind(value)
    except ValueError:
        raise InvalidValue(f"{str(value)[:60]!r} is unknown") from None


def read_scalar(kinds: tuple[type, ...], value: Any) -> Any:
    if type(value) not in kinds or (type(value) in (int, float) and not -NUMBER_LIMIT < value < NUMBER_LIMIT):
        raise InvalidValue(f"{str(value)[:60]!r} is not {kinds[-1].__name__}")
    return value
