"""Ask for keys, and write them to a .env that only the user can read and git ignores."""

import getpass
import os
import re
import sys
from pathlib import Path

from orchestra.cli.load import SCRIPT, read_dotenv
from orchestra.errors import UsageError
from orchestra.process import replace_file
from orchestra.providers import catalogue
from orchestra.settings import Settings
from orchestra.workspace.git import ask_git, is_tracked

ASKED = ("openai", "anthropic", "gemini")


def ask_for_keys(settings: Settings, folder: Path) -> None:
    """Ask for the key of each provider that has none. Keys that the .env has stay as they are."""
    path = folder / ".env"
    if os.environ.get("CI") or not sys.stdin.isatty():
        raise UsageError(
            "doctor --fix asks for keys, and there is no terminal to ask on.", hint="Write the .env yourself."
        )
    if is_tracked(folder, ".env"):
        raise UsageError(
            f"{path} is committed, so keys must not be written to it.", hint="Run `git rm --cached .env` first."
        )
    keys = {}
    for name in ASKED:
        variable = catalogue.PROVIDERS[name].key_vars[0]
        if not settings.strongest_variable(catalogue.PROVIDERS[name].key_vars)[0]:
            keys[variable] = check_key(variable, getpass.getpass(f"{variable} (Enter for none): ").strip())
    hide_from_git(folder)
    text = path.read_text("utf-8") if path.exists() else read_dotenv_example()
    existing = read_dotenv(path) if path.exists() else {}
    new = {name: key for name, key in keys.items() if key and name not in existing}
    replace_file(path.resolve(), fill_in_keys(text, new).encode(), private=True)
    print(f"{path} is written; only you can read it, and git ignores it.", file=sys.stderr)


def check_key(variable: str, key: str) -> str:
    if not re.fullmatch(r"[!-~]*", key) or re.search("[\"'`\\\\#$]", key):
        raise UsageError(f"{variable}: the value has characters that no key has; nothing was written.")
    return key


def read_dotenv_example() -> str:
    path = SCRIPT / ".env.example"
    if path.is_file():
        return path.read_text("utf-8")
    return "".join(f"# {catalogue.PROVIDERS[name].key_vars[0]}=\n" for name in ASKED)


def fill_in_keys(text: str, keys: dict[str, str]) -> str:
    """Put each key on the line that the example has for it, or at the end."""
    for name, key in keys.items():
        line, example = f"{name}={key}", re.compile(rf"^#? ?{name}=[ \t]*$", re.MULTILINE)
        text = example.sub(line, text, count=1) if example.search(text) else f"{text.rstrip()}\n{line}\n".lstrip()
    return text


def hide_from_git(folder: Path) -> None:
    """Add .env to this clone's exclude file, which is not committed, unless git ignores it already."""
    if (
        ask_git(folder, "rev-parse", "--git-dir") is None
        or ask_git(folder, "check-ignore", "-q", "--", ".env") is not None
    ):
        return
    exclude = folder / str(ask_git(folder, "rev-parse", "--git-path", "info/exclude"))
    exclude.parent.mkdir(parents=True, exist_ok=True)
    before = exclude.read_text("utf-8") if exclude.exists() else ""
    exclude.write_text(f"{before.rstrip()}\n/.env\n".lstrip(), "utf-8")
