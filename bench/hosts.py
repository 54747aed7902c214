"""What the head itself costs per order, and whether that grows: hosts that only sleep, from 100 to 10,000 orders.

python -m bench.hosts [--orders 100 1000 10000] [--agents 64] [--seconds 0.02]

Scheduler, attempts, verdicts, gateway with its tokens and its ledger, log files, store and state are the product's own.
Only the far ends are made up: the host sleeps, git answers yes to everything, and the model answers in this process.
There is no repository, no agent and no network. Each size has a process of its own, in which a small one is driven
again and again, so that noise is shared out. What is counted begins with the first task and ends when the store has the
last event. It exits with 1 if orders cost more the more there are.
"""

import argparse
import asyncio
import gc
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.measure import memory
from bench.sleeping import SleepingHost, opened_head, plan_of, settings_of
from orchestra.events import Event
from orchestra.model import Verdict

HEAD = ("orders", "CPU ms/order", "events/order", "events per CPU s", "kB/order", "peak MiB", "wall s")
ROW = "{:>10}{:>14}{:>14}{:>18}{:>10}{:>10}{:>8}"
TOLERANCE = 0.2
FIRST = 50  # orders that are not counted


@dataclass(frozen=True)
class Figures:
    """Of one size. `grown` is the memory that the orders have taken, and `peak` the most of the process, in MiB."""

    orders: int
    cpu: float
    wall: float
    events: int
    grown: float
    peak: float

    @property
    def each(self) -> float:
        return 1000 * self.cpu / self.orders

    @property
    def rate(self) -> float:
        """Events per second of the processor: how busy the machine is makes no difference."""
        return self.events / self.cpu

    @property
    def memory_each(self) -> float:
        return 1024 * self.grown / self.orders

    def row(self) -> str:
        return ROW.format(
            *(self.orders, f"{self.each:.2f}", f"{self.events / self.orders:.1f}", f"{self.rate:.0f}"),
            *(f"{self.memory_each:.0f}", f"{self.peak:.0f}", f"{self.wall:.1f}"),
        )


class Counter:
    """Counts the events, and what they take, from a moment on."""

    def __init__(self) -> None:
        self.grown = 0.0
        self.begin()

    def begin(self) -> None:
        self.events = 0
        self.cpu, self.began, self.before = time.process_time(), time.monotonic(), memory("self")[1]

    def hear(self, _: Event) -> None:
        self.events += 1

    def weigh(self) -> None:
        self.grown = memory("self")[1] - self.before

    def figures(self, orders: int) -> Figures:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        cpu, wall = time.process_time() - self.cpu, time.monotonic() - self.began
        return Figures(orders, cpu, wall, self.events, self.grown, peak)


async def drive(folder: Path, orders: int, agents: int, seconds: float) -> Figures:
    """All orders through the head, and what that has cost."""
    counter, host = Counter(), SleepingHost(seconds)
    plan, settings = plan_of(orders, agents), settings_of(agents)
    async with opened_head(folder, plan, host, settings, counter.hear) as (_, scheduler):
        counter.begin()
        await scheduler.work()
        counter.weigh()
    applied = sum(result.judgement.verdict is Verdict.APPLIED for result in scheduler.results.by_task.values())
    if applied != orders or host.at_work:
        raise SystemExit(f"{applied} of {orders} orders were carried out")
    return counter.figures(orders)


def inside(orders: int, agents: int, seconds: float, least: int) -> Figures:
    """After a few orders, for which all is imported and allocated that the first of them need."""
    found = []
    for count in (FIRST, *(orders,) * math.ceil(least / orders)):
        with tempfile.TemporaryDirectory(prefix="bench-hosts-") as name:
            found.append(asyncio.run(drive(Path(name), count, agents, seconds)))
        gc.collect()
    counted = found[1:]
    return replace(
        counted[0],
        cpu=statistics.mean(one.cpu for one in counted),
        wall=statistics.mean(one.wall for one in counted),
        events=round(statistics.mean(one.events for one in counted)),
    )


def measured(orders: int, agents: int, seconds: float, least: int) -> Figures:
    """In a process of its own, so that no size has the memory of another."""
    words = ("--inside", str(orders), "--agents", str(agents), "--seconds", str(seconds), "--least", str(least))
    done = subprocess.run([sys.executable, "-m", "bench.hosts", *words], stdout=subprocess.PIPE, check=True)
    return Figures(**json.loads(done.stdout))


def growing(found: Sequence[Figures]) -> list[str]:
    """What is worse than with the smallest size by more than a fifth."""
    first, problems = found[0], []
    for each in found[1:]:
        pairs = {
            "CPU per order": (each.each, first.each),
            "CPU per event": (1 / each.rate, 1 / first.rate),
            "memory per order": (each.memory_each, first.memory_each),
        }
        for name, (now, before) in pairs.items():
            if before > 0 and now > before * (1 + TOLERANCE):  # few orders may take no memory that can be seen
                problems.append(f"{name} is {now / before:.2f} times that of {first.orders} orders at {each.orders}")
    return problems


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.hosts", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--orders", type=int, nargs="+", default=[100, 1000, 10_000], metavar="N")
    parser.add_argument("--agents", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=0.02, help="for which the host sleeps over each order")
    parser.add_argument("--least", type=int, default=1000, help="orders of each size, in one drive or many")
    parser.add_argument("--inside", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args(argv)
    if asked.inside:
        print(json.dumps(asdict(inside(asked.inside, asked.agents, asked.seconds, asked.least))))
        return 0
    print(ROW.format(*HEAD), flush=True)
    found = []
    for orders in asked.orders:
        found.append(measured(orders, asked.agents, asked.seconds, asked.least))
        print(found[-1].row(), flush=True)
    problems = growing(found)
    print("\n".join(problems) or "Flat: nothing grows by more than a fifth.")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
