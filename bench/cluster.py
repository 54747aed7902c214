"""What an attempt on a node costs the head, in CPU, with real Aiders on nodes of the loopback address.

python -m bench.cluster [--tasks 8 40] [--nodes 2] [--slots 4] [--latency 0.5]

The CPU of the run's process and of its git processes; Ray's own and the nodes' are not in it. The cost of one attempt
is the difference of both sizes. It needs `make ray`.
"""

import argparse
import os
import tempfile
from pathlib import Path

from tests.support.edits import appends
from tests.support.modelserver import ModelServer
from tests.support.ray_nodes import Nodes, open_nodes
from tests.support.runs import make_place


def measure_run(nodes: Nodes, tasks: int, latency: float) -> float:
    """Return the CPU seconds of a run with so many tasks."""
    files = {f"m{number}.py": f"x = {number}\n" for number in range(tasks)}
    words = ("--change", "Add a line", "--no-prd", "--agents", str(tasks), "--files", *files, "--quiet")
    with tempfile.TemporaryDirectory() as folder, ModelServer(appends("# done"), latency) as server:
        place = make_place(Path(folder), files)
        running = nodes.begin(place, *words, "--model", "openai/gpt-6.1-sol", server=server)
        _, status, usage = os.wait4(running.child.pid, 0)
        running.child.returncode = os.waitstatus_to_exitcode(status)
        assert (running.child.returncode, server.count()) == (0, tasks), running.said(1)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs=2, default=[8, 40])
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--latency", type=float, default=0.5)
    arguments = parser.parse_args()
    few, many = arguments.tasks
    with open_nodes({f"node{number}": arguments.slots for number in range(arguments.nodes)}) as nodes:
        low, high = (measure_run(nodes, tasks, arguments.latency) for tasks in (few, many))
    print(
        f"{few} tasks: {low:.2f} s of CPU; {many} tasks: {high:.2f} s; {(high - low) / (many - few) * 1000:.0f} ms each"
    )


if __name__ == "__main__":
    main()
