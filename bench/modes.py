"""The same work, done in several ways: a line at the end of each of N files, as one agent for each file would do it."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import Command, Cost, Process, cost
from bench.program import MODEL, command, environment
from orchestra.agents.aider import FLAGS as AIDER_FLAGS
from tests.support.edits import reply_with, say
from tests.support.modelserver import ModelServer, Reply, Request, Usage, estimate

MARK = "# Measured."
CHANGE = "Add a line at the end that says that this was measured."
PRD = f"""# Mark the sample

{CHANGE}

## Requirements

- R1: Each part ends with a line that says that it was measured.
"""
OURS = "this program"
AT_ONCE = "plain aider, all at once"
OUR_FLAGS = "the same with our flags"
IN_TURN = "plain aider, one after another"
ALL_IN_ONE = "one plain aider, all files"
RIVAL = "bernstein"
AIDER = Path(sys.executable).parent / "aider"
MODULES = 32
LIMIT = 420.0


class Failed(Exception):
    """An agent did not do its work: its cost would say nothing."""


@dataclass
class Model:
    """Marks the files that it is asked to, and counts what it is sent and what it says.

    It counts four bytes as a token for everybody: a streamed reply brings no count of its own.
    """

    asked: list[tuple[str, Usage]] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        if request.dialect in ("anthropic", "responses"):
            from bench.clis import answer

            said, usage = answer(request)
            self.asked.append((request.model, usage))
            return said
        named = re.findall(r"^Files: (\S+)$", request.brief, re.MULTILINE)
        files = {path: text for path, text in request.files.items() if not named or path in named}
        reply = reply_with(request, [say(request, path, text, marked(text)) for path, text in files.items()])
        self.asked.append((request.model, estimate(request, reply)))
        return reply


def marked(text: str) -> str:
    return text if text.endswith(f"{MARK}\n") else f"{text}{MARK}\n"


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


def files_of(agents: int) -> list[str]:
    return [file_of(number) for number in range(agents)]


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
    at_once(bench, 1)


def bundled_prices() -> Path:
    litellm = importlib.util.find_spec("litellm")
    assert litellm is not None and litellm.origin is not None, "aider is not installed here"
    return Path(litellm.origin).parent / "model_prices_and_context_window_backup.json"


def check(place: Path, files: list[str], found: Cost, output: Path, committed: bool = True) -> None:
    """Every file of the sample is, to the byte, what it should be, and the changes are commits."""
    wrong = [
        name
        for number in range(MODULES)
        for name in [file_of(number)]
        if (place / name).read_text(encoding="utf-8") != (marked if name in files else str)(module(number))
    ]
    words = ["git", "status", "--porcelain", "--untracked-files=no"]
    unfinished = committed and subprocess.run(words, cwd=place, check=True, capture_output=True).stdout
    if any(found.codes) or wrong or unfinished:
        said = output.read_text(encoding="utf-8", errors="replace")[-1500:]
        raise Failed(f"exit codes {found.codes}, wrong: {wrong}, not committed: {unfinished!r}\n{said}")


# --- the ways to do it ----------------------------------------------------------------------------------------------


def plain_aider(bench: Bench, number: int, *more: str, files: list[str] | None = None) -> Command:
    """As a user of the seed would start it, each in a clone of its own, so that they do not collide."""
    words = [str(AIDER), "--yes-always", "--no-check-update", *more, "--message", CHANGE, "--model", MODEL]
    name = f"plain{number}"
    env = bench.env() | {"AIDER_ANALYTICS_DISABLE": "true"}
    return Command([*words, *(files or [file_of(number)])], bench.clone(name), env, bench.output(name))


def at_once(bench: Bench, agents: int) -> Cost:
    commands = [plain_aider(bench, number) for number in range(agents)]
    return together(commands)


def with_our_flags(bench: Bench, agents: int) -> Cost:
    """As this program calls it: no commit, no map, no lint, no streaming."""
    commands = [plain_aider(bench, number, *AIDER_FLAGS) for number in range(agents)]
    return together(commands, committed=False)


def together(commands: list[Command], committed: bool = True) -> Cost:
    found = cost(commands, LIMIT, lambda process, everything: process.parent == os.getpid())
    for number, one in enumerate(commands):
        check(one.cwd, [file_of(number)], found, one.output, committed)
    return found


def in_turn(bench: Bench, agents: int) -> Cost:
    """One after another in the user's own checkout: nothing collides."""
    place, costs = bench.clone("turns"), []
    for number in range(agents):
        one = plain_aider(bench, number)
        costs.append(cost([Command(one.words, place, one.env, one.output)], LIMIT, nobody))
        check(place, files_of(number + 1), costs[-1], one.output)
    wall = sum(each.wall for each in costs)
    return Cost(
        wall,
        sum(each.cpu for each in costs),
        max(each.peak for each in costs),
        (),
        sum(each.others * each.wall for each in costs) / wall,
        (0,),
    )


def all_in_one(bench: Bench, agents: int) -> Cost:
    """One plain aider that is given all the files: one reply changes them all."""
    one = plain_aider(bench, 0, files=files_of(agents))
    found = cost([one], LIMIT, nobody)
    check(one.cwd, files_of(agents), found, one.output)
    return found


def orchestrated(bench: Bench, agents: int) -> Cost:
    """The whole command: from its start until its summary, with the verdicts, the commits and the integration."""
    prd = bench.folder / "prd.md"
    prd.write_text(PRD, encoding="utf-8")
    files = files_of(agents)
    words = ["--change", CHANGE, "--prd", str(prd), "--model", MODEL, "--agents", str(agents), "--files", *files]
    one = Command(command(*words), bench.clone("ours"), bench.env(), bench.output("ours"))
    found = cost([one], LIMIT, is_seated)
    check(one.cwd, files, found, one.output)
    return found


def is_seated(process: Process, everything: dict[int, Process]) -> bool:
    """A child of the fork server: a process like it, whose parent is it."""
    parent = everything.get(process.parent)
    return "--serve" in process.command and parent is not None and "--serve" in parent.command


def nobody(process: Process, everything: dict[int, Process]) -> bool:
    return False
