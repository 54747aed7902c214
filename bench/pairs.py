"""What this tree costs beside another checkout of the program, taking turns: processor seconds, median of ratios.

python -m bench.pairs OTHER [--repeat 7] [--agents 16]

The demo, N agents on N files, and the same with tests and a set-up command. Both trees run with this Python.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.modes import Bench, Model, file_of, make_origin
from tests.support.modelserver import ModelServer

HERE = Path(__file__).resolve().parent.parent
TESTS = "for n in 1 2 3; do python3 -c 'import json' || exit 1; done; echo 3 passed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--agents", type=int, default=16)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ModelServer(Model(), latency=0.5) as server:
        bench = Bench(Path(folder), server)
        make_origin(bench)
        ways: dict[str, Callable[[Path], float]] = {
            "demo": lambda tree: run_demo(bench, tree),
            f"N={asked.agents}": lambda tree: run_agents(bench, tree, asked.agents),
            f"N={asked.agents} with tests": lambda tree: run_agents(bench, tree, asked.agents, "--test-cmd", TESTS),
        }
        for name, way in ways.items():
            pairs = [(way(asked.other), way(HERE)) for _ in range(asked.repeat)]
            tell(name, pairs)


def run_demo(bench: Bench, tree: Path) -> float:
    return cpu([sys.executable, str(tree / "aider_orchestrator.py"), "demo"], bench.folder, bench.env())


def run_agents(bench: Bench, tree: Path, agents: int, *words: str) -> float:
    place = bench.clone("pair")
    command = [sys.executable, str(tree / "aider_orchestrator.py"), "--change", "Add a line", "--no-prd"]
    return cpu([*command, "--files", *map(file_of, range(agents)), "--agents", str(agents), *words], place, bench.env())


def cpu(command: Sequence[str], cwd: Path, env: dict[str, str]) -> float:
    """Of the program and all that it waits for, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=cwd, env=env | {"CI": "true"}, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{command[1]} ended with {done.returncode}:\n{done.stderr[-2000:]}{done.stdout[-2000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def tell(name: str, pairs: Sequence[tuple[float, float]]) -> None:
    ratio = statistics.median(new / old for old, new in pairs)
    old, new = (statistics.median(side) for side in zip(*pairs, strict=True))
    spread = ", ".join(f"{new / old:.2f}" for old, new in pairs)
    print(f"{name:<18} {old:6.2f} s  {new:6.2f} s  {ratio:5.2f}  ({spread})", flush=True)


if __name__ == "__main__":
    main()
