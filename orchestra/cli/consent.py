"""Print what a committed settings file sets, and ask for consent to the rest of it."""

import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestra.cli.command_io import is_attended
from orchestra.cli.load import current_folder, read_settings, read_settings_file, recall_answer, write_answer
from orchestra.conduct.core.secrets import Secrets
from orchestra.errors import SettingsError, UsageError
from orchestra.plan.roles import TABLE as ROLES
from orchestra.report.sanitize import escape_controls
from orchestra.settings import CommittedFile, Settings, SettingsFile, mask_value
from orchestra.settings.trust import files_named_in
from orchestra.settings.values import PRICES_TABLE
from orchestra.workspace.git import top_level

QUESTION = "Use these too, now and until the file changes? [y/N]"
ALLOW = "`aider-orchestrator trust` allows it, --trust-repo allows it for one run"


def repository_root(repo: str) -> Path:
    start = Path(repo).absolute() if repo else current_folder()
    if root := top_level(start):
        return root
    raise UsageError(f"{start} is not in a git repository.")


def describe_consent(root: Path, file: SettingsFile, settings: Settings) -> Iterator[str]:
    """List the settings of the file, and those that need consent."""
    committed = settings.committed or CommittedFile(file.origin)
    yield f"{file.origin} of {root} sets:"
    for line in setting_lines(file.table, settings):
        yield f"  {line}"
    for name, reason in committed.refused.items():
        yield f"  needs your consent: {name} ({reason})"
    if names := files_named_in(file.table):
        yield f"  names the files: {', '.join(names)}"


def resolve_committed(settings: Settings, committed: CommittedFile, flags: Mapping[str, Any]) -> Settings:
    """Print what a committed file has set; on a terminal, ask for consent to the rest."""
    # The file itself must not be able to suppress the question.
    user_settings = settings.with_values(quiet=is_quiet_by_user(settings))
    if committed.refused and is_attended(user_settings, sys.stderr) and ask_for_consent(settings, committed):
        settings = read_settings(flags)
        committed = settings.committed or committed
    if not is_quiet_by_user(settings):
        state = "committed, and trusted" if committed.trusted else "committed"
        for line in setting_lines(committed.used, settings):
            print_note(f"{committed.origin} ({state}) sets {line}")
    print_refused(committed)
    if committed.models:
        names = ", ".join(committed.models)
        raise SettingsError(
            f"{committed.origin} is committed, so its choice of a model is not used ({names}): "
            f"{committed.refused[committed.models[0]]}.",
            hint=f"Choose with a flag such as --model NAME; {ALLOW}.",
        )
    return settings


def is_quiet_by_user(settings: Settings) -> bool:
    return settings.quiet and settings.is_set_by_user("quiet")


def ask_for_consent(settings: Settings, committed: CommittedFile) -> bool:
    """Ask once for each state of the file."""
    root = repository_root(settings.repo)
    file, _ = read_settings_file(root)
    if recall_answer(root, file) is not None:
        return False
    for line in describe_consent(root, file, settings):
        print(escape_controls(line), file=sys.stderr)
    print(f"{QUESTION}\n> ", end="", file=sys.stderr, flush=True)
    yes = sys.stdin.readline().strip().lower() in ("y", "yes")
    write_answer(root, file, yes)
    return yes


def print_refused(committed: CommittedFile) -> None:
    if committed.refused:
        names = ", ".join(f"{name} ({reason})" for name, reason in committed.refused.items())
        print_note(f"not used from {committed.origin}, because it is committed: {names}; {ALLOW}.")


def print_note(text: str) -> None:
    print(f"note: {escape_controls(' '.join(text.split()))}", file=sys.stderr)


def mask_setting(name: str, value: object, secrets: Secrets) -> str:
    """Return the value in one line with keys masked, also inside a text such as a command."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(int(value) if value == int(value) else value)
    text = shlex.join(value) if isinstance(value, tuple) else str(value or "-")
    return " ".join(secrets.scrub(mask_value(name, text)).split()) or "-"


def setting_lines(table: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    secrets = Secrets.from_settings(settings)
    for name, value in table.items():
        is_table = name in (ROLES, PRICES_TABLE) and isinstance(value, Mapping)
        entries = {f"{name}.{key}": entry for key, entry in value.items()} if is_table else {name: value}
        for key, entry in entries.items():
            shown = tuple(map(str, entry)) if isinstance(entry, list | tuple) else entry
            yield f"{key} = {mask_setting(name, shown, secrets)}"
