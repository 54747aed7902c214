"""A plan of many tasks that need one another: how near the schedule comes to the best that its agents could do.

python -m bench.schedule [--tasks 30] [--levels 5] [--agents 6] [--latency 3] [--fail 0.2]

The bound is worked out from what each attempt really took: no schedule is shorter than the longest chain of tasks, one
needing the other, nor than all attempts divided by the agents. What the conductor adds to that is its own.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from bench.program import MODEL, command
from orchestra.plan.draft import Draft, PlanItem, critical_path, needs_by_id
from orchestra.plan.toml_file import format_draft
from tests.support.edits import appends
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.runs import make_place

GOOD = appends("# done")
NOTHING = Reply("Nothing needs to change.")


def graph(tasks: int, levels: int, seed: int) -> tuple[PlanItem, ...]:
    """Each task needs one or two of the level before."""
    chance = random.Random(seed)
    rows = [[n for n in range(tasks) if n % levels == level] for level in range(levels)]
    found = []
    for level, row in enumerate(rows):
        for n in row:
            above = chance.sample(rows[level - 1], chance.choice([1, 2])) if level else []
            wanted = tuple(f"t{one}" for one in sorted(above))
            found.append(PlanItem(f"t{n}", f"Task {n}", f"Do task {n}.", (f"part{n}.py",), needs=wanted))
    return tuple(found)


class Model:
    """Takes its time, fails some first attempts, and remembers whose needs it has seen done."""

    def __init__(self, items: tuple[PlanItem, ...], latency: float, fail: float, seed: int) -> None:
        self.needs = needs_by_id(items)
        self.latency = latency
        chance = random.Random(seed)
        self.failing = {item.id for item in items if chance.random() < fail}
        self.lock = threading.Lock()

    def __call__(self, request: Request) -> Reply:
        found = re.search(r"^Do task (\d+)\.", request.brief, re.MULTILINE)
        id = f"t{found[1]}" if found else ""
        with self.lock:
            fails = id in self.failing
            self.failing.discard(id)
        reply = NOTHING if fails else GOOD(request)
        return Reply(reply.text, latency=self.latency)


def measure(asked: argparse.Namespace, fail: float) -> tuple[float, float, int, int]:
    """Seconds from the first attempt to the last, the bound, attempts, and tasks that began before what they need."""
    items = graph(asked.tasks, asked.levels, asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        files = {f"part{n}.py": f"value = {n}\n" for n in range(asked.tasks)}
        place = make_place(Path(folder), files)
        plan = Path(folder) / "plan.toml"
        plan.write_text(format_draft(Draft("Do all tasks", task=items), "plan"), "utf-8")
        with ModelServer(Model(items, asked.latency, fail, asked.seed)) as server:
            words = command("execute", str(plan), "--model", MODEL, "--agents", str(asked.agents), "--no-detect")
            env = place.environment(server, ORCHESTRA_RETRIES="4", AIDER_BIN="")
            done = subprocess.run(words, cwd=place.repo, env=env, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        logs = list((place.repo / ".aider_logs").glob("*.jsonl"))
        events = [json.loads(line) for path in logs for line in path.read_text("utf-8").splitlines()]
    return schedule(items, events, asked.agents)


def schedule(
    items: tuple[PlanItem, ...], events: list[dict[str, object]], agents: int
) -> tuple[float, float, int, int]:
    """From the log alone."""
    spans: dict[int, list[list[float]]] = {}
    for event in sorted(events, key=lambda event: int(str(event["seq"]))):
        if event["event"] == "attempt_started":
            spans.setdefault(int(str(event["task"])), []).append([float(str(event["time"])) / 1000])
        elif event["event"] == "attempt_ended":
            spans[int(str(event["task"]))][-1].append(float(str(event["time"])) / 1000)
    seconds = {f"t{items[task - 1].id[1:]}": sum(b - a for a, b in found) for task, found in spans.items()}
    chain = sum(seconds[id] for id in critical_path(items, seconds))
    bound = max(chain, sum(seconds.values()) / agents)
    wall = max(found[-1][1] for found in spans.values()) - min(found[0][0] for found in spans.values())
    number = {item.id: n for n, item in enumerate(items, start=1)}
    early = sum(spans[number[item.id]][0][0] < spans[number[need]][-1][1] for item in items for need in item.needs)
    return wall, bound, sum(map(len, spans.values())), early


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--tasks", type=int, default=30)
    asked.add_argument("--levels", type=int, default=5)
    asked.add_argument("--agents", type=int, default=6)
    asked.add_argument("--latency", type=float, default=3.0)
    asked.add_argument("--fail", type=float, default=0.2)
    asked.add_argument("--seed", type=int, default=1)
    given = asked.parse_args()
    print(f"{given.tasks} tasks, {given.levels} levels, {given.agents} agents, {given.latency:g} s a reply")
    for name, fail in (("all succeed", 0.0), (f"{given.fail:.0%} fail once", given.fail)):
        wall, bound, attempts, early = measure(given, fail)
        print(f"{name:<16} {attempts:>3} attempts {wall:6.1f} s, bound {bound:6.1f} s, {wall / bound:.3f} times; "
              f"began before their needs: {early}")  # fmt: skip


if __name__ == "__main__":
    main()
