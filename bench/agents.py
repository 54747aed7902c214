"""The same work by this program, by plain `aider` in several ways, and by the nearest rival, taking turns.

python -m bench.agents [--agents 1 4 16 32] [--repeat 3] [--latency 0.5] [--bernstein PATH]
                       [--file FILE] [--markdown docs/benchmarks.md]

Claude Code and Codex are measured too, under this program and by themselves, if `make clis` has installed them.

One line is added to each of N files of a small repository. Medians and spreads, what was sent, how the aims were met,
and when it does not pay. `--file` keeps each round, so that a long measurement can be made in pieces: a later call
goes on with what stands there.
"""

import argparse
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from bench import clis
from bench.figures import Figures, Round, add, aims_table, markdown, read, terminal
from bench.measure import Cost, first_line, settle
from bench.modes import (
    ALL_IN_ONE,
    AT_ONCE,
    IN_TURN,
    OUR_FLAGS,
    OURS,
    RIVAL,
    Bench,
    Failed,
    Model,
    all_in_one,
    at_once,
    in_turn,
    make_origin,
    orchestrated,
    prepare_home,
    with_our_flags,
)
from bench.program import MODEL
from bench.rival import Bernstein
from orchestra.providers import catalogue
from tests.support.modelserver import ModelServer

BEGIN, END = "<!-- made by bench.agents -->", "<!-- until here -->"
Run = Callable[[Bench, int], Cost]


def modes(agents: int, asked: argparse.Namespace) -> dict[str, Run]:
    """The ways that say something for so many files."""
    chosen: dict[str, Run] = {OURS: orchestrated, AT_ONCE: at_once, OUR_FLAGS: with_our_flags}
    if 1 < agents <= asked.longest_turn:
        chosen[IN_TURN] = in_turn
    if agents > 1:
        chosen[ALL_IN_ONE] = all_in_one
    if clis.is_installed():
        for kind in clis.OURS:
            chosen |= {clis.OURS[kind]: clis.run_ours(kind), clis.PLAIN[kind]: clis.run_plain(kind)}
    if asked.bernstein:
        chosen[RIVAL] = Bernstein(asked.bernstein)
    return chosen


def measure(bench: Bench, model: Model, asked: argparse.Namespace, rounds: list[Round]) -> None:
    """The modes take turns, so that what else the machine does meets all. What would not fit into the time is left."""
    until = time.monotonic() + 60 * asked.minutes
    for _ in range(asked.repeat):
        for agents in asked.agents:
            ways = {mode: run for mode, run in modes(agents, asked).items() if not asked.only or mode in asked.only}
            last = {each.mode: each.wall for each in rounds if each.agents == agents}
            if time.monotonic() + sum(last.get(mode, 0.0) for mode in ways) > until:
                print(f"No time is left for another round with {agents} files.", flush=True)
                continue
            for mode, run in ways.items():
                settle(asked.patience)
                try:
                    one = measured(bench, model, agents, mode, run)
                except Failed as failure:
                    print(f"{agents} files, {mode}: not done, so it does not count. {failure}", flush=True)
                    continue
                rounds.append(one)
                if asked.file:
                    add(asked.file, one)
                print(terminal([Figures([one], asked.latency).cost_row(agents, mode)]), flush=True)


def measured(bench: Bench, model: Model, agents: int, mode: str, run: Run) -> Round:
    model.asked.clear()
    found: Cost = run(bench, agents)
    prices = {name: catalogue.resolve_model(full_name(name)) for name in {name for name, _ in model.asked}}
    return Round(
        agents,
        mode,
        found.wall,
        found.cpu,
        found.peak,
        max(found.own, default=0.0),
        found.others,
        len(model.asked),
        sum(usage.input for _, usage in model.asked),
        sum(usage.output for _, usage in model.asked),
        sum(
            catalogue.request_cost(prices[name], usage.input, 0, 0, usage.output) or 0.0 for name, usage in model.asked
        ),
    )


def full_name(name: str) -> str:
    return f"{'anthropic' if name.startswith('claude') else 'openai'}/{name}"


def machine() -> str:
    processor = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory = int(first_line("", "meminfo").split()[1]) / 1024**2
    return (
        f"{os.cpu_count()} processors ({processor[1] if processor else platform.machine()}), {memory:.0f} GiB, "
        f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}, "
        f"aider-chat {version('aider-chat')}, model {MODEL}"
    )


def told(figures: Figures) -> str:
    parts = [machine(), terminal(figures.costs()), terminal(figures.traffic()), terminal(aims_table(figures.aims()))]
    return "\n\n".join(["", *parts, "\n".join(figures.when_not())])


def write(path: Path, figures: Figures) -> None:
    """Into the place that is marked for it, so that no figure is copied by hand."""
    tables = [markdown(table) for table in (figures.costs(), figures.traffic(), aims_table(figures.aims()))]
    lines = "\n".join(f"- {line}" for line in figures.when_not())
    made = "\n\n".join([BEGIN, f"{machine()}.", *tables, "When it does not pay:", lines, END])
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    path.write_text(f"{before}{made}{rest.split(END)[1]}", encoding="utf-8")


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.agents", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--agents", type=int, nargs="*", default=[1, 4, 16, 32], metavar="N")
    parser.add_argument("--latency", type=float, default=0.5, help="seconds the model takes for a reply")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--longest-turn", type=int, default=4, metavar="N", help=f"{IN_TURN}: up to so many files")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds to wait for a quiet machine before each")
    parser.add_argument("--minutes", type=float, default=8.0, help="no round is begun that would not end by then")
    parser.add_argument("--bernstein", type=Path, metavar="PATH", help="the rival's command, to be measured as well")
    parser.add_argument("--only", nargs="+", metavar="MODE", help="no other ways than these, as the table calls them")
    parser.add_argument("--file", type=Path, help="where rounds are kept, one a line")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help=f"put the tables between {BEGIN!r} and {END!r}")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    asked = arguments(argv)
    model, rounds = Model(), read(asked.file) if asked.file else []
    with tempfile.TemporaryDirectory(prefix="bench-agents-", ignore_cleanup_errors=True) as name:
        with ModelServer(model, latency=asked.latency) as server:
            bench = Bench(Path(name), server)
            make_origin(bench)
            if asked.agents:
                prepare_home(bench)
            try:
                measure(bench, model, asked, rounds)
            finally:
                print(told(Figures(rounds, asked.latency)), flush=True)
    if asked.markdown:
        write(asked.markdown, Figures(rounds, asked.latency))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
