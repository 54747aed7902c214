"""Where the time of one whole run of this program goes, from the start of the process to its exit, with a picture.

python -m bench.waterfall [--agents 4] [--latency 0.5] [--patience 10] [--out waterfall.svg] [-- MORE FLAGS]

The same command is started twice: first with Python's -X importtime, up to its first event, then for the run that is
shown. That one is left alone but for a look at /proc every hundredth of a second, and git's own trace.
"""

import argparse
import json
import math
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median

from bench.measure import Command, Cost, cost, end, settle, start
from bench.modes import CHANGE, LIMIT, MODULES, PRD, Bench, Failed, Model, check, files_of, make_origin
from bench.picture import Bar, Row, picture
from bench.program import MODEL, command
from bench.sightings import watch
from bench.story import MODELS, PREPARED, WAITING, Imports, Phase, Story, agent_phases, phases, processor_seconds
from orchestra.journal import jsonl
from tests.support.modelserver import ModelServer

GATE = f"{shlex.quote(sys.executable)} -m compileall -q ."
OURS = {"orchestra": "this program", "aider_orchestrator": "this program", "sqlalchemy": "SQLAlchemy"}
IMPORTED = re.compile(r"import time: +(\d+) \| +\d+ \| +(\S+)")
REPORTS = (".html", ".md", ".xml")
MOST_ROWS = 12
LINE = "{:<38} {:>6} {:>6}"
# What is not this program's own work.
KIND_OF = defaultdict(
    lambda: "ours",
    {
        WAITING: "waits",
        PREPARED: "waits",
        MODELS: "model",
        "until it asks": "aider",
        "the model": "model",
        "edits": "aider",
    },
)


# --- the two runs ---------------------------------------------------------------------------------------------------


def run_command(bench: Bench, asked: argparse.Namespace, name: str, python: Sequence[str] = ()) -> Command:
    """The same for both, in a clone of its own."""
    prd = bench.folder / "prd.md"
    prd.write_text(PRD, encoding="utf-8")
    files = files_of(asked.agents)
    work = ["--change", CHANGE, "--prd", str(prd), "--agents", str(asked.agents), "--files", *files]
    interpreter, *words = command(*work, "--model", MODEL, "--test-cmd", GATE, "--events", "-", *asked.more)
    return Command([interpreter, *python, *words], bench.clone(name), bench.env(), bench.output(name))


def imports(bench: Bench, asked: argparse.Namespace) -> Imports:
    pause = Command([sys.executable, "-c", "pass"], bench.folder, bench.env(), bench.output("boot"))
    boots = [cost([pause], LIMIT, lambda process, everything: False) for _ in range(5)]
    booting = [sys.executable, "-X", "importtime", "-c", "pass"]
    booted = subprocess.run(booting, env=bench.env(), capture_output=True, text=True, check=True)
    at_boot = {name for _, name in IMPORTED.findall(booted.stderr)}
    one = run_command(bench, asked, "imports", ("-X", "importtime"))
    settle(asked.patience)
    return Imports(median(boot.wall for boot in boots), summed(until_first_event(one), at_boot))


def until_first_event(one: Command) -> str:
    """What it prints up to there. Then it is told to stop: next to nothing is imported later."""
    child, until = start(one), time.monotonic() + LIMIT
    try:
        while "\n{" not in (printed := one.output.read_text(encoding="utf-8", errors="replace")):
            if child.poll() is not None or time.monotonic() > until:
                raise Failed(f"no event came: {printed[-1500:]}")
            time.sleep(0.05)
    finally:
        end([child])
        child.wait()
    return printed.partition("\n{")[0]


def summed(printed: str, left_out: Collection[str]) -> dict[str, float]:
    """What importing took in seconds, by whose modules they are."""
    sums = dict.fromkeys(("this program", "SQLAlchemy", "Python's own", "others"), 0.0)
    for microseconds, module in IMPORTED.findall(printed):
        if module not in left_out:
            sums[group(module)] += int(microseconds) / 1e6
    return sums


def group(module: str) -> str:
    package = module.partition(".")[0]
    return OURS.get(package, "Python's own" if package in sys.stdlib_module_names else "others")


def run(bench: Bench, asked: argparse.Namespace, imported: Imports) -> Story:
    traces = bench.folder / "traces"
    traces.mkdir()
    settings = f'[trace2]\n\teventTarget = "{traces}"\n'
    (bench.folder / "home" / ".gitconfig").write_text(settings, encoding="utf-8")
    one = run_command(bench, asked, "ours")
    settle(asked.patience)
    watched = watch(one, LIMIT)
    check(one.cwd, files_of(asked.agents), Cost(watched.wall, watched.cpu, 0, (), 0, (watched.code,)), one.output)
    logs = one.cwd / ".aider_logs"
    (stamp,) = jsonl.list_run_stamps(logs)
    reported = max(path.stat().st_mtime for path in logs.glob(f"*_{stamp}.*") if path.suffix in REPORTS)
    told = one.output.stat().st_mtime
    git = sorted(git_commands(traces, watched.began), key=lambda phase: phase.start)
    return Story(
        watched, imported, jsonl.read_run_log(logs, stamp).events, git, reported - watched.began, told - watched.began
    )


def git_commands(traces: Path, began: float) -> Iterator[Phase]:
    """Those of this program: an Aider's are in its own row, and what a git starts is part of it."""
    for path in traces.iterdir():
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
        told = {line["event"]: line for line in lines}
        if "start" in told and "/" not in told["start"]["sid"]:
            start, end = (datetime.fromisoformat(line["time"]).timestamp() for line in (told["start"], lines[-1]))
            name = told.get("cmd_name", {}).get("name", "other")
            yield Phase(name, start - told["start"]["t_abs"] - began, end - began)


# --- in words and as a picture --------------------------------------------------------------------------------------


def tables(story: Story, latency: float) -> str:
    clock = table("on the clock", {phase.name: phase.length for phase in phases(story)})
    processors = table("of the processors", processor_seconds(story))
    return "\n".join([*clock, "", *processors, "", *details(story, latency)])


def table(name: str, seconds: dict[str, float]) -> list[str]:
    total = sum(seconds.values())
    rows = [LINE.format(what, f"{spent:.2f}", f"{spent / total:.0%}") for what, spent in seconds.items()]
    return [LINE.format(name, "s", "share"), *rows, LINE.format("", f"{total:.2f}", "")]


def details(story: Story, latency: float) -> Iterator[str]:
    imported = story.imports
    yield f"Imports before the first event: {imported.total:.2f} s."
    yield "  " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in imported.by_group.items())
    yield "An agent, medians in s:"
    agents = zip(*(agent_phases(story, aider) for aider in story.aiders), strict=True)
    yield "  " + ", ".join(f"{same[0].name} {median(phase.length for phase in same):.2f}" for same in agents)
    extra = median(float(event.data["seconds"]) for event in story.requests) - latency
    yield f"  Of a reply {extra * 1000:.0f} ms are not the model's own time."
    yield f"git: {len(story.git)} commands, {sum(phase.length for phase in story.git):.2f} s."
    names = Counter(phase.name for phase in story.git)
    yield "  " + ", ".join(f"{name} {count}" for name, count in names.most_common())
    watched = story.watched
    yield f"Looking at this took {watched.looking:.2f} s more; others kept {watched.others:.1f} processors busy."


def drawn(story: Story) -> str:
    watched, agents = story.watched, len(story.aiders)
    git = [Bar(start, end, "git") for _, start, end in story.git]
    rows = [
        *(Row(name, [Bar(start, end, KIND_OF[name])], f"{end - start:.2f} s") for name, start, end in phases(story)),
        Row("git", git, f"{len(git)} commands"),
        server_row(story),
        *agent_rows(story),
        *gate_rows(story),
    ]
    title = f"One run with {agents} agent{'s' * (agents > 1)}: {watched.wall:.1f} s on the clock"
    return picture(rows, watched.wall, f"{title}, {watched.cpu:.1f} s of the processors")


def server_row(story: Story) -> Row:
    """It was ready when it had cost what it had when the agents began."""
    server = story.server
    ready = next(seen for seen, cost in server.growth if cost >= server.own_at(story.begun))
    bars = [Bar(server.first, ready, "imports"), Bar(ready, server.last, "waits")]
    return Row("fork server", bars, f"ready in {ready - server.first:.2f} s")


def agent_rows(story: Story) -> Iterator[Row]:
    """A row for each, or where they are many, several in one."""
    aiders = story.aiders
    size = math.ceil(len(aiders) / MOST_ROWS)
    for n in range(0, len(aiders), size):
        some = aiders[n : n + size]
        bars = [
            Bar(start, end, KIND_OF[name], lane, len(some))
            for lane, aider in enumerate(some)
            for name, start, end in agent_phases(story, aider)
        ]
        seconds = max(bar.end for bar in bars) - min(bar.start for bar in bars)
        first, last = some[0].seat[0], some[-1].seat[0]
        yield Row(f"agent {first}" if first == last else f"agents {first}-{last}", bars, f"{seconds:.2f} s")


def gate_rows(story: Story) -> Iterator[Row]:
    """Each from its start until it was judged, and in it the command with its guard."""
    begun: dict[str, float] = {}
    for event in story.events:
        if event.kind == "gate_started":
            begun[event.data["name"]] = story.at(event)
        if event.kind == "gate_ended" and (start := begun.pop(event.data["name"], 0.0)):
            end = story.at(event)
            own = (one for one in story.guards if event.data["command"] in one.command and start <= one.first <= end)
            bars = [Bar(start, end, "ours"), *(Bar(one.first, one.last, "gate") for one in own)]
            yield Row(f"gate: {event.data['name']}", bars, f"{end - start:.2f} s")


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.waterfall", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--agents", type=int, default=4, metavar="N", choices=range(1, MODULES + 1))
    parser.add_argument("--latency", type=float, default=0.5, help="seconds the model takes for a reply")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds to wait for a quiet machine before each")
    parser.add_argument("--out", type=Path, default=Path("waterfall.svg"), help="where the picture is written")
    parser.add_argument("more", nargs="*", metavar="MORE FLAGS", help="for this program, after --")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    asked = arguments(argv)
    with tempfile.TemporaryDirectory(prefix="bench-waterfall-", ignore_cleanup_errors=True) as name:
        with ModelServer(Model(), latency=asked.latency) as server:
            bench = Bench(Path(name), server)
            make_origin(bench)
            story = run(bench, asked, imports(bench, asked))
    print(tables(story, asked.latency))
    asked.out.write_text(drawn(story), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
