"""What an agent costs: N agents of this program against N plain `aider` processes, on one model server, taking turns.

python -m bench.agents [--agents 1 4 16 32] [--latency 0.5] [--repeat 3] [--minutes 8]
"""

import argparse
import importlib.util
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Command, Cost, Process, cost, settle
from bench.program import MODEL, command, environment
from tests.support.edits import appends
from tests.support.modelserver import ModelServer

MARK = "# Measured."
CHANGE = "Add a line at the end that says that this was measured."
AIDER = Path(sys.executable).parent / "aider"
MODULES = 32
LIMIT = 420.0
ROW = "{:>6}  {:<12} {:>8} {:>8} {:>10} {:>14} {:>12}"
HEAD = ROW.format("agents", "mode", "wall s", "cpu s", "peak MiB", "own MiB/agent", "others' load")
Measured = dict[tuple[int, str], list[Cost]]


class Failed(Exception):
    """An agent did not do its work: its cost would say nothing."""


@dataclass(frozen=True)
class Bench:
    """A folder for everything, and the server that all agents ask."""

    folder: Path
    server: ModelServer

    @property
    def origin(self) -> Path:
        return self.folder / "origin"

    def env(self) -> dict[str, str]:
        return environment(self.folder / "home", self.server)

    def clone(self, name: str) -> Path:
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run(["git", "clone", "--quiet", str(self.origin), str(place)], check=True)
        return place

    def output(self, name: str) -> Path:
        return self.folder / f"{name}.out"


# --- the work -------------------------------------------------------------------------------------------------------


def module(number: int) -> str:
    """About a hundred lines, so that there is something to read, to send and to map."""
    functions = [
        f'def step_{number}_{n}(value: int) -> int:\n    """Step {n} of part {number}."""\n    return value + {n}\n'
        for n in range(20)
    ]
    return "\n\n".join([f'"""Part {number} of the sample."""\n', *functions])


def file_of(number: int) -> str:
    return f"part{number:02}.py"


def make_origin(bench: Bench) -> None:
    bench.origin.mkdir(parents=True)
    for number in range(MODULES):
        (bench.origin / file_of(number)).write_text(module(number), encoding="utf-8")
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "Start"]):
        subprocess.run(["git", *words], cwd=bench.origin, env=bench.env(), check=True)


def prepare_home(bench: Bench) -> None:
    """A home where aider has been used before: its price table is there and fresh, and its first questions are asked.

    Without it each plain aider of an offline machine would wait for the network and be slower than it is.
    """
    caches = bench.folder / "home" / ".aider" / "caches"
    caches.mkdir(parents=True)
    shutil.copyfile(bundled_prices(), caches / "model_prices_and_context_window.json")
    once = cost([plain_aider(bench, 0)], LIMIT, nobody)
    check([bench.folder / "plain0"], [file_of(0)], once, bench.output("plain0"))


def bundled_prices() -> Path:
    litellm = importlib.util.find_spec("litellm")
    assert litellm is not None and litellm.origin is not None, "aider is not installed here"
    return Path(litellm.origin).parent / "model_prices_and_context_window_backup.json"


# --- the two modes --------------------------------------------------------------------------------------------------


def plain_aider(bench: Bench, number: int) -> Command:
    """As a user of the seed would start it, each in a clone of its own, so that they do not collide."""
    words = [str(AIDER), "--yes-always", "--no-check-update", "--message", CHANGE, "--model", MODEL, file_of(number)]
    name = f"plain{number}"
    env = bench.env() | {"AIDER_ANALYTICS_DISABLE": "true"}
    return Command(words, bench.clone(name), env, bench.output(name))


def plain(bench: Bench, agents: int) -> Cost:
    commands = [plain_aider(bench, number) for number in range(agents)]
    found = cost(commands, LIMIT, lambda process, everything: process.parent == os.getpid())
    for number, one in enumerate(commands):
        check([one.cwd], [file_of(number)], found, one.output)
    return found


def orchestrated(bench: Bench, agents: int) -> Cost:
    files = [file_of(number) for number in range(agents)]
    words = ["--change", CHANGE, "--no-prd", "--model", MODEL, "--agents", str(agents), "--files", *files]
    one = Command(command(*words), bench.clone("ours"), bench.env(), bench.output("ours"))
    found = cost([one], LIMIT, is_seated)
    check([one.cwd], files, found, one.output)
    return found


def is_seated(process: Process, everything: dict[int, Process]) -> bool:
    """A child of the fork server: a process like it, whose parent is it."""
    parent = everything.get(process.parent)
    return "--serve" in process.command and parent is not None and "--serve" in parent.command


def nobody(process: Process, everything: dict[int, Process]) -> bool:
    return False


def check(places: list[Path], files: list[str], found: Cost, output: Path) -> None:
    done = all((place / file).read_text(encoding="utf-8").endswith(f"{MARK}\n") for place in places for file in files)
    if any(found.codes) or not done:
        raise Failed(f"exit codes {found.codes}: {output.read_text(encoding='utf-8', errors='replace')[-1500:]}")


MODES: dict[str, Callable[[Bench, int], Cost]] = {"plain aider": plain, "this program": orchestrated}


# --- the comparison -------------------------------------------------------------------------------------------------


def measure(bench: Bench, asked: argparse.Namespace, measured: Measured) -> None:
    """The modes take turns, so that what else the machine does meets both. What would not fit into the time is left."""
    until = time.monotonic() + 60 * asked.minutes
    for _ in range(asked.repeat):
        for agents in asked.agents:
            before = [measured[agents, mode] for mode in MODES]
            if time.monotonic() + sum(costs[-1].wall for costs in before if costs) > until:
                print(f"No time is left for another round with {agents} agents.", flush=True)
                continue
            for mode, run in MODES.items():
                settle(asked.patience)
                measured[agents, mode].append(run(bench, agents))
                print(row(agents, mode, measured[agents, mode][-1:]), flush=True)


def row(agents: int, mode: str, costs: list[Cost]) -> str:
    wall, cpu, peak, own, others = medians(costs)
    return ROW.format(agents, mode, f"{wall:.1f}", f"{cpu:.1f}", f"{peak:.0f}", f"{own:.0f}", f"{others:.1f}")


def medians(costs: list[Cost]) -> tuple[float, float, float, float, float]:
    own = [max(found.own) for found in costs if found.own]
    return (
        statistics.median(found.wall for found in costs),
        statistics.median(found.cpu for found in costs),
        statistics.median(found.peak for found in costs),
        statistics.median(own) if own else math.nan,
        statistics.median(found.others for found in costs),
    )


def table(measured: Measured) -> str:
    lines = ["", "Medians, and how many times less this program takes:", HEAD + "  wall   cpu  peak  rounds"]
    for agents in dict.fromkeys(agents for agents, _ in measured):
        theirs, ours = (measured[agents, mode] for mode in MODES)
        if not (theirs and ours):
            continue
        ratios = [a / b for a, b in zip(medians(theirs)[:3], medians(ours)[:3], strict=True)]
        lines.append(row(agents, "plain aider", theirs))
        lines.append(
            row(agents, "this program", ours) + "".join(f" {ratio:>4.1f}x" for ratio in ratios) + f"  {len(ours):>5}"
        )
    return "\n".join(lines)


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.agents", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--agents", type=int, nargs="+", default=[1, 4, 16, 32], metavar="N")
    parser.add_argument("--latency", type=float, default=0.5, help="seconds the model takes for a reply")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--patience", type=float, default=10.0, help="seconds to wait for a quiet machine before each")
    parser.add_argument("--minutes", type=float, default=8.0, help="no round is begun that would not end by then")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    asked = arguments(argv)
    measured: Measured = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="bench-agents-", ignore_cleanup_errors=True) as name:
        with ModelServer(appends(MARK), latency=asked.latency) as server:
            bench = Bench(Path(name), server)
            make_origin(bench)
            prepare_home(bench)
            print(HEAD, flush=True)
            try:
                measure(bench, asked, measured)
            finally:
                print(table(measured), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
