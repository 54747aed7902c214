"""`trust`: consent to a settings file that is committed; and what a run says of the one that it finds."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestra.cli.masked import without_secrets

from orchestra.cli import trusted
from orchestra.cli.load import current, settings_file, settings_of
from orchestra.cli.words import Words, say
from orchestra.conduct.core.secrets import Secrets
from orchestra.errors import SettingsError, UsageError
from orchestra.plan.roles import TABLE as ROLES
from orchestra.report.plain import plain
from orchestra.settings import Committed, Settings, SettingsFile
from orchestra.settings.trust import named_files
from orchestra.settings.values import PRICES
from orchestra.workspace.git import top_level
from orchestra.workspace.tracked import may_be_anyones

USAGE = """usage: aider-orchestrator trust [--show | --revoke] [--repo PATH]

Obey the whole settings file of this repository, though it is committed: also what writes, sends, hands over, spends
more or chooses another model. The answer is kept in your own config folder, for the file and the files that it names as
they are now: when one of them changes, it no longer holds.

  --show     say what would be allowed, and change nothing
  --revoke   take the consent back
"""
QUESTION = "Obey these too, now and until the file changes? y or N"
ALLOW = "`aider-orchestrator trust` allows it, --trust-repo does for one run"


def trust(argv: list[str]) -> int:
    words = Words(USAGE)
    words.add_argument("--show", action="store_true")
    words.add_argument("--revoke", action="store_true")
    given = words.read(argv)
    root = repository_of(given.repo)
    file, path = settings_file(root)
    if given.revoke:
        trusted.remember(root, file, None)
        say(f"No settings file of {root} is trusted any more.")
        return 0
    if not file.table:
        raise UsageError(f"{root} has no settings file, so there is nothing to trust.")
    if not may_be_anyones(root, path):
        say(f"{file.place} is not committed: it is yours, and obeyed as it is.")
        return 0
    settings = settings_of(["--repo", str(root)])
    for line in allowed(root, file, settings):
        say(line)
    if not given.show:
        trusted.remember(root, file, True)
        say(f"From now on {file.place} is obeyed in {root}, until it or a file that it names changes.")
    return 0


def repository_of(given: str) -> Path:
    start = Path(given).absolute() if given else current()
    root = top_level(start)
    if root is None:
        raise UsageError(f"{start} is not in a git repository.")
    return root


def allowed(root: Path, file: SettingsFile, settings: Settings) -> Iterator[str]:
    """Each setting of the file, with what it needs consent for."""
    committed = settings.committed or Committed(file.place)
    yield f"{file.place} of {root} sets:"
    for line in lines_of(file.table, settings):
        yield f"  {line}"
    for name, why in committed.refused.items():
        yield f"  needs your consent: {name} ({why})"
    if names := named_files(file.table):
        yield f"  names the files: {', '.join(names)}"


# --- a run ----------------------------------------------------------------------------------------------------------


def settle_committed(settings: Settings, committed: Committed, argv: list[str]) -> Settings:
    """Say what a committed file has set, and ask for consent on a terminal."""
    if committed.refused and can_be_asked(settings) and consents(settings, committed):
        settings = settings_of(argv)
        committed = settings.committed or committed
    tell_committed(settings, committed)
    if committed.models:
        names = ", ".join(committed.models)
        raise SettingsError(
            f"{committed.place} is committed, so that its choice of a model is not taken ({names}): "
            f"{committed.refused[committed.models[0]]}.",
            hint=f"Choose with a flag such as --model NAME; {ALLOW}.",
        )
    return settings


def can_be_asked(settings: Settings) -> bool:
    alone = (settings.quiet and settings.is_users("quiet")) or settings.json or settings.events or os.environ.get("CI")
    return not alone and sys.stdin.isatty() and sys.stderr.isatty()


def consents(settings: Settings, committed: Committed) -> bool:
    """Ask once for each state of the file."""
    root = repository_of(settings.repo)
    file, _ = settings_file(root)
    if trusted.answer(root, file) is not None:
        return False
    for line in allowed(root, file, settings):
        print(plain(line), file=sys.stderr)
    print(f"{QUESTION}\n> ", end="", file=sys.stderr, flush=True)
    yes = sys.stdin.readline().strip().lower() in ("y", "yes")
    trusted.remember(root, file, yes)
    return yes


def tell_committed(settings: Settings, committed: Committed) -> None:
    """A line for each setting that is used, and one for all that are not. Only the user can have silence."""
    how = "committed, and trusted" if committed.trusted else "committed"
    if not (settings.quiet and settings.is_users("quiet")):
        for line in lines_of(committed.used, settings):
            note(f"{committed.place} ({how}) sets {line}")
    tell_refused(committed)


def tell_refused(committed: Committed) -> None:
    if committed.refused:
        names = ", ".join(f"{name} ({why})" for name, why in committed.refused.items())
        note(f"not used of {committed.place}, since it is committed: {names}; {ALLOW}.")


def note(text: str) -> None:
    print(f"note: {plain(' '.join(text.split()))}", file=sys.stderr)


def lines_of(table: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    secrets = Secrets.of(settings)
    for name, value in table.items():
        if name in (ROLES, PRICES) and isinstance(value, Mapping):
            yield from (f"{name}.{key} = {without_secrets(name, words_of(one), secrets)}" for key, one in value.items())
        else:
            yield f"{name} = {without_secrets(name, words_of(value), secrets)}"


def words_of(value: Any) -> Any:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else value
