"""Start runs: the same program as in a terminal, detached from this server, which may end before them.

A request may set what changes how the work is divided, how much it may cost and which model does it. What runs a
command, sends, writes or reads elsewhere needs `serve --allow-commands`. Keys are those of the server's environment,
and go to a child through a pipe.
"""

import contextlib
import difflib
import hashlib
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orchestra
from orchestra.cli.commands.resume import DECISIONS
from orchestra.cli.find import RunIndex
from orchestra.conduct.core.secrets import PASSWORD
from orchestra.model import DECISION_ACTIONS, Decision
from orchestra.process import SECRET, replace_file
from orchestra.providers.redact import redact
from orchestra.settings import KEYS_PIPE, LAUNCH, flag_of, option_fields
from orchestra.settings.option import Field, Power, check_option
from orchestra.settings.values import parse_option
from orchestra.web.envelope import ApiError
from orchestra.web.rows import Row

PROGRAM = Path(orchestra.__file__).parents[1] / "aider_orchestrator.py"
OPEN_POWERS = (Power.HARMLESS, Power.SPENDS, Power.CHOOSES_MODEL)
# Never in a request: what the server decides, what changes its own reading of the output, and keys.
OWN_OPTIONS = ("repo", "store", "dry_run", "json", "events", "quiet", "verbose", "api_key", "approve")
LAUNCH_ID = re.compile(r"[0-9a-f]{16}")
NAMING_RUN = ("resume", "retry", "resolve")
PIPE_BYTES = 1 << 16  # that a pipe holds before it is read
LONGEST_TEXT = 100_000  # of one argument; Linux allows 128 KiB
DRY_RUN_SECONDS = 120
SHOWN_OUTPUT = 4_000
OTHER_ACTIONS = {"spawn_new_task": "spawn", "edit_brief": "brief"}  # of agent-framework


@dataclass
class Launch:
    """A started program. `child` is None if a server before this one started it."""

    id: str
    console: Path
    words: Sequence[str]
    run: str = ""
    child: subprocess.Popen[bytes] | None = None


class Launcher:
    """Starts programs and knows those of this server. The methods block: call them in a thread."""

    def __init__(self, store: str, allow_commands: bool) -> None:
        self.store, self.allow_commands = store, allow_commands
        self.launches: dict[str, tuple[RunIndex, Launch]] = {}
        self.lock = threading.Lock()

    def start(self, index: RunIndex, words: Sequence[str], key: str, run: str = "", text: str = "") -> Launch:
        """Start the program, or return the launch that the same key started. `text` is what it reads from stdin."""
        id = hashlib.sha256(f"{index.root}\0{key}".encode()).hexdigest()[:16] if key else secrets.token_hex(8)
        launch = Launch(id, console_path(index, id), words, run)
        head = json.dumps({"words": list(words), "stdin": hashlib.sha256(text.encode()).hexdigest()}).encode() + b"\n"
        with self.lock:
            if not create_whole(launch.console, head):
                return self.find_same(index, launch, head)
            try:
                launch.child = self.start_child(index, launch, text)
            except BaseException:
                launch.console.unlink()  # or the same request could never be repeated
                raise
            self.launches[id] = index, launch
        threading.Thread(target=launch.child.wait, daemon=True).start()  # so that its process is not left as a zombie
        return launch

    def start_child(self, index: RunIndex, launch: Launch, text: str) -> subprocess.Popen[bytes]:
        with contextlib.ExitStack() as stack:
            console = os.open(launch.console, os.O_WRONLY | os.O_APPEND)
            stack.callback(os.close, console)
            stdin = stack.enter_context(tempfile.TemporaryFile())
            stdin.write(text.encode())
            stdin.seek(0)
            environment, keys = stack.enter_context(self.child_environment())
            return subprocess.Popen(
                [sys.executable, str(PROGRAM), *launch.words],
                cwd=index.root,
                env=environment | {LAUNCH: launch.id},
                stdin=stdin,
                stdout=console,
                stderr=console,
                pass_fds=(keys,),
                start_new_session=True,
            )

    @contextlib.contextmanager
    def child_environment(self) -> Iterator[tuple[dict[str, str], int]]:
        """The environment of a child without keys, and the pipe from which it reads them: an environment can be read
        by this user's other processes."""
        environ = os.environ | ({"ORCHESTRA_STORE": self.store} if self.store else {})
        private = {name: value for name, value in environ.items() if holds_key(name, value)}
        content = json.dumps(private).encode()
        if len(content) > PIPE_BYTES:
            raise ApiError(503, "The keys of the server's environment are too long to be handed on.")
        reading, writing = os.pipe()
        try:
            os.write(writing, content)
            os.close(writing)
            public = {name: value for name, value in environ.items() if name not in private}
            yield public | {KEYS_PIPE: str(reading)}, reading
        finally:
            os.close(reading)

    def find_same(self, index: RunIndex, launch: Launch, head: bytes) -> Launch:
        """Return the launch that this key started. Raise 409 if it was another request."""
        with launch.console.open("rb") as file:
            if file.readline() != head:
                raise ApiError(409, "The Idempotency-Key was used for another request.")
        return self.launches.setdefault(launch.id, (index, launch))[1]

    def find(self, id: str, indexes: Iterable[RunIndex]) -> tuple[RunIndex, Launch]:
        """Return a launch of this server, or one of a server before it, by its file."""
        if id in self.launches:
            return self.launches[id]
        for index in indexes if LAUNCH_ID.fullmatch(id) else ():
            if (words := launched_words(console_path(index, id))) is not None:
                run = words[1] if words[0] in NAMING_RUN and len(words) > 1 else ""
                return index, Launch(id, console_path(index, id), words, run)
        raise ApiError(404, f"This server has no launch {id}.")

    def estimate(self, index: RunIndex, words: Sequence[str]) -> Row:
        """Return the plan and its estimate. No model is asked."""
        command = [sys.executable, str(PROGRAM), *words, "--dry-run", "--json"]
        try:
            with self.child_environment() as (environment, keys):
                done = subprocess.run(
                    command,
                    cwd=index.root,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    pass_fds=(keys,),
                    timeout=DRY_RUN_SECONDS,
                )
        except subprocess.TimeoutExpired:
            raise ApiError(504, f"The estimate took more than {DRY_RUN_SECONDS} seconds.") from None
        if done.returncode:
            raise ApiError(400, last_line(done.stderr) or f"The dry run ended with exit code {done.returncode}.")
        plan: Row = json.loads(done.stdout)
        return plan


def create_whole(path: Path, content: bytes) -> bool:
    """Create a file with its content at once, so that no other server reads a part. Return false if it exists."""
    part = path.with_name(f"{path.stem}_part{os.getpid()}-{threading.get_ident()}{path.suffix}")
    replace_file(part, content, private=True)
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    finally:
        part.unlink()
    return True


def console_path(index: RunIndex, id: str) -> Path:
    return index.logs / f"console_{id}.txt"


def launched_words(console: Path) -> list[str] | None:
    """Return the words with which a program was started; None if the file does not tell."""
    try:
        with console.open("rb") as file:
            head = json.loads(file.readline(2 * LONGEST_TEXT))
    except (OSError, ValueError):
        return None
    words = head.get("words") if isinstance(head, dict) else None
    return words if isinstance(words, list) and words and all(isinstance(word, str) for word in words) else None


def holds_key(name: str, value: str) -> bool:
    """Whether a variable may hold a key: by its name, by its value, or as a password in an address."""
    return bool(SECRET.search(name)) or PASSWORD.search(value) is not None or redact(value) != value


def last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].removeprefix("aider-orchestrator: ") if lines else ""


def launch_record(index: RunIndex, launch: Launch) -> Row:
    """Describe a launch: its state, its run as soon as it has one, and the end of its output."""
    code = launch.child.poll() if launch.child else None
    with launch.console.open("rb") as file:
        file.readline()
        file.seek(max(file.tell(), launch.console.stat().st_size - SHOWN_OUTPUT))
        output = redact(file.read().decode("utf-8", "replace"))
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
    named = (run.name for run in reversed(index.runs) if run.run.started and run.run.started.launch == launch.id)
    return next(named, None)


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


def read_decision(task: int, values: Mapping[str, Any]) -> Decision:
    """Return the decision of a request: its `action`, and its `text`. Other orchestrators' words are known too."""
    action = str(values.get("action"))
    action = OTHER_ACTIONS.get(action, action)
    text = check_text(values.get("text", values.get("hint", "")), "text")
    if action not in DECISION_ACTIONS:
        raise ApiError(400, f"`action` must be {', '.join(DECISION_ACTIONS)}.")
    if DECISION_ACTIONS[action] and not text.strip():
        raise ApiError(400, f"`{action}` needs a `text`.")
    question = values.get("question")
    if question is not None and type(question) is not int:
        raise ApiError(400, "`question` must be the number that the task's row has.")
    return Decision(task, action, text, question)


def decision_words(run: str, decision: Decision) -> tuple[list[str], str]:
    """Return `resolve` with this decision, and the text that it reads from stdin: of the new brief."""
    flag = next(flag for name, flag, *_ in DECISIONS if name == decision.action)
    is_brief, takes_text = decision.action == "brief", decision.action in ("retry", "spawn")
    word = f"{flag}=-" if is_brief else f"{flag}={decision.text}" if takes_text and decision.text else flag
    return ["resolve", run, str(decision.task), word], decision.text if is_brief else ""


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
