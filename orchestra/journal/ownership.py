"""The ownership of a run: one owner, leased target files, and commands from other terminals."""

import contextlib
import os
import secrets
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from orchestra.errors import StoreError, UsageError
from orchestra.journal.store import Command, Owner, Store

OWNER_TTL = 15.0  # seconds without renewal until an owner counts as dead
RENEW_SECONDS = 3.0
POLL_SECONDS = 0.2
JOIN_SECONDS = 30.0


class RunOwned(UsageError):
    """Another process owns this run."""


class RunOwnership:
    """Renews itself and takes commands in a thread, so that the run never waits for the database."""

    def __init__(self, store: Store, repository: str, run: str = "") -> None:
        self.store = store
        self.repository = repository
        self.run = run
        self.owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.ending = threading.Event()
        self.thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Become the owner, replacing one that died on this machine."""
        if holder := acquire_run(self.store, self.repository, self.run, self.owner, OWNER_TTL):
            raise RunOwned(
                f"{describe_owner(holder)} is at work on run {self.run}.",
                hint=f"To stop it: aider-orchestrator cancel {self.run}",
            )
        # Late commands to the last owner are not for this one.
        self.store.take_commands(self.repository, self.run)

    def lease_files(self, paths: Iterable[str]) -> None:
        """Reserve files, or raise UsageError. Files of a run whose owner died on this machine are free."""
        paths = list(paths)
        taken = self.try_lease_files(paths)
        for run in set(taken.values()):
            holder = self.store.run_owner(self.repository, run)
            if holder and is_owner_dead(holder):
                self.store.release_files(self.repository, run)
        taken = self.try_lease_files(paths) if taken else {}
        if taken:
            path, run = min(taken.items())
            more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
            holder = self.store.run_owner(self.repository, run)
            by = f" ({describe_owner(holder)})" if holder else ""
            raise UsageError(f"run {run}{by} is at work on {path}{more}.", hint="Wait for it, or choose other files.")

    def try_lease_files(self, paths: Iterable[str]) -> dict[str, str]:
        return self.store.lease_files(self.repository, self.run, paths, int(OWNER_TTL * 1000))

    def start_renewing(self, on_command: Callable[[Command], object], on_lost: Callable[[], object]) -> None:
        """Call, in the thread, `on_command` for each command and `on_lost` when another process owns the run."""
        self.thread = threading.Thread(
            target=self.renew_until_closed, args=(on_command, on_lost), name="run hold", daemon=True
        )
        self.thread.start()

    def renew_until_closed(self, on_command: Callable[[Command], object], on_lost: Callable[[], object]) -> None:
        beat = 0.0
        while not self.ending.is_set():
            # After an error of the store the next round tries again.
            with contextlib.suppress(StoreError):
                if time.monotonic() >= beat:
                    if try_acquire_run(self.store, self.repository, self.run, self.owner, OWNER_TTL):
                        on_lost()
                        return
                    self.try_lease_files(())
                    beat = time.monotonic() + RENEW_SECONDS
                for command in self.store.take_commands(self.repository, self.run):
                    on_command(command)
            self.ending.wait(POLL_SECONDS)

    def close(self) -> None:
        self.ending.set()
        if self.thread:
            self.thread.join(JOIN_SECONDS)
        with contextlib.suppress(StoreError):
            holder = self.store.run_owner(self.repository, self.run)
            if holder and holder.owner == self.owner:
                self.store.release_files(self.repository, self.run)
                self.store.release_run(self.repository, self.run, self.owner)


def try_acquire_run(store: Store, repository: str, run: str, owner: str, seconds: float) -> Owner | None:
    return store.acquire_run(repository, run, owner, machine_identity(), os.getpid(), int(seconds * 1000))


def acquire_run(store: Store, repository: str, run: str, owner: str, seconds: float) -> Owner | None:
    """Become the owner, replacing one that died on this machine. Return the owner that prevents it, if one is alive."""
    holder = try_acquire_run(store, repository, run, owner, seconds)
    if holder and is_owner_dead(holder):
        store.release_run(repository, run, holder.owner)
        return try_acquire_run(store, repository, run, owner, seconds)
    return holder


def describe_owner(holder: Owner) -> str:
    return f"pid {holder.pid} on {holder.host.partition('/')[0]}"


def is_owner_dead(holder: Owner) -> bool:
    """Whether the owner is known to be dead, which is possible only on the same machine."""
    return holder.host == machine_identity() and not is_process_alive(holder.pid)


def is_process_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return stat.rpartition(")")[2].split()[0] != "Z"  # a zombie is dead
    return True


def machine_identity() -> str:
    """The host, its boot and its pid namespace, in which a pid is unique."""
    marks = ""
    with contextlib.suppress(OSError):
        marks += Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    with contextlib.suppress(OSError):
        marks += str(Path("/proc/self/ns/pid").readlink())
    return f"{socket.gethostname()}/{zlib.crc32(marks.encode()):08x}"
