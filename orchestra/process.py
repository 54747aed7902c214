"""Start children: each in a session of its own, without our stdin, ended as a group when we end.

Also: replace a file as a whole, and detach from a closed terminal."""

import asyncio
import codecs
import errno
import json
import os
import re
import stat
import sys
import termios
import threading
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
    """How a command ended. `timed_out`: we ended it."""

    code: int
    seconds: float
    timed_out: bool = False


@dataclass(frozen=True)
class Sandbox:
    """What isolates the repository's commands, the same for all of a run.

    `mode`: namespaces, landlock, or none. Paths are real ones.
    """

    mode: str
    checkout: Path
    common: Path  # the repository's git directory
    home: Path
    secrets: tuple[str, ...] = ()  # in the home folder
    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # folders, and what is hidden in them
    covered: tuple[str, ...] = ()  # folders of which everything is hidden
    shared: tuple[str, ...] = ()  # installed packages of the checkout, used in place
    git_config: str = ""
    net: bool = True
    hidden: tuple[str, ...] = ()  # files of the checkout, for landlock; namespaces hide all of it

    def guard_argument(self, tree: Path) -> str:
        """Return guard.py's argument for a command in this worktree."""
        return NO_SANDBOX if self.mode == "none" else json.dumps(self.specification(tree))

    def for_agent(self, port: int, tree: Path, seen_as: str) -> str:
        """Return guard.py's argument for an agent: it writes in its own folder only, and connects to this port only,
        as far as the system can hold it to that. `seen_as`: where it finds that folder; empty: where it is."""
        if self.mode == "none":
            return NO_SANDBOX
        return json.dumps(self.specification(tree) | {"net": True, "port": port, "seen_as": seen_as})

    def find_agent_folder(self) -> str:
        """Return the path under which every agent finds its own folder, so that a request of another run, machine or
        day is the same; empty if there can be none."""
        used = (self.checkout, self.common, self.home, Path(sys.prefix), Path(sys.base_prefix))
        for path in map(Path, SPARE_FOLDERS if self.mode == "namespaces" else ()):
            if path.is_dir() and not path.is_symlink() and not any(one.is_relative_to(path) for one in used):
                return str(path)
        return ""

    def specification(self, tree: Path) -> dict[str, object]:
        scratch = os.path.realpath(tree.parent)
        # Landlock cannot hide a folder of sockets, and a hidden one in /tmp would close /tmp to new files.
        hidden = [*self.hidden, *(str(self.home / name) for name in self.secrets), str(self.common / "config")]
        hidden += [f"{folder}/{name}" for folder, names in self.without.items() for name in names]
        return {
            **{"mode": self.mode, "net": self.net, "checkout": str(self.checkout), "common": str(self.common)},
            **{"home": str(self.home), "secrets": self.secrets, "without": self.without, "covered": self.covered},
            **{"shared": self.shared, "git_config": self.git_config, "hidden": hidden, "port": 0},
            "seen_as": "",
            **{"tree": os.path.realpath(tree), "scratch": scratch, "writable": [scratch]},
        }


NO_SANDBOX = "-"
SPARE_FOLDERS = ("/mnt", "/media", "/srv")  # that exist everywhere, and that programs do not need


@contextmanager
def wait_without_threads() -> Iterator[None]:
    """Wait for children by pidfd, as later Pythons do: otherwise each gets a thread, and we start many."""
    if sys.version_info >= (3, 12) or not can_wait_by_descriptor():
        yield
        return
    old_watcher, watcher = asyncio.get_child_watcher(), asyncio.PidfdChildWatcher()
    watcher.attach_loop(asyncio.get_running_loop())
    asyncio.set_child_watcher(watcher)
    try:
        yield
    finally:
        asyncio.set_child_watcher(old_watcher)


def can_wait_by_descriptor() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):  # not Linux, an old one, or a sandbox that forbids it
        return False
    return True


def base_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for any child: nothing that steers git or Aider, nothing that could hold a key."""
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
    """Run a command to its end or deadline. Its output goes to `output`, whole up to a few megabytes. With `scrub` all
    of it is filtered on its way, so that no secret ever reaches the file."""
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
            # Closing the pipe orders it to end, as our death does.
            close_stdin(child)
            code = await asyncio.shield(child.wait())
            if copying:
                await asyncio.shield(copying)
    return CommandResult(code, time.monotonic() - started, timed_out)


async def copy_scrubbed(source: asyncio.StreamReader, sink: IO[bytes], scrub: Callable[[str], str]) -> None:
    """Copy as it comes, but whole lines only: a key may end in the other half.

    A full disk must not stop the command.
    """
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


def replace_file(path: Path, content: bytes, *, private: bool = False) -> None:
    """Replace a file as a whole or not at all. A private one is never readable for others, not even for a moment."""
    # By its name `clean` finds the part of a killed run's file.
    part = path.with_name(f"{path.stem[:150]}_part{os.getpid()}-{threading.get_ident()}{path.suffix}")
    try:
        part.unlink(missing_ok=True)  # of a killed process whose number this one has got
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666), "wb") as file:
            file.write(content)
        part.replace(path)
    except OSError as error:
        if error.filename is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None  # the user knows no part
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def read_tail(path: Path, limit: int = TAIL) -> str:
    """Read the end of an output file. Raise OSError for what a command may have put there instead, such as a link."""
    with open_own_file(path, os.O_RDONLY) as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - limit))
        return file.read().decode("utf-8", "replace")


def open_own_file(path: Path, flags: int) -> IO[bytes]:
    """Open a file that we made where a command can write. Raise OSError if it is not a regular file any more: a link
    leads out of the sandbox, and a pipe would block."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return os.fdopen(descriptor, "rb" if flags == os.O_RDONLY else "ab")


def is_terminal_closed(descriptor: int) -> bool:
    """Whether this was a terminal whose other end is closed."""
    try:
        termios.tcgetattr(descriptor)
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)
    except OSError:
        return False
    return False


def detach_closed_terminal() -> bool:
    """Redirect output to nowhere if the terminal is closed: printing to it fails. Return whether it is."""
    gone = [descriptor for descriptor in (0, 1, 2) if is_terminal_closed(descriptor)]
    for descriptor in gone:
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    return bool(gone)
