"""Orders as JSON: a host on another machine would get them so."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from orchestra.agents.base import AgentModel, AttemptOrder, FileRules, WorktreeSetup

Part = TypeVar("Part")


def order_to_json(order: AttemptOrder) -> str:
    return json.dumps(to_json_value(order), sort_keys=True)


def order_from_json(text: str) -> AttemptOrder:
    record = json.loads(text)
    parts = {"model": AgentModel, "set_up": WorktreeSetup, "rules": FileRules}
    return rebuild_dataclass(
        AttemptOrder, record | {name: rebuild_dataclass(kind, record[name]) for name, kind in parts.items()}
    )


def rebuild_dataclass(kind: type[Part], record: Mapping[str, Any]) -> Part:
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in record.items()})


def to_json_value(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {name: to_json_value(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(name): to_json_value(each) for name, each in value.items()}
    return [to_json_value(each) for each in value] if isinstance(value, list | tuple) else value
