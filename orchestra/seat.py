"""Seats for Aider: one warm fork server, or one process per attempt where forking is not to be had. Same job in, same outcome out."""

import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from orchestra.errors import AiderMissing
from orchestra.process import CHILD, GRACE, base_environment, close_stdin, guarded

PROGRAM = CHILD / "aider_seat.py"
HINT = "Install it beside this program (pip install aider-chat==0.86.2), or set AIDER_BIN to an aider command."
QUIET = {
    "PYTHONHASHSEED": "0",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "TOKENIZERS_PARALLELISM": "false",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "BROWSER": "true",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "TERM": "dumb",
    "NO_COLOR": "1",
}


@dataclass(frozen=True)
class Job:
    """Everything one Aider needs. `folder` is the attempt's own: its home, its output and its outcome lie there."""

    id: str
    cwd: Path
    folder: Path
    argv: tuple[str, ...]
    message: str
    env: Mapping[str, str]
    fallback: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        record = {
            "id": self.id,
            "cwd": str(self.cwd),
            "argv": self.argv,
            "message": self.message,
            "env": dict(self.env),
            "fallback": dict(self.fallback),
            "output": str(self.folder / "aider.out"),
            "outcome": str(self.outcome_file),
        }
        return json.dumps(record)

    @property
    def outcome_file(self) -> Path:
        return self.folder / "outcome.json"


@dataclass(frozen=True)
class Outcome:
    """How Aider ended, in its own structured words. `end` is accepted, rejected, no_reply, exhausted or crashed."""

    end: str
    code: int = 0
    replies: int = 0
    edited: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    complaint: str = ""
    failure: str = ""


def read_outcome(job: Job, code: int) -> Outcome:
    try:
        record = json.loads(job.outcome_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return Outcome("crashed", code, failure=f"Aider ended without an outcome ({how})")
    return Outcome(
        record["end"],
        code,
        record.get("replies", 0),
        tuple(record.get("edited", ())),
        tuple(record.get("refused", ())),
        record.get("complaint", ""),
        record.get("failure", ""),
    )


def find_python(environ: Mapping[str, str]) -> str:
    """The interpreter that has aider: AIDER_BIN's, this one, or the one behind `aider` on PATH."""
    if named := environ.get("AIDER_BIN", ""):
        command = shutil.which(named, path=environ.get("PATH"))
        if command is None:
            raise AiderMissing(f"AIDER_BIN is {named!r}, and there is no such command.", hint=HINT)
        return interpreter_of(Path(command))
    if importlib.util.find_spec("aider") is not None:
        return sys.executable
    if command := shutil.which("aider", path=environ.get("PATH")):
        return interpreter_of(Path(command))
    raise AiderMissing(hint=HINT)


def interpreter_of(command: Path) -> str:
    """The Python in a script's first line; AIDER_BIN may also name a Python itself."""
    with command.open("rb") as file:
        first = file.readline(1024)
    if not first.startswith(b"#!"):
        return str(command)
    words = first[2:].decode("utf-8", "replace").split()
    path = words[-1] if words and words[0].endswith("env") else " ".join(words)
    found = shutil.which(path)
    if found is None or "python" not in Path(found).name:
        raise AiderMissing(f"{command} is not a Python program's script.", hint=HINT)
    return found


def seat_environment(home: Path) -> dict[str, str]:
    """What an agent may see of our environment: nothing that could hold a key or steer it."""
    kept = ("PATH", "TZ", "TMPDIR", "SYSTEMROOT", "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH")
    environment = {name: value for name, value in base_environment(os.environ).items() if name in kept}
    return (
        environment
        | QUIET
        | {"HOME": str(home), "USERPROFILE": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home)}
    )


class Seats(Protocol):
    async def ready(self) -> None: ...
    async def run(self, job: Job) -> Outcome: ...
    async def close(self) -> None: ...


class SingleSeats:
    """One Python start per attempt."""

    def __init__(self, python: str) -> None:
        self.python = python

    async def ready(self) -> None:
        check = await asyncio.create_subprocess_exec(
            self.python,
            "-c",
            "import importlib.util as u, sys; sys.exit(u.find_spec('aider') is None)",
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if await check.wait():
            raise AiderMissing(f"{self.python} has no aider.", hint=HINT)

    async def run(self, job: Job) -> Outcome:
        job_file = job.folder / "job.json"
        job_file.write_text(job.to_json(), encoding="utf-8")
        with (job.folder / "aider.out").open("ab") as sink:
            child = await asyncio.create_subprocess_exec(
                *guarded([self.python, str(PROGRAM), "--once", str(job_file)]),
                cwd=job.cwd,
                env=dict(job.env),
                stdin=asyncio.subprocess.PIPE,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        try:
            await asyncio.shield(child.wait())
        finally:
            close_stdin(child)
            code = await asyncio.shield(child.wait())
        return read_outcome(job, 128 - code if code > 128 else code)

    async def close(self) -> None:
        return None


class ForkSeats:
    """One process that imports Aider once and forks a child per attempt. It warms up while Gemini writes."""

    def __init__(self, python: str, folder: Path) -> None:
        self.python = python
        self.folder = folder
        self.server: asyncio.subprocess.Process | None = None
        self.death = -1
        self.reader: asyncio.Task[None] | None = None
        self.started: asyncio.Future[None] | None = None
        self.pids: dict[str, asyncio.Future[int]] = {}
        self.codes: dict[str, asyncio.Future[int]] = {}

    async def start(self) -> None:
        self.started = asyncio.get_running_loop().create_future()
        read, self.death = os.pipe()
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.out").open("ab") as sink:
            self.server = await asyncio.create_subprocess_exec(
                self.python,
                str(PROGRAM),
                "--serve",
                str(read),
                cwd=self.folder,
                env=seat_environment(self.folder),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=sink,
                pass_fds=(read,),
                start_new_session=True,
            )
        os.close(read)
        self.reader = asyncio.create_task(self.listen())

    async def ready(self) -> None:
        if self.started is None:
            await self.start()
        assert self.started is not None
        await asyncio.shield(self.started)

    async def listen(self) -> None:
        assert self.server is not None and self.server.stdout is not None and self.started is not None
        async for line in self.server.stdout:
            answer = json.loads(line)
            if "ready" in answer:
                self.started.set_result(None)
            elif "pid" in answer:
                self.pids[answer["id"]].set_result(answer["pid"])
            else:
                self.codes[answer["id"]].set_result(answer["code"])
        await self.lost()

    async def lost(self) -> None:
        """The server is gone. Its children are ours to end: nobody else can."""
        assert self.server is not None and self.started is not None
        await self.server.wait()
        if not self.started.done():
            words = (self.folder / "server.out").read_text(encoding="utf-8", errors="replace").strip().splitlines()
            self.started.set_exception(
                AiderMissing(f"{self.python} cannot run aider: {words[-1] if words else 'no reason given'}.", hint=HINT)
            )
        for job, code in self.codes.items():
            if not code.done():
                self.signal(job, signal.SIGKILL)
                code.set_result(-signal.SIGKILL)

    def signal(self, job: str, signum: int) -> None:
        pid = self.pids.get(job)
        if pid is not None and pid.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid.result(), signum)

    async def run(self, job: Job) -> Outcome:
        await self.ready()
        assert self.server is not None and self.server.stdin is not None
        if self.server.returncode is not None:
            # The warm server died under another attempt. Starting each Aider by itself is slower and just as right.
            return await SingleSeats(self.python).run(job)
        loop = asyncio.get_running_loop()
        self.pids[job.id], self.codes[job.id] = loop.create_future(), loop.create_future()
        self.server.stdin.write(job.to_json().encode() + b"\n")
        try:
            code = await asyncio.shield(self.codes[job.id])
        except asyncio.CancelledError:
            await self.end(job.id)
            raise
        return read_outcome(job, code)

    async def end(self, job: str) -> None:
        """TERM to the attempt's group, KILL after the grace."""
        done = self.codes[job]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.pids[job]), GRACE)
        self.signal(job, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(done), GRACE)
        if not done.done():
            self.signal(job, signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(done), GRACE)

    async def close(self) -> None:
        if self.server is None:
            return
        close_stdin(self.server)
        try:
            await asyncio.wait_for(self.server.wait(), GRACE)
        except TimeoutError:
            self.server.kill()
            await self.server.wait()
        os.close(self.death)
        if self.reader is not None:
            await self.reader


def seats(python: str, folder: Path, *, fork: bool) -> Seats:
    """Forking only where it is proven safe: macOS aborts forked children that touch its frameworks, Windows has no fork."""
    return ForkSeats(python, folder) if fork and sys.platform == "linux" else SingleSeats(python)
