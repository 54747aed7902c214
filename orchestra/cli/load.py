"""Find and read what settings are made of: flags, the environment, .env files, the settings file."""

import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestra.cli.parser import parse_flags
from orchestra.errors import SettingsError
from orchestra.settings import Settings, load
from orchestra.workspace.git import is_tracked, top_level

SCRIPT = Path(__file__).resolve().parent.parent.parent
FILE = "aider-orchestrator.toml"
TABLE = "aider-orchestrator"


def settings_of(argv: list[str]) -> Settings:
    flags = parse_flags(argv)
    where = Path(flags["repo"]) if flags["repo"] and Path(flags["repo"]).is_dir() else Path.cwd()
    root = top_level(where) or where
    settings = load(flags, environments(root), settings_file(root))
    return settings.with_values(change=change_text(settings.change))


def environments(root: Path) -> list[tuple[str, Mapping[str, str]]]:
    """The process's own environment first, then .env in the repository, then .env beside the script.

    A .env that is committed came with the repository and is not the user's: it is left alone.
    """
    found: list[tuple[str, Mapping[str, str]]] = [("environment", os.environ)]
    if (root / ".env").is_file() and not is_tracked(root, ".env"):
        found.append(("repository .env", dotenv(root / ".env")))
    if SCRIPT != root and (SCRIPT / ".env").is_file():
        found.append(("script .env", dotenv(SCRIPT / ".env")))
    return found


def dotenv(path: Path) -> dict[str, str]:
    from dotenv import dotenv_values

    try:
        return {name: value for name, value in dotenv_values(path, interpolate=False).items() if value}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}.") from None


def settings_file(root: Path) -> tuple[str, Mapping[str, Any]]:
    own, shared = root / FILE, root / "pyproject.toml"
    if own.is_file():
        return FILE, toml(own)
    if shared.is_file():
        return f"[tool.{TABLE}] in pyproject.toml", toml(shared).get("tool", {}).get(TABLE, {})
    return "", {}


def toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path.name} cannot be read: {error}.") from None


def change_text(given: str) -> str:
    """The change request: as given, from @FILE, or - from stdin."""
    if given == "-":
        return sys.stdin.read().strip()
    if given.startswith("@"):
        try:
            return Path(given[1:]).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"--change {given}: {error}.") from None
    return given.strip()
