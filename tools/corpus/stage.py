"""The stage of one scenario: a repository in a neutral folder, and a record of every command that was run in it."""

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.support import runs
from tests.support.edits import Respond
from tests.support.load import wait_until
from tests.support.modelserver import ModelServer
from tests.support.runs import Place, Ran, Running

# Every path in a log begins with it, whichever machine the scenario ran on.
ROOT = Path("/tmp/corpus")
AT_WORK = 90.0
# For a run whose processes are meant to be met: they are its own.
COLD = {"AIDER_BIN": ""}
WARM = re.compile(rb"/tmp/warm-\w+/python")


@dataclass(frozen=True)
class Command:
    """A command line and what came of it."""

    words: tuple[str, ...]
    code: int
    out: str = ""
    err: str = ""


@dataclass(frozen=True)
class Stage(Place):
    """A place that records the commands. `begin` has to be called before the first one."""

    commands: list[Command] = field(default_factory=list)
    started: "list[Recording]" = field(default_factory=list)

    @property
    def logs(self) -> Path:
        return self.repo / ".aider_logs"

    def begin(self, files: Mapping[str, bytes | str]) -> None:
        for path in (self.repo, self.home, self.tmp):
            path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.name", "Ada")
        self.git("config", "user.email", "ada@example.com")
        self.write(files)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "Start")

    def environment(self, server: ModelServer | None = None, **extra: str) -> dict[str, str]:
        env = super().environment(server, **extra)
        return env | {"PATH": f"{ROOT / 'bin'}:{env['PATH']}"}

    def start(
        self, *words: str, server: ModelServer | None = None, cwd: Path | None = None, shell: str = "", **env: str
    ) -> "Recording":
        self.started.append(Recording(self, words, self.environment(server, **env), cwd or self.repo, shell))
        return self.started[-1]

    def leave(self) -> None:
        """End what a scenario that failed has left running."""
        for running in self.started:
            if running.child.poll() is None:
                running.child.kill()
                running.child.wait()

    def play(self, respond: Respond, *words: str, **env: str) -> Ran:
        """One command against a model server of its own."""
        with ModelServer(respond) as server:
            return self.run(*words, server=server, cwd=None, **env)

    @contextmanager
    def playing(self, respond: Respond, *words: str, **env: str) -> Iterator["Recording"]:
        """The same while it is under way; at the end of the block it is waited for."""
        with ModelServer(respond) as server:
            running = self.start(*words, server=server, cwd=None, shell="", **env)
            running.server = server
            yield running
            if running.child.returncode is None:
                running.end()

    # --- what the newest run's log says -----------------------------------------------------------------------------

    @property
    def stamp(self) -> str:
        newest = max(self.logs.glob("run_*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
        return newest.stem.removeprefix("run_")

    def events(self, kind: str, **data: Any) -> list[dict[str, Any]]:
        """Those of one kind, with this data."""
        lines = [line for path in sorted(self.logs.glob("*.jsonl")) for line in whole_lines(path)]
        found = [event for line in lines if (event := json.loads(line))["event"] == kind]
        return [event for event in found if all(event["data"].get(name) == value for name, value in data.items())]

    def wait_for(self, kind: str, count: int = 1, **data: Any) -> list[dict[str, Any]]:
        """Until so many events of this kind, with this data, are written."""

        def enough() -> list[dict[str, Any]]:
            found = self.events(kind, **data) if self.logs.exists() else []
            return found if len(found) >= count else []

        found: list[dict[str, Any]] = wait_until(enough, f"{count} times {kind} {data}", AT_WORK)
        return found

    def task_of(self, path: str) -> str:
        """The number of the task that has this file."""
        plan = self.events("plan_made")[-1]["data"]["tasks"]
        return str(next(task["id"] for task in plan if task["files"][0]["path"] == path))


class Recording(Running):
    """The program while it runs; how it ends is recorded."""

    place: Stage
    server: ModelServer

    def wait_for_requests(self, count: int) -> None:
        """Until the model server has seen so many."""
        wait_until(lambda: self.server.count() >= count, f"{count} requests", AT_WORK)

    def end(self) -> Ran:
        ran = super().end()
        self.place.commands.append(Command(self.words, ran.code, ran.out, ran.err))
        return ran

    def __init__(self, place: Stage, words: tuple[str, ...], env: dict[str, str], cwd: Path, shell: str) -> None:
        super().__init__(place, words, env, cwd, shell)
        self.words = words

    def signal(self, signum: int) -> Ran:
        """To the whole group, as a terminal does it."""
        os.killpg(self.child.pid, signum)
        return self.end()

    def kill(self) -> None:
        """As the machine's out-of-memory killer does it. No process of the run is left."""
        self.child.send_signal(signal.SIGKILL)
        self.child.wait(30)
        wait_until(lambda: self.place.processes() == {}, "no orphan")
        self.place.commands.append(Command(self.words, self.child.returncode))


def whole_lines(path: Path) -> list[str]:
    return path.read_text("utf-8", "replace").rpartition("\n")[0].splitlines()


Play = Callable[[Stage], None]
SCENARIOS: dict[str, Play] = {}


def scenario(play: Play) -> Play:
    """Register a scenario under the name of its function."""
    assert play.__name__ not in SCENARIOS
    SCENARIOS[play.__name__] = play
    return play


def perform(name: str) -> Stage:
    """Run one scenario in its neutral folder."""
    folder = ROOT / name
    stage = Stage(folder / "repo", folder / "home", folder / "tmp")
    try:
        SCENARIOS[name](stage)
    finally:
        stage.leave()
    return stage


def keep(stage: Stage, target: Path) -> None:
    """Copy out what the runs have left: logs, reports, git's objects, and what the commands printed."""
    (target / "logs").mkdir(parents=True)
    for path in stage.logs.iterdir():
        if path.is_file() and not path.name.startswith(("orchestra.db", ".")):
            (target / "logs" / path.name).write_bytes(neutral(path.read_bytes()))
    stage.git("repack", "-adkq")
    (target / "pack").mkdir()
    for path in (stage.repo / ".git/objects/pack").iterdir():
        if path.suffix in (".pack", ".idx"):
            (target / "pack" / path.name).write_bytes(path.read_bytes())
    commands = json.dumps([asdict(command) for command in stage.commands], indent=1) + "\n"
    (target / "commands.json").write_bytes(neutral(commands.encode()))


def neutral(content: bytes) -> bytes:
    """The program and its interpreter at neutral places."""
    content = WARM.sub(
        b"/tmp/corpus/bin/python", content.replace(os.fsencode(sys.executable), b"/tmp/corpus/bin/python")
    )
    return content.replace(os.fsencode(runs.PROGRAM.parent), b"/tmp/corpus/program")
