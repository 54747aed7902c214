"""Start runs: the same program as in a terminal, detached from this server, which may end before them.

A request may set what changes how the work is divided, how much it may cost and which model does it. What runs a
command, sends, writes or reads elsewhere needs `serve --allow-commands`. Keys are those of the server's environment.
"""

import contextlib
import difflib
import hashlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orchestra
from orchestra.cli.commands.resume import DECISIONS
from orchestra.cli.find import RunIndex
from orchestra.settings import flag_of, option_fields
from orchestra.settings.option import Field, Power, check_option
from orchestra.settings.values import parse_option
from orchestra.web.envelope import ApiError
from orchestra.web.rows import Row

PROGRAM = Path(orchestra.__file__).parents[1] / "aider_orchestrator.py"
OPEN_POWERS = (Power.HARMLESS, Power.SPENDS, Power.CHOOSES_MODEL)
# Never in a request: what the server decides, what changes its own reading of the output, and keys.
OWN_OPTIONS = ("repo", "store", "dry_run", "json", "events", "quiet", "verbose", "api_key", "approve")
LONGEST_TEXT = 100_000  # of one argument; Linux allows 128 KiB
DRY_RUN_SECONDS = 120
SHOWN_OUTPUT = 4_000


@dataclass
class Launch:
    """A started program. `pid` is 0, and `child` None, if a server before this one started it."""

    id: str
    console: Path
    words: Sequence[str]
    run: str = ""
    time: int = 0
    pid: int = 0
    child: subprocess.Popen[bytes] | None = None


class Launcher:
    """Starts programs and knows those of this server. The methods block: call them in a thread."""

    def __init__(self, store: str, allow_commands: bool) -> None:
        self.environment = {"ORCHESTRA_STORE": store} if store else {}
        self.allow_commands = allow_commands
        self.launches: dict[str, tuple[RunIndex, Launch]] = {}

    def start(self, index: RunIndex, words: Sequence[str], key: str, run: str = "", text: str = "") -> Launch:
        """Start the program, or return the launch that the same key started. `text` is what it reads from stdin."""
        id = hashlib.sha256(f"{index.root}\0{key}".encode()).hexdigest()[:16] if key else secrets.token_hex(8)
        launch = Launch(id, index.logs / f"console_{id}.txt", words, run, int(time.time() * 1000))
        try:
            console = os.open(launch.console, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except FileExistsError:
            return self.find_same(index, launch)
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, console)
            os.write(console, json.dumps(words).encode() + b"\n")
            stdin = stack.enter_context(tempfile.TemporaryFile())
            stdin.write(text.encode())
            stdin.seek(0)
            launch.child = subprocess.Popen(
                [sys.executable, str(PROGRAM), *words],
                cwd=index.root,
                env=os.environ | self.environment,
                stdin=stdin,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        launch.pid = launch.child.pid
        threading.Thread(target=launch.child.wait, daemon=True).start()  # so that its process is not left as a zombie
        self.launches[id] = index, launch
        return launch

    def find_same(self, index: RunIndex, launch: Launch) -> Launch:
        """Return the launch that this key started. Raise 409 if it was another request."""
        with launch.console.open("rb") as file:
            if file.readline() != json.dumps(launch.words).encode() + b"\n":
                raise ApiError(409, "The Idempotency-Key was used for another request.")
        return self.launches.setdefault(launch.id, (index, launch))[1]

    def find(self, id: str) -> tuple[RunIndex, Launch]:
        if id not in self.launches:
            raise ApiError(404, f"This server has no launch {id}.")
        return self.launches[id]

    def estimate(self, index: RunIndex, words: Sequence[str]) -> Row:
        """Return the plan and its estimate. No model is asked."""
        command = [sys.executable, str(PROGRAM), *words, "--dry-run", "--json"]
        environment = os.environ | self.environment
        try:
            done = subprocess.run(
                command,
                cwd=index.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=DRY_RUN_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise ApiError(504, f"The estimate took more than {DRY_RUN_SECONDS} seconds.") from None
        if done.returncode:
            raise ApiError(400, last_line(done.stderr) or f"The dry run ended with exit code {done.returncode}.")
        plan: Row = json.loads(done.stdout)
        return plan


def last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].removeprefix("aider-orchestrator: ") if lines else ""


def launch_record(index: RunIndex, launch: Launch) -> Row:
    """Describe a launch: its state, its run as soon as it has one, and the end of its output."""
    code = launch.child.poll() if launch.child else None
    with launch.console.open("rb") as file:
        file.readline()
        file.seek(max(file.tell(), launch.console.stat().st_size - SHOWN_OUTPUT))
        output = file.read().decode("utf-8", "replace")
    return {
        "launch": launch.id,
        "state": "unknown" if launch.child is None else "running" if code is None else "ended",
        "exit_code": code,
        "run": launch.run or find_run_of(index, launch),
        "console": str(launch.console.relative_to(index.root)),
        "output": output,
    }


def find_run_of(index: RunIndex, launch: Launch) -> str | None:
    """Return the run that the program began, once it has."""
    for run in reversed(index.runs):
        if run.run.first.time < launch.time:
            return None
        if run.run.started and run.run.started.pid == launch.pid:
            return run.name
    return None


def option_words(values: Mapping[str, Any], allow_commands: bool) -> list[str]:
    """Return the options of a request as words of the command line. Raise 400 for what is unknown or not allowed."""
    by_name = {flag_of(option).removeprefix("--"): option for option in option_fields()}
    words: list[str] = []
    for given, value in values.items():
        name = given.replace("_", "-")
        if name not in by_name or by_name[name].name in OWN_OPTIONS:
            near = difflib.get_close_matches(name, [n for n, o in by_name.items() if o.name not in OWN_OPTIONS], 1)
            raise ApiError(400, f"There is no option `{given}`{f': did you mean `{near[0]}`?' if near else '.'}")
        option = by_name[name]
        if not (allow_commands or is_open(option, value)):
            power = option.metadata["power"]
            raise ApiError(403, f"`{given}` {power}: only `serve --allow-commands` accepts it.")
        words += words_of(option, value, given)
    return words


def decision_words(run: str, task: int, values: Row) -> tuple[list[str], str]:
    """Return `resolve` with this decision, and the text that it reads from stdin: of the new brief."""
    action, text = values.get("action"), values.get("text", "")
    for name, flag, metavar, _ in DECISIONS:
        if name == action and isinstance(text, str) and (text or not metavar or name == "retry"):
            check_text(text, "text")
            is_brief = name == "brief"
            word = f"{flag}=-" if is_brief else f"{flag}={text}" if text and metavar else flag
            return ["resolve", run, str(task), word], text if is_brief else ""
    raise ApiError(400, f"`action` must be {', '.join(name for name, *_ in DECISIONS)}, and `text` a text for it.")


def check_text(value: Any, name: str, *, longest: int | None = LONGEST_TEXT) -> str:
    """Return a text of a request. Raise 400 for what is no text, or cannot be given to a program."""
    if not isinstance(value, str):
        raise ApiError(400, f"`{name}` must be a text.")
    if (longest is not None and len(value) > longest) or "\0" in value or not is_encodable(value):
        raise ApiError(400, f"`{name}` is too long, or has characters that no argument can have.")
    return value


def is_open(option: Field, value: Any) -> bool:
    """Whether anyone with the token may set it. A change is text; a plan is one of this repository, by its name."""
    if option.name == "change":
        return not str(value).startswith("@") and str(value).strip() != "-"
    if option.name == "plan":
        return str(value).replace("-", "").replace("_", "").isalnum()
    return option.metadata["power"] in OPEN_POWERS


def words_of(option: Field, value: Any, name: str) -> Iterator[str]:
    """Yield one option as words. A value cannot be taken for a flag, because it stands behind `=`."""
    if isinstance(option.default, bool):
        if not isinstance(value, bool):
            raise ApiError(400, f"`{name}` must be true or false.")
        yield from [flag_of(option)] if value else []
        return
    items = value if isinstance(value, list) else [value]
    if isinstance(value, list) and not isinstance(option.default, tuple):
        raise ApiError(400, f"`{name}` must be one value.")
    for item in items:
        if isinstance(item, bool) or not isinstance(item, str | int | float):
            raise ApiError(400, f"`{name}` must be a text or a number.")
        check_text(str(item), name)
    check_option(option, parse_option(option, value, f"`{name}`"))
    yield from (f"{flag_of(option)}={item}" for item in items)


def is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
