"""What commands cost, run at once: seconds, processor seconds and memory of them and of everything they start."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROC = "/proc"
MOST = 1 << 16
INTERVAL = 0.1
SHARE = 20  # looking costs time too: at most a twentieth of it
REST = 2.0
QUIET = 0.2  # processors that may be busy with something else
PRIVATE = ("Private_Clean", "Private_Dirty", "Private_Hugetlb")


@dataclass(frozen=True)
class Command:
    words: Sequence[str]
    cwd: Path
    env: dict[str, str]
    output: Path


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int

    @property
    def command(self) -> str:
        return first_line(self.pid, "cmdline").replace("\0", " ")


@dataclass(frozen=True)
class Cost:
    """In seconds and MiB: `peak` is the highest sum of proportional set sizes, `own` each agent's private memory.

    `others` says how many processors were busy with anything else meanwhile: on a busy machine `wall` says little.
    """

    wall: float
    cpu: float
    peak: float
    own: tuple[float, ...]
    others: float
    codes: tuple[int, ...]


@dataclass
class Watch:
    """Looks at the memory of process trees while they live. `is_agent` tells the agents among the processes."""

    roots: set[int]
    is_agent: Callable[[Process, dict[int, Process]], bool]
    peak: float = 0.0
    own: dict[int, float] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        while True:
            before = time.thread_time()
            self.once()
            if self.over.wait(max(INTERVAL, SHARE * (time.thread_time() - before))):
                return

    def once(self) -> None:
        everything, total = processes(), 0.0
        for process in descendants(everything, self.roots):
            shared, private = memory(process.pid)
            total += shared
            if self.is_agent(process, everything):
                self.own[process.pid] = max(private, self.own.get(process.pid, 0.0))
        self.peak = max(self.peak, total)


def cost(commands: Sequence[Command], limit: float, is_agent: Callable[[Process, dict[int, Process]], bool]) -> Cost:
    """Run them all at once. Processor time is what the kernel counts for them and all children that were waited for."""
    started, busy = time.monotonic(), busy_seconds()
    children = [start(command) for command in commands]
    watch = Watch({child.pid for child in children}, is_agent)
    watcher = threading.Thread(target=watch.look, daemon=True)
    alarm = threading.Timer(limit, end, [children])
    watcher.start()
    alarm.start()
    cpu, codes = 0.0, []
    for child in children:
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        codes.append(child.returncode)
        cpu += used.ru_utime + used.ru_stime
    wall, others = time.monotonic() - started, busy_seconds() - busy - cpu
    alarm.cancel()
    watch.over.set()
    watcher.join()
    return Cost(wall, cpu, watch.peak, tuple(watch.own.values()), max(others, 0.0) / wall, tuple(codes))


def settle(patience: float) -> None:
    """Wait until the machine has been at rest for two seconds, but not for ever."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        busy = busy_seconds()
        time.sleep(REST)
        if busy_seconds() - busy < REST * QUIET:
            return


def start(command: Command) -> subprocess.Popen[bytes]:
    with command.output.open("wb") as output:
        return subprocess.Popen(
            command.words,
            cwd=command.cwd,
            env=command.env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def end(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for child in children:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)


# --- /proc ----------------------------------------------------------------------------------------------------------


def busy_seconds() -> float:
    """What all processors together have worked, without this process."""
    user, nice, system, _idle, _wait, *interrupts = map(int, first_line("", "stat").split()[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK") - time.process_time()


def processes() -> dict[int, Process]:
    found = {}
    for name in os.listdir(PROC):
        if name.isdigit() and (words := first_line(name, "stat").rpartition(")")[2].split()):
            found[int(name)] = Process(int(name), int(words[1]))
    return found


def first_line(pid: int | str, name: str) -> str:
    """Empty for a process that has just ended. Read at once: a file object would take five times as long."""
    try:
        file = os.open(f"{PROC}/{pid}/{name}", os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(file, MOST).partition(b"\n")[0].decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(file)


def descendants(everything: dict[int, Process], roots: set[int]) -> list[Process]:
    inside = set(roots)
    while more := {p.pid for p in everything.values() if p.parent in inside} - inside:
        inside |= more
    return [everything[pid] for pid in inside if pid in everything]


def memory(pid: int | str) -> tuple[float, float]:
    """Proportional and private memory in MiB; nothing for a process that has just ended."""
    try:
        lines = Path(PROC, str(pid), "smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
    except OSError:
        return 0.0, 0.0
    sizes = {name: int(size.split()[0]) / 1024 for name, _, size in (line.partition(":") for line in lines)}
    return sizes.get("Pss", 0.0), sum(sizes.get(name, 0.0) for name in PRIVATE)
