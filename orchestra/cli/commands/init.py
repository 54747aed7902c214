"""`init`: set up a repository at the terminal. What is to be written is shown, and written only after a yes."""

import asyncio
import json
import os
import signal
import sys
from argparse import Namespace
from contextlib import suppress
from pathlib import Path

from orchestra.cli.command_io import print_plain, terminal_width
from orchestra.cli.commands.demo import cmd_demo
from orchestra.cli.commands.doctor import ask_for_key, check_env_file, write_keys
from orchestra.cli.launch import Story
from orchestra.cli.load import FILE, read_settings
from orchestra.cli.parser import CommandParser
from orchestra.cli.provide_aider import offer_aider_environment
from orchestra.conduct.core.locations import find_repository
from orchestra.errors import OrchestraError, UsageError, signal_exit_code
from orchestra.gates.detect import choose_gates, detect_gates, remaining_unusable
from orchestra.gates.inspection import inspect_repository
from orchestra.providers import catalogue
from orchestra.settings import Settings
from orchestra.wording import wrap_line
from orchestra.workspace.git import ask_git
from orchestra.workspace.repository import Repository

EXAMPLES = Path(__file__).parents[1] / "ci_files"  # links to examples, so that the wheel has them
CI_FILES = {
    "github": ("github-dispatch.yml", ".github/workflows/change.yml", "name the action's repository in place of OWNER"),
    "gitlab": ("gitlab-ci.yml", ".gitlab-ci.yml", "name this program's repository in place of OWNER"),
}
MOST_LINES = 12
CHECKED_HERE = ("keys", "models", "addresses", "repository")  # asked about below, or of no use yet


def add_init_arguments(parser: CommandParser) -> None:
    """There is nothing to say on the command line: all of it is asked."""


def cmd_init(arguments: Namespace, story: Story) -> int:
    """Set up this repository by questions at the terminal: check what a run needs, put keys into a .env that git
    ignores, choose model and tests, and offer a CI file and the demo. Nothing is written without your yes."""
    if os.environ.get("CI") or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("init asks questions, and there is no terminal.", hint="`doctor` checks without questions.")
    try:
        ask_all(read_settings({}), story)
    except KeyboardInterrupt:
        print_plain("\nStopped by Ctrl-C; nothing more is written.")
        return signal_exit_code(signal.SIGINT)
    return 0


def ask_all(settings: Settings, story: Story) -> None:
    repository = asyncio.run(find_repository(settings))
    offer_aider_environment(settings)
    healthy = asyncio.run(print_problems(settings, repository.root))
    model = choose_model(settings)
    has_google_key = offer_keys(settings, repository.root, model)
    offer_settings_file(settings, repository, model, has_google_key)
    offer_ci_file(repository.root)
    if healthy and confirm("See it work on a sample repository, without a key?"):
        cmd_demo(Namespace(folder=None, yes=False), story)
    files = "" if has_google_key else " --files PATH"
    print_plain(f'\nNext: aider-orchestrator "what to change"{files} --dry-run')


async def print_problems(settings: Settings, folder: Path) -> bool:
    """Print what would keep a run from working. Return whether there is nothing of that kind."""
    from orchestra.conduct.session.doctor import run_checkup

    print_plain("Checking git, Aider, Python, disk, memory ...")
    healthy = True
    async for finding in run_checkup(settings, folder, online=False):
        if finding.name not in CHECKED_HERE and finding.level != "ok":
            print_plain(f"  {finding.level}: {finding.text.rstrip('.')}. {finding.remedy}".rstrip())
            healthy = healthy and finding.level != "error"
    print_plain("A run can work here." if healthy else "A run cannot work here yet; `doctor` checks again.")
    return healthy


def choose_model(settings: Settings) -> catalogue.Model:
    """Ask for the agents' model, unless it is set already."""
    preset = settings.model_name
    if settings.model or settings.claude:
        print_plain(
            f"The agents' model is {preset} (from: {settings.source_of('model' if settings.model else 'claude')})."
        )
        with suppress(catalogue.UnknownProvider):
            return catalogue.resolve_model(preset)
        preset = catalogue.DEFAULT_MODEL
    print_plain("The agents' model: PROVIDER/NAME, a provider, or a short name. `models` lists them.")
    while True:
        answer = ask(f"Model (Enter: {preset}): ") or preset
        first = next((name for name in catalogue.RECOMMENDED if name.startswith(f"{answer}/")), answer)
        try:
            return catalogue.resolve_model(first)
        except catalogue.UnknownProvider as error:
            print_plain(f"{error}.")


def offer_keys(settings: Settings, folder: Path, model: catalogue.Model) -> bool:
    """Ask for missing keys and write them. Return whether there is a Google key then."""
    google = catalogue.PROVIDERS["gemini"]
    keys = {}
    for provider, purpose in {model.provider: "the agents", google: "the PRD"}.items():
        if provider.key_vars and not settings.strongest_variable(provider.key_vars)[0]:
            keys[provider.key_vars[0]] = ask_for_key(provider.key_vars[0], f" for {purpose}")
    keys = {name: key for name, key in keys.items() if key}
    written = dict[str, str]()
    if keys:
        try:
            check_env_file(folder)
            if confirm(f"Write {' and '.join(keys)} to {folder / '.env'}, which only you can read and git ignores?"):
                write_keys(folder, keys)
                written = keys
        except OrchestraError as error:
            print_plain(str(error))
    return bool(settings.strongest_variable(google.key_vars)[0]) or google.key_vars[0] in written


def offer_settings_file(settings: Settings, repository: Repository, model: catalogue.Model, use_prd: bool) -> None:
    """Show the checks of the repository, ask for the test command, and write what differs from the defaults."""
    files = asyncio.run(repository.entries())
    detected = detect_gates(inspect_repository(repository.root, files, os.environ))
    gates = choose_gates(settings, detected.gates)
    print_plain("Checks of each result:" if gates else "No tests, linters or type checkers were found that work here.")
    for gate in gates:
        print_plain(f"  {gate.name}: {gate.command}")
    for unusable in remaining_unusable(settings, detected.unusable):
        print_plain(f"  {unusable.note}")
    tests = ask(f"Test command (Enter: {'these' if gates else 'none'}): ")
    values: dict[str, object] = {"model": model.name} if model.name != settings.model_name else {}
    values |= {"test-cmd": tests} if tests else {}
    values |= {} if use_prd or not settings.use_prd else {"use-prd": False}
    if values:
        text = "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in values.items())
        offer_file(repository.root / FILE, text)


def offer_ci_file(root: Path) -> None:
    """Offer the example for the host of the repository's remote."""
    remotes = ask_git(root, "remote", "-v") or ""
    for host, (example, target, remark) in CI_FILES.items():
        if host in remotes:
            offer_file(root / target, (EXAMPLES / example).read_text("utf-8"), remark)


def offer_file(path: Path, text: str, remark: str = "") -> None:
    """Show a new file and write it after a yes. An existing file stays as it is."""
    if path.exists():
        print_plain(f"{path} exists and stays as it is. It could say:")
    lines = text.splitlines()
    for line in lines[:MOST_LINES]:
        print_plain(f"  {line}")
    if len(lines) > MOST_LINES:
        print_plain(f"  ... and {len(lines) - MOST_LINES} more lines")
    if not path.exists() and confirm(f"Write {'this' if len(lines) <= MOST_LINES else 'it'} to {path}?"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        print_plain(f"Written{f'; {remark}' if remark else ''}.")


def confirm(question: str) -> bool:
    return ask(f"{question} [y/N] ").lower() in ("y", "yes")


def ask(question: str) -> str:
    try:
        return input(f"{wrap_line(question.rstrip(), terminal_width(sys.stdout))} ").strip()
    except EOFError:
        print_plain("")
        return ""
