"""The one place that starts children: in a session of their own, without our stdin, ended as a group when we end."""

import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CHILD = Path(__file__).parent / "child"
GRACE = 3.0
TAIL = 64 * 1024


@dataclass(frozen=True)
class Ended:
    """How a command ended. `timed_out` means that we ended it."""

    code: int
    seconds: float
    timed_out: bool = False


def base_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for any child: nothing that steers git or Aider from outside, nothing that could hold a key."""
    dropped = ("GIT_", "AIDER_", "ORCHESTRA_", "LITELLM_", "DEFAULT_")
    secret = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL")
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(dropped) and not any(word in name.upper() for word in secret)
    }


def guarded(command: Sequence[str]) -> list[str]:
    return [sys.executable, "-I", "-S", str(CHILD / "guard.py"), str(GRACE), *command]


async def run(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], output: Path, timeout: float | None = None
) -> Ended:
    """Run a command to its end or its deadline. What it prints is in `output`, whole up to a few megabytes."""
    started = time.monotonic()
    with output.open("ab") as sink:
        child = await asyncio.create_subprocess_exec(
            *guarded(command),
            cwd=cwd,
            env=dict(env),
            stdin=asyncio.subprocess.PIPE,
            stdout=sink,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    timed_out = False
    try:
        await asyncio.wait_for(asyncio.shield(child.wait()), timeout)
    except TimeoutError:
        timed_out = True
    finally:
        # Closing the pipe is the order to end; it is also what happens when we are killed.
        close_stdin(child)
        code = await asyncio.shield(child.wait())
    return Ended(code, time.monotonic() - started, timed_out)


def close_stdin(child: asyncio.subprocess.Process) -> None:
    if child.stdin is not None:
        with suppress(OSError):
            child.stdin.close()


def tail(path: Path, limit: int = TAIL) -> str:
    """The end of an output file."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - limit))
        return file.read().decode("utf-8", "replace")
