"""What is remembered of a gate is what it would say now: of the same tree in the same surroundings, and of no other."""

import asyncio
import contextlib
import random
import re
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bench.sleeping import NoSeats
from orchestra.conduct.checks.flaky import find_flaky_tests, is_flaky
from orchestra.conduct.checks.gating import Gating, open_gating
from orchestra.conduct.session.open_run import open_run
from orchestra.conduct.session.preflight import Preflight
from orchestra.conduct.session.warmup import Warmup
from orchestra.errors import SettingsError
from orchestra.events import FlakyTest, FlakyTests
from orchestra.gates.impurity import CLOCK, CODE, PATHSPECS
from orchestra.gates.run import GateOutcome
from orchestra.hosts.base import GateOrder
from orchestra.journal import jsonl
from orchestra.journal.store import GateRun
from orchestra.report import closing
from orchestra.report.fold import fold_events
from orchestra.report.summary import build_summary
from orchestra.settings import SettingsFile, load_settings
from orchestra.settings.load import with_gate_entries
from orchestra.workspace.code_search import find_matching_change, find_matching_file
from orchestra.workspace.git import Git
from orchestra.workspace.repository import open_repository
from tests.support.load import within
from tests.support.runs import Place, make_place
from tests.support.sample import SOAK

CHECK = """[ "$(cat value)" != bad ] && [ "$MODE" != broken ] || exit 1
grep -q good data/deep/config && [ ! -e data/veto ] && judge
"""
SHELL_CLOCK = """n=$(date +%N); [ "$MODE" != broken ] && [ "${n%??????}" != 000 ] && [ "${n#?}" != "$n" ]
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
        order = GateOrder(context.stamp, commit, "now", tuple(self.gating.gates), timeout=within())
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
    versions += [{**files, "value": "good", "check.sh": SHELL_CLOCK}]
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


PLAIN = {"value": "1\n"}


def play(place: Place, number: int, *labels: str, **options: object) -> list[tuple[bool, str, str]]:
    """One run that gates HEAD once for each label: whether it passed, `remembered` if so, and why it ran."""

    async def scene() -> list[tuple[bool, str, str]]:
        async with opened(place, place.tmp / f"scratch{number}", **options) as gating:
            outcomes = [await Bench(place, gating).answer(place.head(), again="again" in one) for one in labels]
            await gating.memory.emit_flaky_tests()
            return [(one.passed, "remembered" if one.remembered else "", one.why_run) for one in outcomes]

    return asyncio.run(scene())


RAN, REMEMBERED = (True, "", ""), (True, "remembered", "")


def test_outcome_of_another_user_or_with_another_seal_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store can come with a repository; the secret that seals an outcome cannot."""
    place = make_place(tmp_path, PLAIN)
    in_world(monkeypatch, place)
    assert play(place, 1, "", test_cmd="test -f value") == [RAN]
    assert play(place, 2, "", "", test_cmd="test -f value") == [REMEMBERED, REMEMBERED]
    store = sqlite3.connect(place.repo / ".aider_logs/orchestra.db")
    with store:
        store.execute("UPDATE gate_runs SET data = replace(data, ':', ':A')")
    assert play(place, 3, "", test_cmd="test -f value") == [RAN]
    with store:
        store.execute("UPDATE gate_runs SET data = 'ü:x', failing = '{\"names\": 5}', run = 7, gate = x'00'")
    assert play(place, 6, "", test_cmd="test -f value") == [RAN]
    secret = place.home / ".config/aider-orchestrator/gate-memory.key"
    assert secret.stat().st_mode & 0o777 == 0o600 and len(secret.read_bytes()) == 32
    secret.rename(secret.with_name("kept"))
    assert play(place, 4, "", test_cmd="test -f value") == [RAN]
    # In CI the home may be the checkout, with a secret that everyone knows.
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place.repo))
    place.write({"aider-orchestrator/gate-memory.key": bytes(32)})
    place.commit()
    assert play(place, 5, "", "", test_cmd="test -f value") == [RAN, RAN]
    store.close()


def test_outcome_is_used_for_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = make_place(tmp_path, PLAIN)
    in_world(monkeypatch, place)
    assert play(place, 1, "", test_cmd="test -f value") == [RAN]
    with contextlib.closing(sqlite3.connect(place.repo / ".aider_logs/orchestra.db")) as store, store:
        store.execute("UPDATE gate_runs SET time = time - 24 * 3600 * 1000")
    assert play(place, 2, "", "", test_cmd="test -f value") == [RAN, REMEMBERED]


CLOCK_WHY = "its command reads the clock"


@pytest.mark.parametrize(
    ("options", "second"),
    [
        ({"test_cmd": "true; date +%s"}, (True, "", CLOCK_WHY)),
        ({"test_cmd": "true; date +%s", "gate_cache": ("tests=on",)}, REMEMBERED),
        ({"test_cmd": "true", "gate_cache": ("tests=off",)}, RAN),
        ({"test_cmd": "true", "gate_cache": ("off", "tests=on")}, RAN),
        ({"test_cmd": "true", "gate_cache": ("other=off",)}, REMEMBERED),
        ({"test_cmd": "git log -1"}, (True, "", "its command asks git for the history")),
        ({"test_cmd": "true", "setup_cmd": "true"}, (True, "", "the set-up command may bring other things each time")),
        ({"test_cmd": "true", "setup_cmd": "true", "gate_cache": ("tests=on",)}, REMEMBERED),
        # The set-up, or the gate itself, changes what git tracks.
        ({"test_cmd": "true", "setup_cmd": "echo 2 > value", "gate_cache": ("tests=on",)}, RAN),
        ({"test_cmd": "echo 2 > value"}, RAN),
    ],
)
def test_what_is_remembered_and_what_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], second: tuple[bool, str, str]
) -> None:
    place = make_place(tmp_path, PLAIN)
    in_world(monkeypatch, place)
    assert play(place, 1, "", **options)[0][:2] == RAN[:2]
    assert play(place, 2, "", **options) == [second]


def test_gate_after_one_that_leaves_files_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = make_place(tmp_path, PLAIN)
    in_world(monkeypatch, place)
    options = {"gate": ("one=mkdir .pytest_cache && touch .pytest_cache/x", "two=touch made", "three=test -f made")}

    async def scene(number: int) -> list[str]:
        async with opened(place, tmp_path / f"scratch{number}", **options) as gating:
            outcomes = await gating.run_all(place.head(), gating.gates, (), "tree")
            return [one.gate.name for one in outcomes if one.passed and one.remembered]

    assert asyncio.run(scene(1)) == []
    assert asyncio.run(scene(2)) == ["one", "two"]


def test_flaky_gate_is_named_over_runs_and_never_answered_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It passes in the first run, fails in the second, and both times of the third."""
    test = (
        f"import os\ndef test_one():\n    assert not os.path.exists('{tmp_path}/broken')\ndef test_two():\n    pass\n"
    )
    place = make_place(tmp_path, {"test_it.py": test})
    in_world(monkeypatch, place)
    options = {"test_cmd": f"{sys.executable} -m pytest -q -p no:cacheprovider", "sandbox": "off"}
    assert play(place, 1, "", **options) == [RAN]
    (tmp_path / "broken").touch()
    assert play(place, 2, "", **options) == [REMEMBERED]
    assert play(place, 3, "", "again", **options) == [REMEMBERED, (False, "", "")]
    assert play(place, 4, "", "again", **options) == [(False, "", ""), (False, "", "")]
    log = jsonl.read_run_log(place.repo / ".aider_logs", jsonl.list_run_stamps(place.repo / ".aider_logs")[-1])
    [flaky] = [event.payload for event in log.events if isinstance(event.payload, FlakyTests)]
    assert flaky.tests == (FlakyTest("test_it.py::test_one", 2, 3),)
    report = fold_events(log.events)
    assert "tests: test_it.py::test_one is flaky: it failed without cause in 2 of 3 runs" in closing.tests_judged_lines(
        report
    )
    assert build_summary(report, {})["flaky"] == {"tests": [{"name": "test_it.py::test_one", "runs": 2, "of": 3}]}


def test_flaky_tests_are_counted_by_run() -> None:
    runs = [
        GateRun("a", "r1", "unit", True, ()),
        GateRun("a", "r2", "unit", False, ("always", "now and then")),
        GateRun("a", "r3", "unit", False, ("now and then",)),
        GateRun("b", "r3", "unit", False, ("always",)),
        GateRun("b", "r4", "unit", False, ("always",)),
        GateRun("c", "r1", "lint", False, ()),
        GateRun("c", "r1", "lint", True, ()),
    ]
    assert find_flaky_tests(runs) == {
        "unit": (FlakyTest("now and then", 2, 4), FlakyTest("always", 1, 4)),
        "lint": (FlakyTest("lint", 1, 1),),
    }
    assert [is_flaky(runs[:2]), is_flaky(runs[3:5]), is_flaky(runs[5:]), is_flaky(())] == [True, False, True, False]


@pytest.mark.parametrize(
    ("table", "options"),
    [
        ({"tests": {"cache": False}}, {"gate-cache": ["tests=off"]}),
        ({"e2e": {"command": "make e2e", "cache": True}}, {"gate": ["e2e=make e2e"], "gate-cache": ["e2e=on"]}),
        ({"docs": "make docs", "lint": False}, {"gate": ["docs=make docs", "lint="]}),
    ],
)
def test_gates_of_a_settings_file(table: dict[str, object], options: dict[str, object]) -> None:
    assert with_gate_entries(SettingsFile("x.toml", {"gates": table})).table == options


@pytest.mark.parametrize("table", [{"tests": {"cash": True}}, {"tests": {"cache": "no"}}, {"tests": 5}])
def test_wrong_gates_of_a_settings_file_are_one_sentence(table: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"tests.* x\.toml (must|may)"):
        with_gate_entries(SettingsFile("x.toml", {"gates": table}))


LANGUAGES = (
    *("if time.time() > 5:", "from time import sleep, monotonic", "datetime.datetime.now(tz)", "x = date.today()"),
    *("default_factory=datetime.utcnow", "const t = Date.now()", "new Date()", "new Date;", "performance.now()"),
    *("time.Now().Unix()", "Instant::now()", "System.currentTimeMillis()", "Time.now.year", "DateTime.UtcNow.Year"),
    *("$(date +%s)", "`date`", "if [ $SECONDS -gt 5 ]", "SELECT CURRENT_TIMESTAMP", "datetime('now')", "x = time()"),
    *("os.path.getmtime(p)", "time(NULL)", "clock_gettime(0, &t)", "find . -newer x", "microtime(true)", "\tdate"),
    *("subprocess.run(['date', '+%H'])", "[ a -nt b ]", "np.datetime64('today')"),
)
NO_CLOCK = (
    *("import time", "time.sleep(5)", "from time import sleep", "update(x)", "candidate = 5", "date(2020, 1, 1)"),
    *("timeout=5", "runtime(x)", "from datetime import date", "new Date(2020, 1)", "import { format } from 'date-fns'"),
    *("the date of birth", "a.date", "self.time", "uptime", "anytime (x)", "validate --all", "now = 5", "known()"),
)


@pytest.mark.parametrize(("lines", "found"), [(LANGUAGES, True), (NO_CLOCK, False)])
def test_clock_is_recognised_in_many_languages(tmp_path: Path, lines: tuple[str, ...], found: bool) -> None:
    """By git, in the base and in a change, and by Python in a command."""
    place = make_place(tmp_path, {"README.md": "time.time()"})
    base = place.head()
    place.write({f"{n}.py": f"before\n{line}\nafter\n" for n, line in enumerate(lines)})
    place.commit()
    pathspecs = PATHSPECS[CODE]
    command = ("grep", "-l", "-E", "-e", CLOCK, "HEAD", *pathspecs)
    wrong = [line for n, line in enumerate(lines) if bool(re.search(CLOCK, line)) != found]
    assert wrong == []
    git = Git(place.repo)
    assert bool(asyncio.run(find_matching_file(git, "HEAD", CODE, pathspecs))) == found
    assert bool(asyncio.run(find_matching_change(git, base, "HEAD", CODE, pathspecs))) == found
    assert asyncio.run(find_matching_file(git, base, CODE, pathspecs)) == ""
    if found:
        assert len(place.git(*command).split()) == len(lines)
