"""A run's hold: it has one owner, its files are leased to it, and what other terminals ask of it is heard."""

import contextlib
import os
import secrets
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from orchestra.errors import StoreError, UsageError
from orchestra.journal.store import Command, Owner, Store

TTL = 15.0  # seconds; who has not renewed for so long is taken for dead
BEAT = 3.0
POLL = 0.2
PATIENCE = 30.0


class RunHeld(UsageError):
    """Another orchestrator is at work on this run."""


class FilesHeld(UsageError):
    """Another run is at work on these files."""


class Hold:
    """Renewed and listened to in a thread of its own, so that no database makes the run wait."""

    def __init__(self, store: Store, repository: str, run: str = "") -> None:
        self.store = store
        self.repository = repository
        self.run = run
        self.owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.ending = threading.Event()
        self.thread: threading.Thread | None = None

    def claim(self) -> None:
        """Become the owner, also in the place of one that has died on this machine."""
        holder = self.try_own()
        if holder and is_dead(holder):
            self.store.release(self.repository, self.run, holder.owner)
            holder = self.try_own()
        if holder:
            raise RunHeld(f"{who(holder)} is at work on run {self.run}.", hint=f"To stop it: cancel {self.run}.")
        # Whatever was asked of the last owner and came too late is not meant for this one.
        self.store.take(self.repository, self.run)

    def try_own(self) -> Owner | None:
        return self.store.own(self.repository, self.run, self.owner, machine(), os.getpid(), int(TTL * 1000))

    def lease(self, paths: Iterable[str]) -> None:
        """Reserve files, or say who has them. Files of a run whose orchestrator has died on this machine are free."""
        paths = list(paths)
        taken = self.try_lease(paths)
        for run in set(taken.values()):
            holder = self.store.owner(self.repository, run)
            if holder and is_dead(holder):
                self.store.unlease(self.repository, run)
        taken = self.try_lease(paths) if taken else {}
        if taken:
            path, run = min(taken.items())
            more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
            holder = self.store.owner(self.repository, run)
            by = f" ({who(holder)})" if holder else ""
            raise FilesHeld(f"run {run}{by} is at work on {path}{more}.", hint="Wait for it, or choose other files.")

    def try_lease(self, paths: Iterable[str]) -> dict[str, str]:
        return self.store.lease(self.repository, self.run, paths, int(TTL * 1000))

    def begin(self, heard: Callable[[Command], object], lost: Callable[[], object]) -> None:
        """`heard` is told what is asked, `lost` that the run belongs to another now. Both are called in the thread."""
        self.thread = threading.Thread(target=self.keep, args=(heard, lost), name="run hold", daemon=True)
        self.thread.start()

    def keep(self, heard: Callable[[Command], object], lost: Callable[[], object]) -> None:
        beat = 0.0
        while not self.ending.is_set():
            # What cannot be asked of the store now is asked again soon.
            with contextlib.suppress(StoreError):
                if time.monotonic() >= beat:
                    if self.try_own():
                        lost()
                        return
                    self.try_lease(())
                    beat = time.monotonic() + BEAT
                for command in self.store.take(self.repository, self.run):
                    heard(command)
            self.ending.wait(POLL)

    def close(self) -> None:
        self.ending.set()
        if self.thread:
            self.thread.join(PATIENCE)
        with contextlib.suppress(StoreError):
            holder = self.store.owner(self.repository, self.run)
            if holder and holder.owner == self.owner:
                self.store.unlease(self.repository, self.run)
                self.store.release(self.repository, self.run, self.owner)


def who(holder: Owner) -> str:
    return f"pid {holder.pid} on {holder.host.partition('/')[0]}"


def is_dead(holder: Owner) -> bool:
    """Only what ran on this very machine can be known to be dead."""
    return holder.host == machine() and not is_alive(holder.pid)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError):
        # A zombie is dead; only nobody has asked how it ended.
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] != "Z"
        )
    return True


def machine() -> str:
    """This machine, since it was booted, as seen from this container: a pid means something only there."""
    marks = "".join(pieces())
    return f"{socket.gethostname()}/{zlib.crc32(marks.encode()):08x}"


def pieces() -> Iterator[str]:
    with contextlib.suppress(OSError):
        yield Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    with contextlib.suppress(OSError):
        yield str(Path("/proc/self/ns/pid").readlink())
