"""Sixteen agents before a provider that takes so many requests a second: this program, and plain aider beside it.

python -m bench.rate_limit [--agents 16] [--rate 4] [--latency 0.5] [--limit 100] [--ours]
"""

import argparse
import collections
import sys
import tempfile
import time
from pathlib import Path

from bench.measure import Command, cost
from bench.modes import CHANGE, MARK, Bench, file_of, make_origin, nobody, plain_aider, prepare_home
from bench.program import MODEL, command
from tests.support.edits import appends
from tests.support.modelserver import ModelServer, Reply, Request

ROW = "{:<14} {:>9} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8}"
HEAD = ROW.format("mode", "requests", "needed", "factor", "wall s", "ideal s", "factor", "done")


class Limited:
    """Takes `rate` requests in any second and refuses the rest at once, as providers do it."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.script = appends(MARK)
        self.reset()

    def reset(self) -> None:
        self.taken: collections.deque[float] = collections.deque()
        self.refused = 0
        self.served = 0
        self.first = self.last = 0.0
        self.open = False

    def __call__(self, request: Request) -> Reply:
        now = time.monotonic()
        while self.taken and self.taken[0] <= now - 1:
            self.taken.popleft()
        if len(self.taken) >= self.rate and not self.open:
            self.refused += 1
            return Reply("Rate limit reached, slow down", status=429, latency=0.0)
        self.taken.append(now)
        self.served += 1
        self.first, self.last = self.first or now, now
        return self.script(request)


def compare(bench: Bench, limited: Limited, asked: argparse.Namespace) -> None:
    """The ideal is what a client that knows the rate would need for the same requests, from the first to the last."""
    files = [file_of(number) for number in range(asked.agents)]
    words = ["--change", CHANGE, "--no-prd", "--model", MODEL, "--agents", str(asked.agents), "--files", *files]
    ours = Command(command(*words), bench.clone("ours"), bench.env(), bench.output("ours"))
    plain = [] if asked.ours else [plain_aider(bench, number) for number in range(asked.agents)]
    print(HEAD, flush=True)
    for name, commands in (("this program", [ours]), ("plain aider", plain)):
        if not commands:
            continue
        limited.reset()
        found = cost(commands, asked.limit, nobody)
        places = {one.cwd for one in commands}
        done = sum(
            any((place / file).read_text(encoding="utf-8").endswith(f"{MARK}\n") for place in places) for file in files
        )
        requests, wall = limited.served + limited.refused, limited.last - limited.first + asked.latency
        ideal = (limited.served - 1) / limited.rate + asked.latency
        factors = f"{requests / max(1, limited.served):.2f}", f"{wall / ideal:.2f}"
        row = (requests, limited.served, factors[0], f"{wall:.1f}", f"{ideal:.1f}", factors[1])
        print(ROW.format(name, *row, f"{done}/{asked.agents}"), f" whole {found.wall:.1f} s", flush=True)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.rate_limit", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, default=16, metavar="N")
    parser.add_argument("--rate", type=int, default=4, help="requests per second that the provider takes")
    parser.add_argument("--latency", type=float, default=0.5, help="seconds the model takes for a reply")
    parser.add_argument("--limit", type=float, default=100.0, help="seconds after which a side is stopped")
    parser.add_argument("--ours", action="store_true", help="without plain aider")
    asked = parser.parse_args(argv)
    limited = Limited(asked.rate)
    with tempfile.TemporaryDirectory(prefix="bench-rate-", ignore_cleanup_errors=True) as name:
        with ModelServer(limited, latency=asked.latency) as server:
            bench = Bench(Path(name), server)
            make_origin(bench)
            if not asked.ours:
                limited.open = True
                prepare_home(bench)
            compare(bench, limited, asked)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
