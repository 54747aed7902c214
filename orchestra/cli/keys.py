"""Ask for keys and put them into a .env that nobody else can read and git does not see."""

import getpass
import os
import re
import sys
from pathlib import Path

from orchestra.cli.load import SCRIPT, read_dotenv
from orchestra.errors import UsageError
from orchestra.providers import catalogue
from orchestra.settings import Settings
from orchestra.workspace.git import ask_git, is_tracked

ASKED = ("openai", "anthropic", "gemini")


def ask_for_keys(settings: Settings, folder: Path) -> None:
    """For each provider that has none. What stands in the .env already stays as it is."""
    place = folder / ".env"
    if os.environ.get("CI") or not sys.stdin.isatty():
        raise UsageError(
            "doctor --fix asks for keys, and there is no terminal to ask on.", hint="Write the .env by hand."
        )
    if is_tracked(folder, ".env"):
        raise UsageError(
            f"{place} is committed, so no key may stand there.", hint="Take it out with git rm --cached .env."
        )
    given = {}
    for name in ASKED:
        variable = catalogue.PROVIDERS[name].key_vars[0]
        if not settings.strongest_variable(catalogue.PROVIDERS[name].key_vars)[0]:
            given[variable] = check_key(variable, getpass.getpass(f"{variable} (Enter for none): ").strip())
    hide_from_git(folder)
    text = place.read_text("utf-8") if place.exists() else read_dotenv_example()
    write_private_file(place, fill_in_keys(text, {name: key for name, key in given.items() if key}, taken(place)))
    print(f"{place} is written; only you can read it, and git ignores it.", file=sys.stderr)


def check_key(variable: str, key: str) -> str:
    if not re.fullmatch(r"[!-~]*", key) or re.search("[\"'`\\\\#$]", key):
        raise UsageError(f"{variable}: this holds characters that no key has. Nothing was written.")
    return key


def taken(place: Path) -> set[str]:
    return set(read_dotenv(place)) if place.exists() else set()


def read_dotenv_example() -> str:
    path = SCRIPT / ".env.example"
    if path.is_file():
        return path.read_text("utf-8")
    return "".join(f"# {catalogue.PROVIDERS[name].key_vars[0]}=\n" for name in ASKED)


def fill_in_keys(text: str, given: dict[str, str], taken: set[str]) -> str:
    """Each key in the place that the example keeps for it, or at the end."""
    for name, key in given.items():
        if name in taken:
            continue
        line, place = f"{name}={key}", re.compile(rf"^#? ?{name}=[ \t]*$", re.MULTILINE)
        text = place.sub(line, text, count=1) if place.search(text) else f"{text.rstrip()}\n{line}\n".lstrip()
    return text


def hide_from_git(folder: Path) -> None:
    """In git's own list of this clone: what is in the repository is the user's to change."""
    if (
        ask_git(folder, "rev-parse", "--git-dir") is None
        or ask_git(folder, "check-ignore", "-q", "--", ".env") is not None
    ):
        return
    exclude = folder / str(ask_git(folder, "rev-parse", "--git-path", "info/exclude"))
    exclude.parent.mkdir(parents=True, exist_ok=True)
    before = exclude.read_text("utf-8") if exclude.exists() else ""
    exclude.write_text(f"{before.rstrip()}\n/.env\n".lstrip(), "utf-8")


def write_private_file(place: Path, text: str) -> None:
    """All of it or nothing, and never readable for others."""
    target = place.resolve()
    draft = target.with_name(f".env.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
