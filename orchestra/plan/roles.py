"""Roles: the specialities of agents. The package's own, the user's from a settings file, and rules for paths."""

import difflib
import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from orchestra.errors import SettingsError
from orchestra.plan.digest import TEST, file_extension

TABLE = "roles"  # in a settings file
CODER = "coder"
ASK = "ask"  # Aider's chat mode that changes nothing
CHAT_MODES = {"researcher": ASK}
# Aider's formats in which an agent edits.
EDIT_FORMATS = ("diff", "diff-fenced", "patch", "udiff", "udiff-simple", "whole")
KEYS = ("prompt", "prompt-file", "model", "edit-format", "temperature", "gates", "kind")
KINDS = ("aider", "claude", "codex", "exec")  # of agents
TEXT_KEYS = ("prompt", "prompt-file", "model", "edit-format", "kind")
HOTTEST = 2.0  # no provider allows a higher temperature
NAME = re.compile(r"[^\W_][\w-]*")

DOCUMENTS = re.compile(r"(?:^|/)docs?/|\.(?:md|mdx|rst|adoc)$|(?:^|/)(?:readme|changelog)[^/]*$", re.IGNORECASE)
BY_ENDING = {
    **dict.fromkeys(("css", "scss", "sass", "less", "html", "htm", "jsx", "tsx", "vue", "svelte", "astro"), "frontend"),
    **dict.fromkeys(("sql", "ipynb", "rmd", "prisma", "parquet", "csv"), "data"),
    **dict.fromkeys(("tf", "tfvars", "bicep"), "cloud"),
}
# The specialists of other orchestrators, under our names for them.
ALIASES = {
    "backend-systems-engineer": "backend",
    "frontend-ui-engineer": "frontend",
    "aws-cloud-architect": "cloud",
    "ml-systems-architect": "ml",
    "specifications-engineer": "writer",
    "test-architect": "tester",
    **dict.fromkeys(("data-pipeline-engineer", "data-science-analyst", "data-architect-governance"), "data"),
    **dict.fromkeys(("code-worker", "code"), CODER),
    **dict.fromkeys(("test-worker", "test"), "tester"),
    **dict.fromkeys(("research-worker", "research"), "researcher"),
    **dict.fromkeys(("write-worker", "write"), "writer"),
    **dict.fromkeys(("merge-worker", "merge"), "merger"),
}


@dataclass(frozen=True)
class Role:
    """A role: what an agent is told about its speciality, and how it differs from others. `gates` must pass for it."""

    name: str
    prompt: str = ""
    model: str = ""
    edit_format: str = ""
    chat_mode: str = ""
    temperature: float | None = None  # None: the model's own
    gates: tuple[str, ...] = ()
    kind: str = ""  # of its agents; empty: as --agent-kind says

    @property
    def only_answers(self) -> bool:
        return self.chat_mode == ASK


@cache
def packaged_roles() -> Mapping[str, Role]:
    files = sorted((Path(__file__).parent.parent / "roles").glob("*.md"))
    prompts = {file.stem: file.read_text(encoding="utf-8").strip() for file in files}
    return {name: Role(name, prompt, chat_mode=CHAT_MODES.get(name, "")) for name, prompt in prompts.items()}


def known_roles(own: Mapping[str, Role]) -> dict[str, Role]:
    """Return the package's roles and the user's. If both define one, the user's values count where given."""
    roles = dict(packaged_roles())
    for name, role in own.items():
        values = {field.name: getattr(role, field.name) for field in fields(Role)}
        given = {key: value for key, value in values.items() if value not in ("", (), None)}
        roles[name] = replace(roles.get(name, Role(name)), **given)
    return roles


def find_role(name: str, own: Mapping[str, Role]) -> Role:
    """Find a role; a task without one gets the default."""
    roles = known_roles(own)
    name = canonical_role(name, roles)
    if name and name not in roles:
        raise SettingsError(f"there is no role {name!r}.", hint=role_hint(name, roles))
    return roles[name] if name else Role("")


def canonical_role(name: str, roles: Container[str]) -> str:
    """Return our name of a role. A role of the user's own counts before an alias."""
    plain = re.sub(r"[\s_]+", "-", name.strip().lower())
    return next((known for known in (name, plain) if known in roles), ALIASES.get(plain, name.strip()))


def role_hint(name: str, roles: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, [*roles, *ALIASES], 1)
    return f"Did you mean {near[0]}?" if near else f"There are {', '.join(roles)}."


def role_for_files(paths: Iterable[str]) -> str:
    """Return the role for most of these files; in a tie the coder's, or the first one."""
    votes = Counter(map(role_of_file, paths))
    return min(votes, key=lambda role: (-votes[role], role != CODER, role), default=CODER)


def role_of_file(path: str) -> str:
    if TEST.search(path):
        return "tester"
    return BY_ENDING.get(file_extension(path)) or ("writer" if DOCUMENTS.search(path) else CODER)


def parse_roles(source: str, table: Mapping[str, Any]) -> dict[str, Role]:
    """Parse [roles.NAME] tables. The prompt of a prompt-file was read before."""
    found = table.get(TABLE, {})
    if not isinstance(found, Mapping):
        raise SettingsError(f"{TABLE} in {source} is not a table.")
    return {name: parse_role(name, record, f"[{TABLE}.{name}] in {source}") for name, record in found.items()}


def parse_role(name: str, record: Any, source: str) -> Role:
    if not isinstance(record, Mapping):
        raise SettingsError(f"{source} is not a table.")
    if not NAME.fullmatch(name):
        raise SettingsError(f"{source}: a role's name is letters, digits, - and _.")
    for key in record:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"a role has {', '.join(KEYS)}."
            raise SettingsError(f"unknown setting {key!r} in {source}: {hint}")
    texts = {key: read_text_key(record, key, source) for key in TEXT_KEYS}
    if not texts["prompt"] and name not in packaged_roles():
        raise SettingsError(f"{source} needs a prompt or a prompt-file.")
    if texts["edit-format"] and texts["edit-format"] not in EDIT_FORMATS:
        known_ones = ", ".join(EDIT_FORMATS)
        raise SettingsError(f"edit-format in {source} must be one of {known_ones}, not {texts['edit-format']!r}.")
    if texts["kind"] and texts["kind"] not in KINDS:
        raise SettingsError(f"kind in {source} must be one of {', '.join(KINDS)}, not {texts['kind']!r}.")
    if texts["edit-format"] and name in CHAT_MODES:
        raise SettingsError(f"{source} changes no file, so it can have no edit-format.")
    return Role(
        name,
        texts["prompt"],
        texts["model"],
        texts["edit-format"],
        temperature=read_temperature(record, source),
        gates=read_gate_names(record, source),
        kind=texts["kind"],
    )


def read_text_key(record: Mapping[str, Any], key: str, source: str) -> str:
    value = record.get(key, "")
    if not isinstance(value, str) or (key in record and not value.strip()):
        raise SettingsError(f"{key} in {source} must be text, and not empty.")
    return value.strip()


def read_temperature(record: Mapping[str, Any], source: str) -> float | None:
    value = record.get("temperature")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= HOTTEST:
        raise SettingsError(f"temperature in {source} must be a number from 0 to {HOTTEST:g}, not {value!r}.")
    return float(value)


def read_gate_names(record: Mapping[str, Any], source: str) -> tuple[str, ...]:
    value = record.get("gates", [])
    if not isinstance(value, list) or not all(isinstance(name, str) and name.strip() for name in value):
        raise SettingsError(f"gates in {source} must be a list of names.")
    return tuple(dict.fromkeys(name.strip() for name in value))
