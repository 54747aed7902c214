"""What an attempt on a node costs the head, and what crosses to the node and back.

python -m bench.cluster [--tasks 8 40] [--nodes 2] [--slots 4] [--latency 0.5]

CPU and events: real Aiders on nodes of the loopback address. The CPU of the run's process and of its git processes;
Ray's own and the nodes' are not in it. What one attempt costs is the difference of both sizes. It needs `make ray`.
`bench.hosts` gives the same figures for a host that only sleeps.

Bytes: one node in this process with a real Aider, and the pickled size of each message.
"""

import argparse
import asyncio
import os
import pickle
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestra.hosts.cluster import ClusterHost
from orchestra.hosts.remote_node import NodeLink
from tests.support.edits import appends
from tests.support.hosting import node
from tests.support.modelserver import ModelServer
from tests.support.ray_nodes import Nodes, open_nodes
from tests.support.runs import make_place

ATTEMPTS = 20
ROW = "{:>7}{:>9}{:>9}{:>13}"


@dataclass(frozen=True)
class Measured:
    """Of one run: CPU seconds, events, and bytes of its journal."""

    cpu: float
    events: int
    journal: int


@dataclass
class CountingLink:
    """The way to a node. `sizes`: bytes that have crossed, by the method that was called."""

    link: NodeLink
    sizes: Counter[str] = field(default_factory=Counter)

    async def call(self, method: str, *arguments: Any) -> Any:
        result = await self.link.call(method, *arguments)
        self.sizes[method] += len(pickle.dumps(arguments)) + len(pickle.dumps(result))
        return result

    async def end(self) -> None:
        await self.link.end()


async def measure_bytes(attempts: int) -> Counter[str]:
    """Return the bytes that cross for one attempt, by the method that was called."""
    with tempfile.TemporaryDirectory() as folder:
        async with node(Path(folder)) as site:
            assert isinstance(site.host, ClusterHost)
            site.head.admits.set()
            await site.host.run_attempt(site.order(), site.head)  # what comes once is not counted
            (worked,) = site.host.nodes.values()
            counting = CountingLink(worked.link)
            worked.link = counting
            for number in range(2, attempts + 2):
                await site.host.run_attempt(site.order(attempt=number), site.head)
            return Counter({method: size // attempts for method, size in counting.sizes.items()})


def measure_run(nodes: Nodes, tasks: int, latency: float) -> Measured:
    files = {f"m{number}.py": f"x = {number}\n" for number in range(tasks)}
    words = ("--change", "Add a line", "--no-prd", "--agents", str(tasks), "--files", *files, "--quiet")
    with tempfile.TemporaryDirectory() as folder, ModelServer(appends("# done"), latency) as server:
        place = make_place(Path(folder), files)
        running = nodes.begin(place, *words, "--model", "openai/gpt-6.1-sol", server=server)
        _, status, usage = os.wait4(running.child.pid, 0)
        running.child.returncode = os.waitstatus_to_exitcode(status)
        assert (running.child.returncode, server.count()) == (0, tasks), running.said(1)
        content = b"".join(path.read_bytes() for path in (place.repo / ".aider_logs").glob("*.jsonl"))
    return Measured(usage.ru_utime + usage.ru_stime, content.count(b"\n"), len(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs=2, default=[8, 40])
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--latency", type=float, default=0.5)
    arguments = parser.parse_args()
    sizes = asyncio.run(measure_bytes(ATTEMPTS))
    print(f"bytes per attempt: {sizes.total()} ({', '.join(f'{name} {size}' for name, size in sizes.most_common())})")
    few, many = arguments.tasks
    with open_nodes({f"node{number}": arguments.slots for number in range(arguments.nodes)}) as nodes:
        low, high = (measure_run(nodes, tasks, arguments.latency) for tasks in (few, many))
    print(ROW.format("tasks", "cpu s", "events", "journal kB"))
    for tasks, found in ((few, low), (many, high)):
        print(ROW.format(tasks, f"{found.cpu:.2f}", found.events, f"{found.journal / 1000:.1f}"))
    cpu, events, count = high.cpu - low.cpu, high.events - low.events, many - few
    print(
        f"each task: {cpu / count * 1000:.0f} ms of CPU, {events / count:.1f} events, "
        f"{(high.journal - low.journal) / count:.0f} bytes of journal; {events / cpu:.0f} events per CPU second"
    )


if __name__ == "__main__":
    main()
