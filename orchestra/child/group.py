"""A process group that ends as one: TERM, then KILL, and nothing of it is left when its leader is reaped.

Standard library only: the programs in this folder also run under other interpreters than the orchestrator's.
"""

import os
import select
import signal
import sys
import time
from contextlib import suppress

CHILD_SUBREAPER = 36


def signal_group(leader: int, signum: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signum)


def wakeup_fd() -> int:
    """Return a descriptor that becomes readable when a child ends."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.signal(signal.SIGCHLD, lambda signum, frame: None)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read


def drain_wakeup(fd: int) -> None:
    with suppress(BlockingIOError):
        while os.read(fd, 512):
            pass


def has_leader_ended(leader: int) -> bool:
    """Whether the leader has ended. As a zombie it keeps its id, and its group's, from being reused."""
    return os.waitid(os.P_PID, leader, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def reap_group(leader: int) -> int:
    """Kill what is left of an ended leader's group, then reap it. Return the exit code, negative for a signal."""
    signal_group(leader, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(leader, 0)[1])


def terminate_group(leader: int, grace: float, wake: int) -> int:
    """Send TERM to the group, and KILL after the grace time; reap the leader."""
    signal_group(leader, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while not has_leader_ended(leader) and (left := deadline - time.monotonic()) > 0:
        select.select([wake], [], [], min(left, 0.1))
        drain_wakeup(wake)
    return reap_group(leader)


def adopt_orphans() -> None:
    """Become the parent of orphans below us, even in a session of their own (Linux), so that they can be found."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(CHILD_SUBREAPER, 1, 0, 0, 0)


def end_orphans(kept: set[int]) -> None:
    """Kill children that we did not start. Their children become ours in turn, until there are none."""
    deadline = time.monotonic() + 5.0
    while (orphans := list_children() - kept) and time.monotonic() < deadline:
        for pid in orphans:
            with suppress(ProcessLookupError, PermissionError, ChildProcessError):
                if os.getsid(pid) in kept:
                    kept = kept | {pid}  # it ends with its session
                    continue
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def list_children() -> set[int]:
    """Return our children; empty if the system cannot tell."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return set(map(int, file.read().split()))
    except OSError:
        return set()
