"""Write docs/reference-events.md from the classes of the events.

usage: python -m tools.write_events
"""

import inspect
import sys
from collections.abc import Mapping
from dataclasses import Field, fields
from enum import StrEnum
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Any, get_args, get_origin

from orchestra.events import KINDS, gate_events, request_events, result_events, run_events, task_events

TARGET = Path(__file__).resolve().parents[1] / "docs" / "reference-events.md"
MODULES: tuple[ModuleType, ...] = (run_events, request_events, task_events, gate_events, result_events)
WORDS = {str: "text", int: "number", float: "number", bool: "yes or no", Any: "anything"}
HEAD = f"""\
# Events

<!-- Written by `make reference` from orchestra/events: do not edit. -->

Everything that happens in a run is an event: one JSON object per line of the `.jsonl` files, and a row of the store.
There are {len(KINDS)} kinds.

| key | value |
|---|---|
| `event` | the kind |
| `run` | the run's name |
| `seq` | order within the run, over all its files |
| `time` | milliseconds since 1970 |
| `task`, `attempt` | numbers, in events of a task |
| `data` | what the kind tells: see below |

Readers must pass over kinds and keys that they do not know. This program counts the events that it cannot read, and
its reports say how many they are.
"""


def text() -> str:
    parts = [HEAD]
    nested: dict[str, type] = {}
    for module in MODULES:
        kinds = [kind for kind in KINDS.values() if kind.__module__ == module.__name__]
        parts.append(f"## {title(module)}\n")
        for kind in kinds:
            parts.append(section(f"`{kind.kind}`", kind, nested))
    parts.append("## Parts\n")
    while left := [name for name in nested if f"\n### {name}\n" not in "\n" + "\n".join(parts)]:
        for name in left:
            parts.append(section(name, nested[name], nested))
    return "\n".join(parts)


def title(module: ModuleType) -> str:
    first = (module.__doc__ or "").splitlines()[0]
    return first.removeprefix("Events of ").rstrip(".").capitalize()


def section(name: str, kind: type, nested: dict[str, type]) -> str:
    rows = [f"| `{each.name}` | {words(each.type, nested)}{left_out(kind, each)} |" for each in fields(kind)]
    table = ["| key | value |", "|---|---|", *rows]
    return "\n".join([f"### {name}\n", doc(kind), "", *table, ""])


def doc(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "")


def left_out(kind: type, each: Field[Any]) -> str:
    """Whether a line may be without this key."""
    return "; may be absent" if each.metadata.get("optional") else ""


def words(kind: Any, nested: dict[str, type]) -> str:
    """A type in words. The classes in it are collected: they are described too."""
    origin, args = get_origin(kind), get_args(kind)
    if kind in WORDS:
        return WORDS[kind]
    if origin is UnionType:
        return " or ".join("null" if each is NoneType else words(each, nested) for each in args)
    if origin is tuple and args[-1] is Ellipsis:
        return f"list of {words(args[0], nested)}"
    if origin is tuple:
        return f"[{', '.join(words(each, nested) for each in args)}]"
    if origin is not None and issubclass(origin, Mapping):
        return f"object: {words(args[1], nested)} by name"
    if issubclass(kind, StrEnum):
        return ", ".join(f"`{each}`" for each in kind)
    assert hasattr(kind, "__dataclass_fields__"), kind
    nested[kind.__name__] = kind
    return f"[{kind.__name__}](#{kind.__name__.lower()})"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{TARGET.name}: {len(KINDS)} kinds\n")
