"""Shapes of answers: a dataclass becomes a schema for the model, and a reader of its answer.

A field is a text, true or false, a number, a Literal, a tuple of these, or another shape. A field with a default may be
left out. `described_field` describes a field for the model.
"""

import dataclasses
import json
import math
import re
from collections.abc import Iterator
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from orchestra.answers import prd_format

T = TypeVar("T")

MOST_COMPLAINTS = 10
FENCED_JSON = re.compile(r"^```+[ \t]*(?:json)?[ \t]*\n(.*?)^```+[ \t]*$", re.MULTILINE | re.DOTALL | re.IGNORECASE)
SCHEMA_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}
EXPECTED_PHRASES = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}
SHAPE_INSTRUCTIONS = """\
Answer with one JSON object and nothing else: no words before or after it, no comments. It must fit this JSON schema:

{schema}"""


class MisshapenAnswer(ValueError):
    """The answer does not have the requested shape; the message says where."""


def described_field(about: str, **more: Any) -> Any:
    """Make a field with a description. With `default` it may be left out."""
    return dataclasses.field(metadata={"about": about}, **more)


def shape_instructions(kind: type) -> str:
    return SHAPE_INSTRUCTIONS.format(schema=json.dumps(json_schema(kind), indent=1))


def json_schema(kind: Any) -> dict[str, Any]:
    """Return the shape as JSON schema, which models know."""
    if dataclasses.is_dataclass(kind):
        properties = {
            field.name: json_schema(hint) | ({"description": field.metadata["about"]} if field.metadata else {})
            for field, hint in typed_fields(kind)
        }
        needed = [field.name for field, _ in typed_fields(kind) if is_required(field)]
        return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}
    if get_origin(kind) is tuple:
        return {"type": "array", "items": json_schema(get_args(kind)[0])}
    if get_origin(kind) is Literal:
        return {"enum": list(get_args(kind))}
    return {"type": SCHEMA_TYPES[kind]}


def typed_fields(kind: Any) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    hints = get_type_hints(kind)
    return ((field, hints[field.name]) for field in dataclasses.fields(kind))


def is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is field.default_factory is dataclasses.MISSING


def parse_answer(kind: type[T], text: str) -> T:
    """Read the answer from a model's text. Raise MisshapenAnswer with every error in it."""
    complaints: list[str] = []
    answer = convert_value(kind, find_json_object(text), "", complaints)
    if complaints:
        more = [f"and {len(complaints) - MOST_COMPLAINTS} more"] if len(complaints) > MOST_COMPLAINTS else []
        raise MisshapenAnswer("; ".join(complaints[:MOST_COMPLAINTS] + more))
    result: T = answer
    return result


def find_json_object(text: str) -> Any:
    """Find the JSON in a text: all of it, a fenced block, or what the outermost braces hold."""
    text = text.strip()
    inner = text[text.find("{") : text.rfind("}") + 1]
    problem = "it holds no JSON object"
    for candidate in (text, *(fence[1] for fence in FENCED_JSON.finditer(text)), inner):
        try:
            value = json.loads(candidate)
        except json.JSONDecodeError as error:
            problem = f"it is not valid JSON: {error.msg} in line {error.lineno}" if inner else problem
        except (ValueError, RecursionError):
            problem = "its JSON cannot be read: it is nested too deeply, or a number is too long"
        else:
            if isinstance(value, dict):
                return value
    raise MisshapenAnswer(problem)


def convert_value(kind: Any, value: Any, where: str, complaints: list[str]) -> Any:
    """Convert a value to its type. Errors are added to the complaints."""
    if dataclasses.is_dataclass(kind):
        return convert_object(kind, value, where, complaints)
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(convert_value(get_args(kind)[0], one, f"{where}[{n}]", complaints) for n, one in enumerate(value))
    if get_origin(kind) is Literal and isinstance(value, str) and value in get_args(kind):
        return value
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if kind in (bool, int) and type(value) is kind:
        return value
    if kind is str and isinstance(value, str):
        return prd_format.UNWRITABLE_SIGNS.sub("\N{REPLACEMENT CHARACTER}", value)
    complaints.append(f"{where} must be {expected_phrase(kind)}, not {received_phrase(value)}")
    return value


def convert_object(kind: Any, value: Any, where: str, complaints: list[str]) -> Any:
    if not isinstance(value, dict):
        complaints.append(f"{where} must be an object, not {received_phrase(value)}")
        return value
    before, given = len(complaints), {}
    for field, hint in typed_fields(kind):
        inside = f"{where}.{field.name}" if where else field.name
        if field.name in value:
            given[field.name] = convert_value(hint, value[field.name], inside, complaints)
        elif is_required(field):
            complaints.append(f"{inside} is missing")
    return kind(**given) if len(complaints) == before else value


def expected_phrase(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(repr, get_args(kind)))}"
    return "a list" if get_origin(kind) is tuple else EXPECTED_PHRASES[kind]


def received_phrase(value: Any) -> str:
    return repr(value[:40]) if isinstance(value, str) else prd_format.json_kind(value)
