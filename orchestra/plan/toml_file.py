"""The file of a plan: TOML that people read and edit, and that is read back as written."""

import dataclasses
import difflib
import tomllib
from collections.abc import Iterator
from typing import Any

from orchestra.answers.shape import convert_value
from orchestra.errors import PlanError
from orchestra.plan.draft import Draft, PlanItem
from orchestra.plan.shards import Shard, Shards

HEAD = """\
# A plan of aider-orchestrator, to be read and edited. Then:
#   aider-orchestrator plan check {name}      what is wrong with it
#   aider-orchestrator plan approve {name}    say yes to it
#   aider-orchestrator execute {name}         carry it out
# A task begins when those that it needs are done, and on top of their result. Comments of yours are lost when the
# program writes this file: at `plan continue`, at `plan approve`, and when a run has done some of it.

"""
ALWAYS_SHOWN = ("id", "title", "brief", "files", "needs")  # in every task
WIDTH = 100


def format_draft(draft: Draft, name: str) -> str:
    lines = [HEAD.format(name=name), f"goal = {format_string(draft.goal)}\n"]
    lines += [f"prd = {format_string(draft.prd)}\n"] if draft.prd else []
    lines += [f"approved = {str(draft.approved).lower()}\n"]
    lines += [f"shared = {format_value(draft.shared)}\n"] if draft.shared else []
    lines += format_shards(draft.shards) if draft.shards else []
    for item in draft.task:
        lines += ["\n[[task]]\n"]
        for field in dataclasses.fields(item):
            value = getattr(item, field.name)
            if value != field.default or field.name in ALWAYS_SHOWN:
                lines += [f"{field.name} = {format_value(value)}\n"]
    return "".join(lines)


def format_shards(shards: Shards) -> list[str]:
    lines = ["\n# Written by `plan shard`. After a change of the plan: `plan shard` again.\n[shards]\n"]
    lines += [f"{name} = {format_value(getattr(shards, name))}\n" for name in ("base", "digest", "budget")]
    for shard in shards.shard:
        fields = (f"{name} = {format_value(value)}\n" for name, value in vars(shard).items())
        lines += ["\n[[shards.shard]]\n", *fields]
    return lines


def format_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return format_string(value)
    words = [format_string(one) for one in value]
    short = f"[{', '.join(words)}]"
    return short if len(short) <= WIDTH else "[\n" + "".join(f"    {word},\n" for word in words) + "]"


def format_string(value: str) -> str:
    """Format a string, on lines of its own if it has several."""
    safe = "".join(map(escape_character, value))
    if "\n" not in value:
        return '"' + safe.replace('"', '\\"').replace("\t", "\\t") + '"'
    inside = safe.replace('"""', '""\\"')
    inside = inside[:-1] + '\\"' if inside.endswith('"') and not inside.endswith('\\"') else inside
    return f'"""\n{inside}"""'


def escape_character(sign: str) -> str:
    plain = sign in "\n\t" or (ord(sign) >= 32 and ord(sign) != 127 and sign != "\\")
    return sign if plain else "\\\\" if sign == "\\" else f"\\u{ord(sign):04x}"


def parse_draft(content: str, source: str) -> Draft:
    """Parse the plan in a file. Raise one sentence that says what is wrong and where."""
    try:
        record = tomllib.loads(content)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of more than 4300 digits
        why = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise PlanError(f"{source}: this is not TOML ({why}).") from None
    complaints: list[str] = []
    for table, kind, where in walk_tables(record):
        known = [field.name for field in dataclasses.fields(kind)]
        for name in table.keys() - set(known):
            near = difflib.get_close_matches(name, known, 1)
            hint = f", did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
            complaints.append(f"there is no {name!r}{where}{hint}")
        # A hand-written plan says each thing once; the rest follows.
        table |= {name: "" for name in ("id", "title", "brief") if kind is PlanItem and name not in table}
    draft: Draft = convert_value(Draft, record, "", complaints)
    if complaints:
        raise PlanError(f"{source}: {'; '.join(complaints[:5])}.")
    return draft


def walk_tables(record: dict[str, Any]) -> Iterator[tuple[dict[str, Any], type, str]]:
    yield record, Draft, ""
    for n, table in list_tables(record.get("task")):
        yield table, PlanItem, f" in task {n} ({table.get('id', 'without an id')})"
    if isinstance(shards := record.get("shards"), dict):
        yield shards, Shards, " in [shards]"
        for n, table in list_tables(shards.get("shard")):
            yield table, Shard, f" in shard {n}"


def list_tables(value: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    tables = value if isinstance(value, list) else []
    return ((n, table) for n, table in enumerate(tables, start=1) if isinstance(table, dict))
