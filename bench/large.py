"""What one more agent costs in a large repository.

python -m bench.large [--files 5000] [--agents 1 9]

This program twice, with few and with more agents: the difference, divided by the further agents, is what each costs.
Beside it the whole cost of one plain `aider` with its default flags, for each further one of those costs as much again.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measure import Command, Cost, cost, settle
from bench.modes import AIDER, CHANGE, LIMIT, PRD, Bench, Failed, Model, bundled_prices, nobody
from bench.program import MODEL, command
from tests.support.modelserver import ModelServer

LATENCY = 0.5


def path_of(number: int) -> str:
    return f"part{number // 100:03}/file{number:05}.py"


def make_origin(bench: Bench, files: int) -> None:
    for number in range(files):
        path = bench.origin / path_of(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"def value_{number}(given: int) -> int:\n    return given + {number}\n" * 10, encoding="utf-8")
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "Start"]):
        subprocess.run(["git", *words], cwd=bench.origin, env=bench.env(), check=True)
    caches = bench.folder / "home" / ".aider" / "caches"
    caches.mkdir(parents=True)
    shutil.copyfile(bundled_prices(), caches / "model_prices_and_context_window.json")


def ours(bench: Bench, agents: int) -> Cost:
    prd = bench.folder / "prd.md"
    prd.write_text(PRD, encoding="utf-8")
    files = [path_of(number) for number in range(agents)]
    words = ["--change", CHANGE, "--prd", str(prd), "--model", MODEL, "--agents", str(agents), "--files", *files]
    return measured(bench, Command(command(*words), bench.clone("ours"), bench.env(), bench.output("ours")))


def plain(bench: Bench) -> Cost:
    words = [str(AIDER), "--yes-always", "--no-check-update", "--message", CHANGE, "--model", MODEL, path_of(0)]
    env = bench.env() | {"AIDER_ANALYTICS_DISABLE": "true"}
    return measured(bench, Command(words, bench.clone("plain"), env, bench.output("plain")))


def measured(bench: Bench, one: Command) -> Cost:
    settle(10.0)
    found = cost([one], LIMIT, nobody)
    if any(found.codes):
        raise Failed(one.output.read_text(encoding="utf-8", errors="replace")[-1500:])
    print(
        f"{one.output.stem:<6} {found.wall:7.1f} s on the clock {found.cpu:7.1f} s of CPU {found.peak:6.0f} MiB",
        flush=True,
    )
    return found


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.large", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=5_000)
    parser.add_argument("--agents", type=int, nargs=2, default=(1, 9), metavar="N")
    asked = parser.parse_args(argv)
    few, more = asked.agents
    with tempfile.TemporaryDirectory(prefix="bench-large-", ignore_cleanup_errors=True) as name:
        with ModelServer(Model(), latency=LATENCY) as server:
            bench = Bench(Path(name), server)
            make_origin(bench, asked.files)
            each = (ours(bench, more).cpu - ours(bench, few).cpu) / (more - few)
            one = plain(bench).cpu
    print(f"Each further agent: {each:.2f} s of CPU; each plain aider: {one:.1f} s, {one / each:.0f} times as much.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
