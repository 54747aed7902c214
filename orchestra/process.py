"""The one place that starts children: in a session of their own, without our stdin, ended as a group when we end."""

import asyncio
import codecs
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from orchestra.providers.redact import redactable_length

CHILD = Path(__file__).parent / "child"
GRACE = 3.0
TAIL = 64 * 1024
DROPPED = re.compile(r"GIT_|AIDER_|ORCHESTRA_|LITELLM_|DEFAULT_")
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)


@dataclass(frozen=True)
class CommandResult:
    """How a command ended. `timed_out` means that we ended it."""

    code: int
    seconds: float
    timed_out: bool = False


@dataclass(frozen=True)
class Sandbox:
    """What keeps the repository's commands from the user's things, the same for all of a run. `mode` is namespaces,
    landlock, or none. Paths are real ones."""

    mode: str
    checkout: Path
    common: Path  # the repository's git directory
    home: Path
    secrets: tuple[str, ...] = ()  # in the home
    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # folders, and what must not be seen of them
    covered: tuple[str, ...] = ()  # folders of which nothing must be seen
    shared: tuple[str, ...] = ()  # what of the checkout is used as it is: installed packages
    git_config: str = ""
    net: bool = True
    hidden: tuple[str, ...] = ()  # files of the checkout; in namespaces nothing of it is seen anyway

    def guard_argument(self, tree: Path) -> str:
        """For guard.py, about a command in this worktree."""
        if self.mode == "none":
            return NO_SANDBOX
        scratch = os.path.realpath(tree.parent)
        # Landlock hides no folder of sockets, and a hidden one in /tmp would close /tmp to new files.
        hidden = [*self.hidden, *(str(self.home / name) for name in self.secrets), str(self.common / "config")]
        hidden += [f"{folder}/{name}" for folder, names in self.without.items() for name in names]
        return json.dumps(
            {
                **{"mode": self.mode, "net": self.net, "checkout": str(self.checkout), "common": str(self.common)},
                **{"home": str(self.home), "secrets": self.secrets, "without": self.without, "covered": self.covered},
                **{"shared": self.shared, "git_config": self.git_config, "hidden": hidden},
                **{"tree": os.path.realpath(tree), "scratch": scratch, "writable": [scratch]},
            }
        )


NO_SANDBOX = "-"


@contextmanager
def wait_without_threads() -> Iterator[None]:
    """Children are waited for as later Pythons do it by themselves where they can: else each has a thread for that, and
    we start many."""
    if sys.version_info >= (3, 12) or not can_wait_by_descriptor():
        yield
        return
    before, watcher = asyncio.get_child_watcher(), asyncio.PidfdChildWatcher()
    watcher.attach_loop(asyncio.get_running_loop())
    asyncio.set_child_watcher(watcher)
    try:
        yield
    finally:
        asyncio.set_child_watcher(before)


def can_wait_by_descriptor() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):  # no Linux, an old one, or a sandbox that forbids it
        return False
    return True


def base_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for any child: nothing that steers git or Aider from outside, nothing that could hold a key."""
    return {name: value for name, value in environ.items() if not (DROPPED.match(name) or SECRET.search(name))}


def guard_command(command: Sequence[str], sandbox: str = NO_SANDBOX) -> list[str]:
    return [sys.executable, "-I", "-S", str(CHILD / "guard.py"), str(GRACE), sandbox, *command]


async def run_command(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    output: Path,
    timeout: float | None = None,
    scrub: Callable[[str], str] | None = None,
    sandbox: str = NO_SANDBOX,
) -> CommandResult:
    """Run a command to its end or its deadline. What it prints is in `output`, whole up to a few megabytes.

    With `scrub` all of it goes through that on its way, so that no secret ever stands in the file.
    """
    started = time.monotonic()
    with output.open("ab", buffering=0) as sink:
        child = await asyncio.create_subprocess_exec(
            *guard_command(command, sandbox),
            cwd=cwd,
            env=dict(env),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE if scrub else sink,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        copying = asyncio.ensure_future(copy_scrubbed(child.stdout, sink, scrub)) if scrub and child.stdout else None
        timed_out = False
        try:
            await asyncio.wait_for(asyncio.shield(child.wait()), timeout)
        except TimeoutError:
            timed_out = True
        finally:
            # Closing the pipe is the order to end; it is also what happens when we are killed.
            close_stdin(child)
            code = await asyncio.shield(child.wait())
            if copying:
                await asyncio.shield(copying)
    return CommandResult(code, time.monotonic() - started, timed_out)


async def copy_scrubbed(source: asyncio.StreamReader, sink: IO[bytes], scrub: Callable[[str], str]) -> None:
    """As it comes, but never half a line: a key may stand in its other half. A full disk must not stop the command."""
    decode, rest = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode, ""
    while True:
        piece = await source.read(1 << 16)
        rest += decode(piece, final=not piece)
        end = redactable_length(rest) if piece else len(rest)
        with suppress(OSError):
            sink.write(scrub(rest[:end]).encode("utf-8", "surrogateescape"))
        rest = rest[end:]
        if not piece:
            return


def close_stdin(child: asyncio.subprocess.Process) -> None:
    if child.stdin is not None:
        with suppress(OSError):
            child.stdin.close()


def read_tail(path: Path, limit: int = TAIL) -> str:
    """The end of an output file."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - limit))
        return file.read().decode("utf-8", "replace")
