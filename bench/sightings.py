"""Looks at /proc while a run goes on: which processes there were, from when to when, and what each has cost."""

import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import PROC, Command, busy_seconds, end, first_line, start

INTERVAL = 0.01
YOUNG = 0.3
TICKS = os.sysconf("SC_CLK_TCK")
PLACE = re.compile(r"/task(\d+)-(\d+)/tree")  # where an agent works
NOBODY = (0, 0)


@dataclass
class Sighting:
    """A process, in seconds since the start of the run. `reaped` is what its children cost that it has waited for."""

    pid: int
    parent: int
    first: float
    last: float = 0.0
    command: str = ""
    seat: tuple[int, int] = NOBODY  # an Aider's task and attempt
    own: float = 0.0
    reaped: float = 0.0
    growth: list[tuple[float, float]] = field(default_factory=list)  # when it was seen to have cost how much

    def own_at(self, moment: float) -> float:
        return max((cost for seen, cost in self.growth if seen <= moment), default=0.0)


@dataclass(frozen=True)
class Watched:
    """A run as it was seen. `looking` is what the looks have cost, `others` how many processors were busy elsewhere."""

    began: float  # on the clock of time.time
    wall: float
    cpu: float
    code: int
    looking: float
    others: float
    seen: Sequence[Sighting]  # the first is the program itself

    def children(self, process: Sighting) -> list[Sighting]:
        return [one for one in self.seen if one.parent == process.pid]

    def cost(self, process: Sighting) -> float:
        """With all below it. Whoever has ended counts as it was last seen, or more where somebody waited for it."""
        return process.own + max(process.reaped, sum(map(self.cost, self.children(process))))


def watch(command: Command, limit: float) -> Watched:
    busy, looked = busy_seconds(), time.thread_time()
    began, clock = time.time(), time.monotonic()
    child = start(command)
    alarm = threading.Timer(limit, end, [[child]])
    alarm.start()
    seen: dict[int, Sighting] = {}
    # A process that has ended can be looked at until it is waited for: so the last look knows all that it cost.
    while not os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        look(child.pid, seen, time.monotonic() - clock)
        time.sleep(INTERVAL)
    wall = time.monotonic() - clock
    look(child.pid, seen, wall)
    _, status, used = os.wait4(child.pid, 0)
    alarm.cancel()
    child.returncode = os.waitstatus_to_exitcode(status)
    cpu, looking = used.ru_utime + used.ru_stime, time.thread_time() - looked
    others = max(busy_seconds() - busy - cpu, 0.0) / wall
    return Watched(began, wall, cpu, child.returncode, looking, others, tuple(seen.values()))


def look(root: int, seen: dict[int, Sighting], now: float) -> None:
    for pid, parent in tree(root):
        stat = first_line(pid, "stat").rpartition(")")[2].split()
        if not stat:
            continue
        process = seen.setdefault(pid, Sighting(pid, parent, now))
        process.last = now
        user, system, users, systems = (int(ticks) / TICKS for ticks in stat[11:15])
        if user + system > process.own or not process.growth:
            process.growth.append((now, user + system))
        process.own, process.reaped = user + system, users + systems
        if now - process.first < YOUNG or (process.seat == NOBODY and "--serve" in process.command):
            name_it(process)


def name_it(process: Sighting) -> None:
    """Between fork and exec a process has its parent's command, and an Aider its server's folder."""
    process.command = first_line(process.pid, "cmdline").replace("\0", " ") or process.command
    with suppress(OSError):
        if place := PLACE.search(str(Path(PROC, str(process.pid), "cwd").readlink())):
            process.seat = int(place[1]), int(place[2])


def tree(pid: int, parent: int = 0) -> Iterator[tuple[int, int]]:
    """The process and all below it, each with its parent."""
    yield pid, parent
    with suppress(OSError):
        for thread in os.listdir(f"{PROC}/{pid}/task"):
            for child in first_line(pid, f"task/{thread}/children").split():
                yield from tree(int(child), pid)
