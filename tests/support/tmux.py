"""A real terminal of a given size: the program runs in tmux, and the test reads its screen."""

import re
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.load import wait_until
from tests.support.runs import PROGRAM

ENDED = "ENDED WITH "


class Terminal:
    """One tmux server with one window. Its socket has a name of its own, so it disturbs no other."""

    def __init__(self, folder: Path, width: int, height: int) -> None:
        # The path of a socket may have some 100 characters only.
        self.socket = f"/tmp/tmux-{secrets.token_hex(4)}"
        self.folder, self.size = folder, (width, height)

    def tmux(self, *words: str) -> str:
        command = ["tmux", "-S", self.socket, "-f", "/dev/null", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def start(self, *words: str, env: Mapping[str, str], stdout: Path | None = None) -> None:
        """Run the program; when it has ended, a line tells its exit code."""
        command = shlex.join([sys.executable, str(PROGRAM), *words]) + (f" >{stdout}" if stdout else "")
        clean = shlex.join(["env", "-i", "TERM=tmux-256color", *(f"{name}={value}" for name, value in env.items())])
        script = f"{clean} {command}; code=$?; echo; echo {ENDED}$code; cat"
        width, height = map(str, self.size)
        self.tmux("new-session", "-d", "-x", width, "-y", height, "-c", str(self.folder), script)

    def screen(self) -> list[str]:
        return self.tmux("capture-pane", "-p").splitlines()

    def everything(self, *, joined: bool = False) -> list[str]:
        """Return the screen with all that has scrolled out of it. `joined`: lines as they were printed."""
        return self.tmux("capture-pane", "-p", *(["-J"] if joined else []), "-S", "-").splitlines()

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def wait_for(self, condition: Callable[[list[str]], bool] | str) -> list[str]:
        """Return the first screen that meets a condition, or has a text."""

        def meets() -> list[str] | None:
            screen = self.screen()
            fits = condition in "\n".join(screen) if isinstance(condition, str) else condition(screen)
            return screen if fits else None

        return wait_until(meets, f"{condition} on the screen")

    def wait_for_end(self) -> int:
        screen = self.wait_for(lambda screen: any(re.fullmatch(rf"{ENDED}\d+", line) for line in screen))
        return int(next(line for line in screen if line.startswith(ENDED)).removeprefix(ENDED))


@contextmanager
def open_terminal(folder: Path, width: int, height: int = 24) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    terminal = Terminal(folder, width, height)
    try:
        yield terminal
    finally:
        subprocess.run(["tmux", "-S", terminal.socket, "kill-server"], capture_output=True, check=False)
        Path(terminal.socket).unlink(missing_ok=True)


def terminal_environment(env: Mapping[str, str]) -> dict[str, str]:
    return {**env, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
