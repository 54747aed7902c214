"""`doctor`: check what a run needs, and ask for keys: into a .env that only the user can read and git ignores."""

import asyncio
import getpass
import json
import os
import re
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from orchestra.cli.command_io import is_attended, print_plain
from orchestra.cli.load import SCRIPT, current_folder, read_dotenv, read_settings
from orchestra.cli.parser import CommandParser, run_options
from orchestra.cli.provide_aider import offer_aider_environment
from orchestra.errors import UsageError
from orchestra.process import replace_file
from orchestra.providers import catalogue
from orchestra.settings import Settings
from orchestra.workspace.git import ask_git, is_tracked, top_level

ASKED = ("openai", "anthropic", "gemini")
FAILED = 2


def add_doctor_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--online", action="store_true", help="request one word from every provider that has a key (a few tokens)"
    )
    parser.add_argument(
        "--fix", action="store_true", help="make an environment for Aider if needed, and write a .env with your keys"
    )
    parser.add_run_options()


def cmd_doctor(arguments: Namespace) -> int:
    """Check git, Aider, Python, disk, memory, the repository, the store, models, keys and addresses. Options of a run,
    such as --model and --repo, are checked as that run would use them. --json prints JSON. Exit code 0: a run can
    start, perhaps with warnings. 2: it cannot."""
    settings = read_settings(run_options(arguments))
    start = Path(settings.repo).absolute() if settings.repo else current_folder()
    folder = top_level(start) or start
    if arguments.fix:
        offer_aider_environment(settings)
        if not settings.yes or is_attended(settings, sys.stderr):
            ask_for_keys(settings, folder)
        settings = read_settings(run_options(arguments))
    return asyncio.run(print_findings(settings, folder, online=arguments.online))


async def print_findings(settings: Settings, folder: Path, *, online: bool) -> int:
    from orchestra.conduct.session.doctor import run_checkup

    findings = []
    async for finding in run_checkup(settings, folder, online=online):
        findings.append(finding)
        if not settings.json:
            words = f"{finding.text.rstrip('.')}. {finding.remedy}" if finding.remedy else finding.text
            print_plain(f"{finding.level:<8} {finding.name:<12} {' '.join(words.split())}")
    healthy = all(finding.level != "error" for finding in findings)
    if settings.json:
        print(json.dumps({"ok": healthy, "findings": [asdict(finding) for finding in findings]}, indent=2))
    return 0 if healthy else FAILED


def ask_for_keys(settings: Settings, folder: Path) -> None:
    """Ask for the key of each provider that has none. Keys that the .env has stay as they are."""
    if os.environ.get("CI") or not sys.stdin.isatty():
        raise UsageError(
            "doctor --fix asks for keys, and there is no terminal to ask on.",
            hint="Write the .env yourself; with --yes it only makes an environment for Aider.",
        )
    check_env_file(folder)
    variables = {catalogue.PROVIDERS[name].key_vars[0]: catalogue.PROVIDERS[name].key_vars for name in ASKED}
    keys = {
        variable: ask_for_key(variable)
        for variable, same in variables.items()
        if not settings.strongest_variable(same)[0]
    }
    print(f"{write_keys(folder, keys)} is written; only you can read it, and git ignores it.", file=sys.stderr)


def check_env_file(folder: Path) -> None:
    if is_tracked(folder, ".env"):
        raise UsageError(
            f"{folder / '.env'} is committed, so keys must not be written to it.",
            hint="Run `git rm --cached .env` first.",
        )


def ask_for_key(variable: str, purpose: str = "") -> str:
    key = getpass.getpass(f"{variable}{purpose} (Enter for none): ").strip()
    if not re.fullmatch(r"[!-~]*", key) or re.search("[\"'`\\\\#$]", key):
        raise UsageError(f"{variable}: the value has characters that no key has; nothing was written.")
    return key


def write_keys(folder: Path, keys: dict[str, str]) -> Path:
    """Write the keys that are not empty into the .env, made from the example, and return its path."""
    path = folder / ".env"
    hide_from_git(folder)
    example = next((file for file in (path, SCRIPT / ".env.example") if file.is_file()), None)
    text = example.read_text("utf-8") if example else "".join(f"# {variable}=\n" for variable in keys)
    existing = read_dotenv(path) if path.exists() else {}
    new = {name: key for name, key in keys.items() if key and name not in existing}
    replace_file(path.resolve(), fill_in_keys(text, new).encode(), private=True)
    return path


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
