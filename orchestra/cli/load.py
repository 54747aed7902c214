"""Find and read the sources of settings: flags, the environment, .env files, settings files; and the user's consent to
committed files, stored in their config folder, as direnv does it."""

import contextlib
import hashlib
import json
import os
import sys
import tomllib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from orchestra.errors import OrchestraError, SettingsError
from orchestra.plan.roles import TABLE as ROLES
from orchestra.settings import REPOSITORY_ENV, SCRIPT_ENV, CommittedFile, Settings, SettingsFile, load_settings
from orchestra.settings.folder import config_folder

SCRIPT = Path(__file__).resolve().parent.parent.parent
FILE, SHARED = "aider-orchestrator.toml", "pyproject.toml"
USER_FILE, ANSWERS_FILE = "settings.toml", "trusted.json"  # in the user's config folder
TABLE = "aider-orchestrator"


def read_settings(flags: Mapping[str, Any]) -> Settings:
    """Read the settings of the repository that the flags, the environment or the current directory name."""
    from orchestra.workspace.git import top_level

    path = Path(flags.get("repo") or os.environ.get("ORCHESTRA_REPO", ""))
    root = top_level(path) or top_level(current_folder()) or current_folder()
    settings = load_with_files(flags, read_environments(root), root)
    return settings.with_values(change=read_change_text(settings.change))


def load_with_files(flags: Mapping[str, Any], sources: list[tuple[str, Mapping[str, str]]], root: Path) -> Settings:
    """Prefer the repository's settings file to the user's, unless git tracks it and it is not trusted."""
    repository_file, path = read_settings_file(root)
    user_files = [file for file in (read_user_file(root),) if file.table]
    if not repository_file.table:
        return load_settings(flags, sources, user_files)
    from orchestra.settings.trust import overridden_keys, screen_file
    from orchestra.workspace.tracked import is_tracked_regular, may_be_tracked

    def load_whole_file() -> Settings:
        return load_settings(
            flags, sources, [read_role_prompts(root, resolve_paths(root, repository_file)), *user_files]
        )

    if not may_be_tracked(root, path):
        return load_whole_file()
    base = load_settings(flags, sources, user_files)
    if base.trust_repo or recall_answer(root, repository_file):
        overridden = overridden_keys(base)
        used = {name: value for name, value in repository_file.table.items() if name not in overridden}
        return load_whole_file().with_values(committed=CommittedFile(repository_file.origin, used, trusted=True))
    screened, committed = screen_file(repository_file, base, lambda name: is_tracked_regular(root, name))
    settings = load_settings(flags, sources, [*user_files, read_role_prompts(root, resolve_paths(root, screened))])
    return settings.with_values(committed=committed)


def current_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise SettingsError("The current directory no longer exists.") from None


def read_environments(root: Path) -> list[tuple[str, Mapping[str, str]]]:
    """Return the environment, then .env in the repository unless it is committed, then .env beside the script."""
    from orchestra.workspace.tracked import may_be_tracked

    environments: list[tuple[str, Mapping[str, str]]] = [("environment", os.environ)]
    if (root / ".env").is_file():
        if may_be_tracked(root, ".env"):
            print("note: .env is committed, so anyone may have written it; it is not read.", file=sys.stderr)
        else:
            environments.append((REPOSITORY_ENV, read_dotenv(root / ".env")))
    if root != SCRIPT and (SCRIPT / ".env").is_file():
        environments.append((SCRIPT_ENV, read_dotenv(SCRIPT / ".env")))
    return environments


def read_dotenv(path: Path) -> dict[str, str]:
    from dotenv import dotenv_values

    try:
        values = dotenv_values(path, interpolate=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {why_unreadable(error)}.") from None
    return {name: value for name, value in values.items() if value}


def read_settings_file(root: Path) -> tuple[SettingsFile, str]:
    """Return the repository's settings file, and its path in the repository."""
    own, shared = root / FILE, root / SHARED
    if own.is_file():
        return SettingsFile(FILE, read_toml(own)), FILE
    if shared.is_file():
        origin = f"[tool.{TABLE}] in {SHARED}"
        tools = read_project_toml(shared).get("tool", {})
        table = tools.get(TABLE, {}) if isinstance(tools, dict) else None
        if not isinstance(table, dict):
            raise SettingsError(f"{origin} is not a table.")
        return SettingsFile(origin, table), SHARED
    return SettingsFile(), ""


def read_project_toml(path: Path) -> dict[str, Any]:
    """Read it; a broken file without our table counts as empty, because the change may be what repairs it."""
    try:
        return read_toml(path)
    except SettingsError:
        if os.access(path, os.R_OK) and TABLE.encode() not in path.read_bytes():
            return {}
        raise


def read_user_file(root: Path) -> SettingsFile:
    """Return the user's settings file, which is for all repositories. Prompt files are relative to it."""
    path = config_folder() / USER_FILE
    if not path.is_file():
        return SettingsFile()
    from orchestra.workspace.tracked import is_from_repository

    if is_from_repository(root, path):
        return SettingsFile()
    return read_role_prompts(path.parent, SettingsFile(str(path), read_toml(path)))


def resolve_paths(root: Path, file: SettingsFile) -> SettingsFile:
    """Resolve the paths in a settings file against its folder."""
    table = dict(file.table)
    for name in ("prd", "assign", "replay"):
        if isinstance(table.get(name), str) and table[name]:
            table[name] = str(root / table[name])
    plan = table.get("plan")
    if isinstance(plan, str) and plan and (root / plan).is_file():  # otherwise it is a plan's name
        table["plan"] = str(root / plan)
    change = table.get("change")
    if isinstance(change, str) and change.startswith("@"):
        table["change"] = f"@{root / change[1:]}"
    return SettingsFile(file.origin, table)


def read_role_prompts(root: Path, file: SettingsFile) -> SettingsFile:
    """Replace each role's prompt-file by the text of the file."""
    roles = file.table.get(ROLES)
    if not isinstance(roles, dict):
        return file
    prompts = {name: read_role_prompt(root, f"[{ROLES}.{name}] in {file.origin}", roles[name]) for name in roles}
    return SettingsFile(file.origin, {**file.table, ROLES: prompts})


def read_role_prompt(root: Path, origin: str, role: Any) -> Any:
    if not isinstance(role, dict) or not isinstance(role.get("prompt-file", None), str):
        return role
    if "prompt" in role:
        raise SettingsError(f"{origin} has a prompt and a prompt-file: give only one.")
    try:
        prompt = (root / role["prompt-file"]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise SettingsError(
            f"prompt-file {role['prompt-file']!r} of {origin} cannot be read: {why_unreadable(error)}."
        ) from None
    return {name: value for name, value in role.items() if name != "prompt-file"} | {"prompt": prompt}


def read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: also a number of more than 4300 digits
        raise SettingsError(f"{path.name} cannot be read: {why_unreadable(error)}.") from None


def read_change_text(value: str) -> str:
    """Return the change request: from @FILE, from stdin for -, else the value."""
    if value != "-" and not value.startswith("@"):
        return value.strip()
    try:
        content = sys.stdin.buffer.read() if value == "-" else Path(value[1:]).read_bytes()
        return content.decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--change {value}: {why_unreadable(error)}.") from None


def why_unreadable(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return getattr(error, "strerror", None) or str(error)


def recall_answer(root: Path, file: SettingsFile) -> bool | None:
    """Return the answer for the present content of the file and of those that it names; None if there is none."""
    answer = read_answers(root).get(str(root.resolve()))
    if not isinstance(answer, dict) or answer.get("digest") != file_digest(root, file):
        return None
    return answer.get("trusted") is True


def file_digest(root: Path, file: SettingsFile) -> str:
    from orchestra.settings.trust import files_named_in, trust_digest

    return trust_digest(file, ((name, content_digest(root / name)) for name in files_named_in(file.table)))


def content_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    except OSError:
        return "unreadable"


def write_answer(root: Path, file: SettingsFile, trusted: bool | None) -> None:
    """Store the answer; None deletes it."""
    from orchestra.process import replace_file

    answers = read_answers(root)
    answers.pop(str(root.resolve()), None)
    if trusted is not None:
        answers[str(root.resolve())] = {"digest": file_digest(root, file), "trusted": trusted}
    path = config_folder() / ANSWERS_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(path, f"{json.dumps(answers, indent=1, sort_keys=True)}\n".encode())
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}.", hint="Give --trust-repo instead.") from None


def read_answers(root: Path) -> dict[str, object]:
    """Return the stored answers: none if the file cannot be read, or may have come with the repository."""
    path = config_folder() / ANSWERS_FILE
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    from orchestra.workspace.tracked import is_from_repository

    return answers if isinstance(answers, dict) and not is_from_repository(root, path) else {}


def scrub_keys(text: str, argv: list[str]) -> str:
    """Remove keys from the error message of a command, whose settings may not have been read."""
    from orchestra.conduct.core.secrets import Secrets

    sources = [("environment", os.environ), *read_dotenv_files()]
    variables = {
        f"{name} {source}": (value.strip(), source)
        for source, env in sources
        for name, value in env.items()
        if value.strip()
    }
    # The value of --api-key KEY or --api-key=KEY.
    pairs = pairwise([*argv, ""])
    given = (word.partition("=")[2] or following for word, following in pairs if word.startswith("--api-key"))
    return Secrets.from_variables(variables, next(given, ""), *argv).scrub(text)


def read_dotenv_files() -> list[tuple[str, Mapping[str, str]]]:
    """Return the .env files that can be read; the error may be about one that cannot."""
    from orchestra.workspace.git import top_level

    files: list[tuple[str, Mapping[str, str]]] = []
    with contextlib.suppress(OrchestraError, OSError, ValueError):
        for folder in {top_level(Path()) or current_folder(), SCRIPT}:
            if (folder / ".env").is_file():
                files.append((str(folder), read_dotenv(folder / ".env")))
    return files
