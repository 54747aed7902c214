"""Find and read what settings are made of: flags, the environment, .env files, the settings file."""

import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestra.cli.folder import config_folder
from orchestra.cli.parser import parse_flags
from orchestra.errors import SettingsError
from orchestra.plan.roles import TABLE as ROLES
from orchestra.settings import REPOSITORY_ENV, SCRIPT_ENV, CommittedFile, Settings, SettingsFile, load_settings

SCRIPT = Path(__file__).resolve().parent.parent.parent
FILE, SHARED = "aider-orchestrator.toml", "pyproject.toml"
USER_FILE = "settings.toml"  # in the user's config folder
TABLE = "aider-orchestrator"


def read_settings(argv: list[str]) -> Settings:
    flags = parse_flags(argv)
    # Only now: what runs git takes its time to be loaded, and `--help` ends with the flags.
    from orchestra.workspace.git import top_level

    where = Path(flags["repo"] or os.environ.get("ORCHESTRA_REPO", ""))
    root = top_level(where) or top_level(current_folder()) or current_folder()
    settings = load_with_files(flags, read_environments(root), root)
    return settings.with_values(change=read_change_text(settings.change))


def load_with_files(flags: Mapping[str, Any], sources: list[tuple[str, Mapping[str, str]]], root: Path) -> Settings:
    """The repository's settings file counts before the user's own, unless git tracks it and it is not trusted."""
    theirs, path = read_settings_file(root)
    own = [file for file in (read_user_file(root),) if file.table]
    if not theirs.table:
        return load_settings(flags, sources, own)
    from orchestra.cli import trusted
    from orchestra.settings.trust import overridden_keys, screen_file
    from orchestra.workspace.tracked import is_tracked_regular, may_be_tracked

    if not may_be_tracked(root, path):
        return load_settings(flags, sources, [read_role_prompts(root, resolve_paths(root, theirs)), *own])
    base = load_settings(flags, sources, own)
    if base.trust_repo or trusted.is_file_trusted(root, theirs):
        settings = load_settings(flags, sources, [read_role_prompts(root, resolve_paths(root, theirs)), *own])
        used = {name: value for name, value in theirs.table.items() if name not in overridden_keys(base)}
        return settings.with_values(committed=CommittedFile(theirs.origin, used, trusted=True))
    screened, committed = screen_file(theirs, base, lambda name: is_tracked_regular(root, name))
    settings = load_settings(flags, sources, [*own, read_role_prompts(root, resolve_paths(root, screened))])
    return settings.with_values(committed=committed)


def current_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise SettingsError("The current directory is not there any more.") from None


def read_environments(root: Path) -> list[tuple[str, Mapping[str, str]]]:
    """The process's own environment first, then .env in the repository, then .env beside the script.

    A .env that is committed came with the repository and is not the user's: it is left alone.
    """
    from orchestra.workspace.tracked import may_be_tracked

    found: list[tuple[str, Mapping[str, str]]] = [("environment", os.environ)]
    if (root / ".env").is_file():
        if may_be_tracked(root, ".env"):
            print("note: .env is committed, so it may be anybody's: it is not read.", file=sys.stderr)
        else:
            found.append((REPOSITORY_ENV, read_dotenv(root / ".env")))
    if root != SCRIPT and (SCRIPT / ".env").is_file():
        found.append((SCRIPT_ENV, read_dotenv(SCRIPT / ".env")))
    return found


def read_dotenv(path: Path) -> dict[str, str]:
    from dotenv import dotenv_values

    try:
        found = dotenv_values(path, interpolate=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {why_unreadable(error)}.") from None
    return {name: value for name, value in found.items() if value}


def read_settings_file(root: Path) -> tuple[SettingsFile, str]:
    """The repository's own, and the path of the file that it stands in."""
    own, shared = root / FILE, root / SHARED
    if own.is_file():
        return SettingsFile(FILE, read_toml(own)), FILE
    if shared.is_file():
        place = f"[tool.{TABLE}] in {SHARED}"
        tools = read_project_toml(shared).get("tool", {})
        table = tools.get(TABLE, {}) if isinstance(tools, dict) else None
        if not isinstance(table, dict):
            raise SettingsError(f"{place} is not a table.")
        return SettingsFile(place, table), SHARED
    return SettingsFile(), ""


def read_project_toml(path: Path) -> dict[str, Any]:
    """A broken one that does not name us says nothing: it is the project's own, and the change may repair it."""
    try:
        return read_toml(path)
    except SettingsError:
        if os.access(path, os.R_OK) and TABLE.encode() not in path.read_bytes():
            return {}
        raise


def read_user_file(root: Path) -> SettingsFile:
    """The user's own, for all their repositories. A role's prompt-file stands beside it."""
    path = config_folder() / USER_FILE
    if not path.is_file():
        return SettingsFile()
    from orchestra.workspace.tracked import is_from_repository

    if is_from_repository(root, path):
        return SettingsFile()
    return read_role_prompts(path.parent, SettingsFile(str(path), read_toml(path)))


def resolve_paths(root: Path, file: SettingsFile) -> SettingsFile:
    """Paths in a settings file are meant from where it lies, not from where the program was started."""
    table = dict(file.table)
    for name in ("prd", "assign", "replay"):
        if isinstance(table.get(name), str) and table[name]:
            table[name] = str(root / table[name])
    plan = table.get("plan")
    if isinstance(plan, str) and plan and (root / plan).is_file():  # else it is the name of one
        table["plan"] = str(root / plan)
    change = table.get("change")
    if isinstance(change, str) and change.startswith("@"):
        table["change"] = f"@{root / change[1:]}"
    return SettingsFile(file.origin, table)


def read_role_prompts(root: Path, file: SettingsFile) -> SettingsFile:
    """Each role's prompt-file, from the repository's root, read in its place."""
    roles = file.table.get(ROLES)
    if not isinstance(roles, dict):
        return file
    read = {name: read_role_prompt(root, f"[{ROLES}.{name}] in {file.origin}", roles[name]) for name in roles}
    return SettingsFile(file.origin, {**file.table, ROLES: read})


def read_role_prompt(root: Path, place: str, role: Any) -> Any:
    if not isinstance(role, dict) or not isinstance(role.get("prompt-file", None), str):
        return role
    if "prompt" in role:
        raise SettingsError(f"{place} has a prompt and a prompt-file: one of them is enough.")
    try:
        prompt = (root / role["prompt-file"]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise SettingsError(
            f"prompt-file {role['prompt-file']!r} of {place} cannot be read: {why_unreadable(error)}."
        ) from None
    return {name: value for name, value in role.items() if name != "prompt-file"} | {"prompt": prompt}


def read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: also a number of more than 4300 digits
        raise SettingsError(f"{path.name} cannot be read: {why_unreadable(error)}.") from None


def read_change_text(given: str) -> str:
    """The change request: as given, from @FILE, or - from stdin."""
    if given != "-" and not given.startswith("@"):
        return given.strip()
    try:
        raw = sys.stdin.buffer.read() if given == "-" else Path(given[1:]).read_bytes()
        return raw.decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--change {given}: {why_unreadable(error)}.") from None


def why_unreadable(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return getattr(error, "strerror", None) or str(error)
