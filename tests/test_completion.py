"""Completion in the three shells, by the shells themselves."""

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from orchestra.cli.command_table import COMMANDS
from orchestra.cli.commands.completion import SHELLS, make_script
from tests.support.load import within

pytestmark = pytest.mark.thorough

BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_aider_orchestrator
printf '%s\\n' "${COMPREPLY[@]}"
"""
# The prompt of a shell that has loaded the script from the folder $1.
ZSH = "PS1='READY '; fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D; aider-orchestrator() {{ true; }}\n"


def complete_in_bash(script: Path, *words: str) -> set[str]:
    done = subprocess.run(["bash", "-c", BASH, "bash", script, *words], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def complete_in_fish(script: Path, *words: str) -> set[str]:
    command = f"source {script}; complete -C '{' '.join(words)}'"
    done = subprocess.run(["fish", "--no-config", "-c", command], capture_output=True, text=True, check=True)
    return {line.split("\t")[0] for line in done.stdout.splitlines()}


def complete_in_zsh(script: Path, *words: str) -> set[str]:
    """Type the words into a shell, press Tab twice, and return all words that it then shows."""
    shell, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 50, 200, 0, 0))
    process = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    )
    os.close(terminal)
    try:
        os.write(shell, ZSH.format(folder=script.parent).encode())
        read_until(shell, "READY ")
        os.write(shell, f"{' '.join(words)}\t\t".encode())
        os.write(shell, b"\x01\x0bprint -r -- E''ND\r")  # to the line's begin, cut it, and print a word
        return set(re.findall(r"[\w-]+", read_until(shell, "END")))
    finally:
        process.kill()
        process.wait()
        os.close(shell)


def read_until(terminal: int, word: str) -> str:
    """Return what a terminal shows up to a word, without its control sequences."""
    text = ""
    while word not in text.replace(f"'{word}", ""):
        assert select.select([terminal], [], [], within())[0], text
        text += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x08", "", os.read(terminal, 65536).decode())
    return text


@pytest.fixture(scope="module", params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.fixture(scope="module")
def script(shell: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(shell) / "_aider-orchestrator"
    path.write_text(make_script(shell))
    return path


CASES = {
    ("",): {name for name in COMMANDS if " " not in name},
    ("plan", ""): {name.removeprefix("plan ") for name in COMMANDS if name.startswith("plan ")},
    ("re",): {"replan", "report", "resolve", "restart", "resume", "retry"},
    ("--max-a",): {"--max-agents"},
    ("plan", "a"): {"approve"},
    ("run", "--test-c"): {"--test-cmd"},
    ("completion", ""): set(SHELLS),
    ("resolve", "--aband"): {"--abandon"},
}


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_words_are_completed(shell: str, script: Path, words: tuple[str, ...]) -> None:
    match shell:
        case "bash":
            assert complete_in_bash(script, "aider-orchestrator", *words) == CASES[words]
        case "fish":
            assert complete_in_fish(script, "aider-orchestrator", *words) == CASES[words]
        case "zsh":
            assert complete_in_zsh(script, "aider-orchestrator", *words) >= CASES[words]
