"""`demo`: a run on a small sample repository with real Aider, git and pytest, and recorded replies."""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

from orchestra.cli.command_io import print_plain, print_raw
from orchestra.cli.command_table import PROGRAM
from orchestra.cli.launch import Story, run_until_done
from orchestra.cli.parser import CommandParser
from orchestra.cli.provide_aider import provide_aider
from orchestra.errors import UsageError
from orchestra.settings import Settings

PACKAGE = Path(__file__).resolve().parents[2]
PROJECT = PACKAGE / "demo_project"
TAPE = PACKAGE / "demo_tape.jsonl"
AGENTS = 4


def add_demo_arguments(parser: CommandParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", nargs="?", help="an empty folder (default: a temporary one)")
    parser.add_argument("--yes", action="store_true", help="make an environment for Aider, if needed, without asking")


def cmd_demo(arguments: Namespace, story: Story) -> int:
    """Create a small sample repository whose tests fail, and let four Aider agents finish it. Aider, git and pytest are
    real; the model's replies are recorded, so no key is needed."""
    if importlib.util.find_spec("pytest") is None:
        raise UsageError("The demo runs the sample's tests with pytest.", hint="Install it: pip install pytest")
    settings = sample_settings().with_values(yes=arguments.yes)
    run_until_done(provide_aider(settings))
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="lighthouse-")).absolute()
    make_sample(folder)
    print_plain(
        f"A sample repository is in {folder}. The model's replies are recorded; Aider, git and the tests are real.\n"
        "Its tests run first …"
    )
    before = run_sample_tests(folder)
    print_plain(f"Before: {before}\nFour agents start now; Aider takes a moment to load.")
    os.chdir(folder)
    code = run_until_done(story(settings.with_values(replay=str(TAPE))))
    print_plain(f"\nBefore: {before}\nAfter: {run_sample_tests(folder)}\n")
    print_raw(f"This run in the browser: {shlex.join([*program_words(), 'serve', '--repo', str(folder), '--open'])}\n")
    print_plain("\nTry:")
    commands = (["cd", str(folder)], [sys.executable, "-m", "lighthouse"], [*program_words(), "report", "--open"])
    print_raw("".join(f"  {shlex.join(words)}\n" for words in commands))
    return code


def program_words() -> list[str]:
    """The words that run this program here, whether it is installed or not."""
    if shutil.which(PROGRAM):
        return [PROGRAM]
    script = Path(sys.executable).with_name(PROGRAM)  # of an environment that is not on PATH
    return [str(script)] if script.is_file() else [sys.executable, str(PACKAGE.parent / "aider_orchestrator.py")]


def sample_settings() -> Settings:
    command = f"{sys.executable} -m pytest -q -p no:cacheprovider"
    change = (PROJECT / "change.txt").read_text(encoding="utf-8").strip()
    return Settings(change=change, agents=AGENTS, test_cmd=command)


def make_sample(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty.")
    shutil.copytree(PROJECT / "before", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "gitignore").rename(folder / ".gitignore")
    author = ("-c", "user.name=Lighthouse Keeper", "-c", "user.email=keeper@lighthouse.example")
    for command in (
        ("init", "-q", "-b", "main"),
        ("add", "-A"),
        (*author, "commit", "-q", "-m", "A lighthouse for clear nights"),
    ):
        subprocess.run(["git", *command], cwd=folder, check=True, stdin=subprocess.DEVNULL)


def run_sample_tests(folder: Path) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    return (done.stdout.strip().splitlines() or ["pytest printed nothing"])[-1]
