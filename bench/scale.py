"""A run of very many tasks: what each costs beyond the model's time, and what grows.

python -m bench.scale [--tasks 50 1000] [--agents 16] [--latency 0.2]

The tasks need one another not at all: each changes a file of its own. What is counted begins with the first question
to the model and ends with the run: the start, which every run pays once, is not shared out among more or fewer tasks.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import Command, Process, cost, memory, processes
from bench.program import MODEL, command, environment
from orchestra.plan.draft import Draft, PlanItem
from orchestra.plan.toml_file import format_draft
from tests.support.edits import appends
from tests.support.modelserver import ModelServer
from tests.support.runs import make_place

LIMIT = 1500.0
EVERY = 0.5
ROW = "{:>6} {:>9} {:>12} {:>12} {:>9} {:>11} {:>9} {:>8} {:>10}"
HEAD = ROW.format(
    *("tasks", "wall s", "ms per task", "beyond model", "cpu s", "cpu ms/task", "peak MiB", "most fds", "most threads")
)


@dataclass
class Grown:
    """The most that was seen of the orchestrator's own process."""

    peak: float = 0.0
    descriptors: int = 0
    threads: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        while not self.over.wait(EVERY):
            for process in processes().values():
                if is_ours(process):
                    self.count(process.pid)

    def count(self, pid: int) -> None:
        try:
            self.descriptors = max(self.descriptors, len(os.listdir(f"/proc/{pid}/fd")))
            self.threads = max(self.threads, len(os.listdir(f"/proc/{pid}/task")))
        except OSError:
            return
        self.peak = max(self.peak, memory(pid)[0])


def is_ours(process: Process) -> bool:
    words = process.command.split()
    return process.parent == os.getpid() and any(word.endswith("aider_orchestrator.py") for word in words[:2])


def path_of(number: int) -> str:
    return f"part{number // 50:02}/file{number:04}.py"


def measured(tasks: int, agents: int, latency: float) -> str:
    with tempfile.TemporaryDirectory(prefix="bench-scale-", ignore_cleanup_errors=True) as name:
        paths = [path_of(number) for number in range(tasks)]
        place = make_place(Path(name), {path: f"n = {number}\n" for number, path in enumerate(paths)})
        items = tuple(PlanItem(f"t{n}", f"Task {n}", "Add a line.", (path,)) for n, path in enumerate(paths))
        plan = Path(name, "plan.toml")
        plan.write_text(format_draft(Draft("Add a line to each file.", task=items), "plan"), encoding="utf-8")
        with ModelServer(appends("# done"), latency=latency) as server:
            words = command("execute", str(plan), "--no-detect", "--model", MODEL, "--agents", str(agents), "--quiet")
            env = environment(Path(name, "home"), server)
            grown = Grown()
            looking = threading.Thread(target=grown.look)
            looking.start()
            found = cost([Command(words, place.repo, env, Path(name, "out"))], LIMIT, lambda process, _: False)
            grown.over.set()
            looking.join()
            requests = server.count()
        said = Path(name, "out").read_text(encoding="utf-8")
        if found.codes != (0,) or requests != tasks:
            raise SystemExit(f"exit codes {found.codes}, {requests} requests:\n{said[-2000:]}")
        began, ended = span(place.repo / ".aider_logs")
    beyond = (ended - began) * 1000 / tasks - latency * 1000 / agents
    return ROW.format(
        *(tasks, f"{found.wall:.1f}", f"{(ended - began) * 1000 / tasks:.1f}", f"{beyond:.1f}", f"{found.cpu:.1f}"),
        *(f"{found.cpu * 1000 / tasks:.0f}", f"{grown.peak:.0f}", grown.descriptors, grown.threads),
    )


def span(logs: Path) -> tuple[float, float]:
    """From the first question to a model to the last event, in seconds."""
    events = [json.loads(line) for file in logs.glob("*.jsonl") for line in file.read_text("utf-8").splitlines()]
    asked = [event["time"] / 1000 - event["data"]["seconds"] for event in events if event["event"] == "request"]
    return min(asked), max(event["time"] for event in events) / 1000


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.scale", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=int, nargs="+", default=[50, 1000], metavar="N")
    parser.add_argument("--agents", type=int, default=16)
    parser.add_argument("--latency", type=float, default=0.2)
    asked = parser.parse_args(argv)
    print(HEAD, flush=True)
    for tasks in asked.tasks:
        print(measured(tasks, asked.agents, asked.latency), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
