"""`demo`: the main job on a small sample repository: real Aider, git and pytest, and replies played from a tape."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from orchestra.cli.start import Story, run_until_done
from orchestra.errors import UsageError
from orchestra.settings import Settings

PACKAGE = Path(__file__).resolve().parents[2]
PROJECT = PACKAGE / "demo_project"
TAPE = PACKAGE / "demo_tape.jsonl"
AGENTS = 4
USAGE = """usage: aider-orchestrator demo [FOLDER]

Make a small sample repository (in FOLDER, or a temporary one) whose tests fail, and let four Aider agents finish it.
Aider, git and pytest are real; the models' replies are scripted: they are played from a tape, so no key is needed.
"""


def cmd_demo(argv: list[str], story: Story) -> int:
    if "--help" in argv or "-h" in argv:
        print(USAGE, end="")
        return 0
    if importlib.util.find_spec("pytest") is None:
        raise UsageError("The demo runs the sample's tests with pytest.", hint="Install it: pip install pytest")
    folder = Path(argv[0]).absolute() if argv else Path(tempfile.mkdtemp(prefix="lighthouse-"))
    make_sample(folder)
    print(f"A sample repository is in {folder}; its replies are scripted (played from a tape), all else is real.")
    print(f"Before: {run_sample_tests(folder)}", flush=True)
    os.chdir(folder)
    code = run_until_done(story(sample_settings().with_values(replay=str(TAPE))))
    print(
        f"\nAfter: {run_sample_tests(folder)}\n"
        f"Look at it: cd {folder} && git log --stat && {sys.executable} -m lighthouse"
    )
    return code


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
    return (done.stdout.strip().splitlines() or ["pytest said nothing"])[-1]
