"""What a run says of a committed settings file, and how it asks for consent to it."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestra.cli import trusted
from orchestra.cli.load import current_folder, read_settings, read_settings_file
from orchestra.cli.masked import mask_setting
from orchestra.conduct.core.secrets import Secrets
from orchestra.errors import SettingsError, UsageError
from orchestra.plan.roles import TABLE as ROLES
from orchestra.report.terminal_text import escape_controls
from orchestra.settings import CommittedFile, Settings, SettingsFile
from orchestra.settings.trust import files_named_in
from orchestra.settings.values import PRICES_TABLE
from orchestra.workspace.git import top_level

QUESTION = "Obey these too, now and until the file changes? y or N"


ALLOW = "`aider-orchestrator trust` allows it, --trust-repo does for one run"


def repository_root(given: str) -> Path:
    start = Path(given).absolute() if given else current_folder()
    root = top_level(start)
    if root is None:
        raise UsageError(f"{start} is not in a git repository.")
    return root


def describe_consent(root: Path, file: SettingsFile, settings: Settings) -> Iterator[str]:
    """Each setting of the file, with what it needs consent for."""
    committed = settings.committed or CommittedFile(file.origin)
    yield f"{file.origin} of {root} sets:"
    for line in setting_lines(file.table, settings):
        yield f"  {line}"
    for name, why in committed.refused.items():
        yield f"  needs your consent: {name} ({why})"
    if names := files_named_in(file.table):
        yield f"  names the files: {', '.join(names)}"


def resolve_committed(settings: Settings, committed: CommittedFile, argv: list[str]) -> Settings:
    """Say what a committed file has set, and ask for consent on a terminal."""
    if committed.refused and can_be_asked(settings) and ask_for_consent(settings, committed):
        settings = read_settings(argv)
        committed = settings.committed or committed
    print_committed(settings, committed)
    if committed.models:
        names = ", ".join(committed.models)
        raise SettingsError(
            f"{committed.origin} is committed, so that its choice of a model is not taken ({names}): "
            f"{committed.refused[committed.models[0]]}.",
            hint=f"Choose with a flag such as --model NAME; {ALLOW}.",
        )
    return settings


def can_be_asked(settings: Settings) -> bool:
    alone = (
        (settings.quiet and settings.is_set_by_user("quiet"))
        or settings.json
        or settings.events
        or os.environ.get("CI")
    )
    return not alone and sys.stdin.isatty() and sys.stderr.isatty()


def ask_for_consent(settings: Settings, committed: CommittedFile) -> bool:
    """Ask once for each state of the file."""
    root = repository_root(settings.repo)
    file, _ = read_settings_file(root)
    if trusted.recall_answer(root, file) is not None:
        return False
    for line in describe_consent(root, file, settings):
        print(escape_controls(line), file=sys.stderr)
    print(f"{QUESTION}\n> ", end="", file=sys.stderr, flush=True)
    yes = sys.stdin.readline().strip().lower() in ("y", "yes")
    trusted.write_answer(root, file, yes)
    return yes


def print_committed(settings: Settings, committed: CommittedFile) -> None:
    """A line for each setting that is used, and one for all that are not. Only the user can have silence."""
    how = "committed, and trusted" if committed.trusted else "committed"
    if not (settings.quiet and settings.is_set_by_user("quiet")):
        for line in setting_lines(committed.used, settings):
            print_note(f"{committed.origin} ({how}) sets {line}")
    print_refused(committed)


def print_refused(committed: CommittedFile) -> None:
    if committed.refused:
        names = ", ".join(f"{name} ({why})" for name, why in committed.refused.items())
        print_note(f"not used of {committed.origin}, since it is committed: {names}; {ALLOW}.")


def print_note(text: str) -> None:
    print(f"note: {escape_controls(' '.join(text.split()))}", file=sys.stderr)


def setting_lines(table: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    secrets = Secrets.from_settings(settings)
    for name, value in table.items():
        if name in (ROLES, PRICES_TABLE) and isinstance(value, Mapping):
            yield from (
                f"{name}.{key} = {mask_setting(name, as_text_tuple(one), secrets)}" for key, one in value.items()
            )
        else:
            yield f"{name} = {mask_setting(name, as_text_tuple(value), secrets)}"


def as_text_tuple(value: Any) -> Any:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else value
