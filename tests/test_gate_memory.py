"""What is remembered of a gate is what it would say now: of the same tree in the same surroundings, and of no other."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bench.sleeping import NoSeats
from orchestra.conduct.checks.gating import Gating, open_gating
from orchestra.conduct.session.open_run import open_run
from orchestra.conduct.session.preflight import Preflight
from orchestra.conduct.session.warmup import Warmup
from orchestra.gates.run import GateOutcome
from orchestra.hosts.base import GateOrder
from orchestra.settings import load_settings
from orchestra.workspace.repository import open_repository
from tests.support.runs import Place, make_place
from tests.support.sample import SOAK

CHECK = """[ "$(cat value)" != bad ] && [ "$MODE" != broken ] || exit 1
grep -q good data/deep/config && [ ! -e data/veto ] && judge
"""
CLOCK = """n=$(date +%N); [ "$MODE" != broken ] && [ "${n%??????}" != 000 ] && [ "${n#?}" != "$n" ]
"""
PYTHON_CLOCK = "import time\nassert int(time.time()) % 2 == 0, 'an odd second'\n"


@dataclass
class Bench:
    """A run that is open, and what a gate of it can see."""

    place: Place
    gating: Gating

    async def answer(self, commit: str, *, again: bool = False) -> GateOutcome:
        [outcome] = await self.gating.run_all(commit, self.gating.gates, (), "tree", again=again)
        return outcome

    async def run_now(self, commit: str) -> GateOutcome:
        """The verdict of a real run, without any memory."""
        context = self.gating.run.context
        order = GateOrder(context.stamp, commit, "now", tuple(self.gating.gates), timeout=60.0)
        order = replace(order, set_up=context.worktree_setup)
        [outcome] = await self.gating.run.services.host.run_gates(order, lambda gate: None)
        return outcome


@contextlib.asynccontextmanager
async def opened(place: Place, scratch: Path, **options: object) -> AsyncIterator[Gating]:
    settings = load_settings({"model": "openai/gpt-5.4", "detect": False, "change": "x", **options}, [])
    repository = await open_repository(place.repo)
    scratch.mkdir()
    warmup = Warmup(scratch, "", NoSeats(), False, None)
    async with open_run(Preflight(settings, repository, {}, None), warmup, screens=[]) as run:
        yield await open_gating(run)


def in_world(monkeypatch: pytest.MonkeyPatch, place: Place) -> Path:
    """A user with little on PATH; return the folder of tools."""
    tools = place.tmp / "tools"
    tools.mkdir()
    write_tool(tools, "exit 0")
    for name, value in {"HOME": str(place.home), "PATH": f"{tools}:/usr/bin:/bin", "MODE": "usual"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tools


def do_nothing() -> None:
    """Leave everything as it is."""


def write_tool(tools: Path, script: str) -> None:
    (tools / "judge").write_text(f"#!/bin/sh\n{script}\n")
    (tools / "judge").chmod(0o755)


@pytest.mark.thorough
def test_memory_says_what_a_run_would_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replayed commits, among them some whose check reads the clock, while variables, untracked files and programs
    change."""
    files = {"check.sh": CHECK, ".gitignore": "data/\n"}
    versions = [{**files, "value": value} for value in ("good", "fine", "bad", "other")]
    versions += [{**files, "value": "good", "check.sh": CLOCK}]
    versions += [{**files, "value": "good", "check.sh": "python3 clock.py\n", "clock.py": PYTHON_CLOCK}]
    place, rng = make_place(tmp_path, versions[0]), random.Random(7)
    tools = in_world(monkeypatch, place)
    (place.repo / "data/deep").mkdir(parents=True)
    config = place.repo / "data/deep/config"
    config.write_text("good")

    def make_all_good() -> None:
        monkeypatch.setenv("MODE", rng.choice(["usual", "odd"]))
        (place.repo / "data/veto").unlink(missing_ok=True)
        if config.read_text() != "good":
            config.write_text("good")
        if "exit 0" not in (tools / "judge").read_text():
            write_tool(tools, "exit 0")

    changes: dict[str, Callable[[], object]] = {
        "a variable": lambda: monkeypatch.setenv("MODE", rng.choice(["usual", "odd", "usual", "broken"])),
        "an untracked file": lambda: config.write_text(rng.choice(["good", "good", "evil"])),
        "a new untracked file": lambda: (place.repo / "data/veto").touch(),
        "a program": lambda: write_tool(tools, f"exit {rng.choice([0, 0, 1])}"),
    }

    async def replay() -> tuple[int, int, int]:
        # The last one is the base: if its own code reads the clock, nothing is remembered at all.
        commits = [commit_version(place, version) for version in reversed(versions)][::-1]
        remembered = passed = read_clock = 0
        options = {"test_cmd": "sh check.sh", "worktree_link": ("data",)}
        async with opened(place, tmp_path / "scratch", **options) as gating:
            bench = Bench(place, gating)
            for _ in range(200 if SOAK else 50):
                rng.choice([*changes.values(), make_all_good, make_all_good, *[do_nothing] * 8])()
                commit = rng.choice(commits)
                outcome = await bench.answer(commit)
                if commit in commits[4:]:
                    assert not outcome.remembered and "reads the clock" in outcome.why_run
                    read_clock += 1
                elif outcome.remembered:
                    now = await bench.run_now(commit)
                    assert (outcome.passed, outcome.failing) == (now.passed, now.failing)
                    remembered, passed = remembered + 1, passed + now.passed
        return remembered, passed, read_clock

    remembered, passed, read_clock = asyncio.run(replay())
    assert remembered > passed > 0 and read_clock > 5, (remembered, passed, read_clock)


def commit_version(place: Place, files: Mapping[str, str]) -> str:
    place.git("rm", "-q", "-r", "--cached", ".")
    place.write(files)
    place.git("add", "--", *files)
    place.git("commit", "-q", "--allow-empty", "-m", "Next")
    return place.head()
