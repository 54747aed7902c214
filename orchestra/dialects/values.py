"""Values out of JSON that anybody may have written: each is read as what it should be, or as nothing."""

import json
from typing import Any, TypeGuard

Body = dict[str, Any]


def parse_json_or_none(raw: bytes | str) -> Any:
    """The value that JSON stands for. None when it is no JSON, or nested too deeply."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def as_object(value: Any) -> Body:
    return value if isinstance(value, dict) else {}


def object_items(value: Any) -> list[Body]:
    """The objects of a list, without what else stands in it."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def is_object_list(value: Any) -> TypeGuard[list[Body]]:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def as_text(value: Any) -> str:
    """A text, or the texts of a list of parts. Empty for everything else."""
    if isinstance(value, str):
        return value
    return "".join(as_text(part.get("text")) for part in object_items(value))
