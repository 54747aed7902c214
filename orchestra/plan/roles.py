"""Roles: what an agent is a specialist of. The package's own, the user's from a settings file, and rules for paths."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from orchestra.errors import SettingsError
from orchestra.plan.digest import TEST, file_extension

TABLE = "roles"  # in a settings file
CODER = "coder"
ASK = "ask"  # Aider's chat mode in which nothing is changed
CHAT_MODES = {"researcher": ASK}
# Of Aider's formats those in which an agent edits.
EDIT_FORMATS = ("diff", "diff-fenced", "patch", "udiff", "udiff-simple", "whole")
KEYS = ("prompt", "prompt-file", "model", "edit-format", "gates")
NAME = re.compile(r"[^\W_][\w-]*")

DOCUMENTS = re.compile(r"(?:^|/)docs?/|\.(?:md|mdx|rst|adoc)$|(?:^|/)(?:readme|changelog)[^/]*$", re.IGNORECASE)
BY_ENDING = {
    **dict.fromkeys(("css", "scss", "sass", "less", "html", "htm", "jsx", "tsx", "vue", "svelte", "astro"), "frontend"),
    **dict.fromkeys(("sql", "ipynb", "rmd", "prisma", "parquet", "csv"), "data"),
}


@dataclass(frozen=True)
class Role:
    """What an agent is told of its trade, and where it differs from the other agents. `gates` bind it by itself."""

    name: str
    prompt: str = ""
    model: str = ""
    edit_format: str = ""
    chat_mode: str = ""
    gates: tuple[str, ...] = ()

    @property
    def only_answers(self) -> bool:
        return self.chat_mode == ASK


@cache
def packaged_roles() -> Mapping[str, Role]:
    files = sorted((Path(__file__).parent.parent / "roles").glob("*.md"))
    prompts = {file.stem: file.read_text(encoding="utf-8").strip() for file in files}
    return {name: Role(name, prompt, chat_mode=CHAT_MODES.get(name, "")) for name, prompt in prompts.items()}


def known_roles(own: Mapping[str, Role]) -> dict[str, Role]:
    """The package's roles and the user's own. Of one that both have, the user's words count where there are any."""
    return {
        **packaged_roles(),
        **{name: override_role(packaged_roles().get(name, Role(name)), role) for name, role in own.items()},
    }


def override_role(base: Role, role: Role) -> Role:
    said = {field.name: getattr(role, field.name) for field in fields(Role)}
    return replace(base, **{name: value for name, value in said.items() if value})


def find_role(name: str, own: Mapping[str, Role]) -> Role:
    """What a task without a role has is like all others."""
    roles = known_roles(own)
    if name and name not in roles:
        raise SettingsError(f"there is no role {name!r}.", hint=f"There are {', '.join(roles)}.")
    return roles[name] if name else Role("")


def role_for_files(paths: Iterable[str]) -> str:
    """The role of most of these files; of two with as many the coder, or who comes first."""
    votes = Counter(map(role_of_file, paths))
    return min(votes, key=lambda role: (-votes[role], role != CODER, role), default=CODER)


def role_of_file(path: str) -> str:
    if TEST.search(path):
        return "tester"
    return BY_ENDING.get(file_extension(path)) or ("writer" if DOCUMENTS.search(path) else CODER)


# --- the settings file ----------------------------------------------------------------------------------------------


def parse_roles(place: str, table: Mapping[str, Any]) -> dict[str, Role]:
    """[roles.NAME] as the user wrote them; of a prompt-file, the prompt was read before."""
    found = table.get(TABLE, {})
    if not isinstance(found, Mapping):
        raise SettingsError(f"{TABLE} in {place} is not a table.")
    return {name: parse_role(name, record, f"[{TABLE}.{name}] in {place}") for name, record in found.items()}


def parse_role(name: str, record: Any, place: str) -> Role:
    if not isinstance(record, Mapping):
        raise SettingsError(f"{place} is not a table.")
    if not NAME.fullmatch(name):
        raise SettingsError(f"{place}: a role's name is letters, digits, - and _.")
    for key in record:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"a role has {', '.join(KEYS)}."
            raise SettingsError(f"unknown setting {key!r} in {place}: {hint}")
    texts = {key: read_text_key(record, key, place) for key in ("prompt", "prompt-file", "model", "edit-format")}
    if not texts["prompt"] and name not in packaged_roles():
        raise SettingsError(f"{place} needs a prompt or a prompt-file.")
    if texts["edit-format"] and texts["edit-format"] not in EDIT_FORMATS:
        known_ones = ", ".join(EDIT_FORMATS)
        raise SettingsError(f"edit-format in {place} must be one of {known_ones}, not {texts['edit-format']!r}.")
    if texts["edit-format"] and name in CHAT_MODES:
        raise SettingsError(f"{place} changes no file, so that it can have no edit-format.")
    return Role(name, texts["prompt"], texts["model"], texts["edit-format"], gates=read_gate_names(record, place))


def read_text_key(record: Mapping[str, Any], key: str, place: str) -> str:
    value = record.get(key, "")
    if not isinstance(value, str) or (key in record and not value.strip()):
        raise SettingsError(f"{key} in {place} must be text, and not empty.")
    return value.strip()


def read_gate_names(record: Mapping[str, Any], place: str) -> tuple[str, ...]:
    value = record.get("gates", [])
    if not isinstance(value, list) or not all(isinstance(name, str) and name.strip() for name in value):
        raise SettingsError(f"gates in {place} must be a list of names.")
    return tuple(dict.fromkeys(name.strip() for name in value))
