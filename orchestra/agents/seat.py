"""Run Aider: a warm fork server, or one process per attempt if forking is not safe. Same job, same outcome."""

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import shlex
import shutil
import signal
import site
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from orchestra.agents.aider_environment import AIDER_VERSION, HINT, REQUIREMENT, find_made_python
from orchestra.agents.base import ENDS, AgentOutcome
from orchestra.errors import AiderMissing
from orchestra.process import CHILD, GRACE, base_environment, close_stdin, run_command

PROGRAM = CHILD / "aider_seat.py"
# The distributions that bring the module `aider`, each in the version whose behaviour is known and pinned by tests.
KNOWN_AIDERS = {"aider-chat": AIDER_VERSION, "forgepair": "1.0.3"}
QUIET = {
    "PYTHONHASHSEED": "0",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "TOKENIZERS_PARALLELISM": "false",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "BROWSER": "true",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "GIT_OPTIONAL_LOCKS": "0",
    "TERM": "dumb",
    "NO_COLOR": "1",
}
OUTPUT = "agent.out"  # in the attempt's folder
# Aider asks git a few things. Git must run no program of the repository; ownership was checked before.
GIT = {"core.fsmonitor": "false", "core.hooksPath": os.devnull, "safe.directory": "*"}


@dataclass(frozen=True)
class AgentJob:
    """Everything that one Aider needs. `folder` is the attempt's own, for its home, output and outcome."""

    id: str
    cwd: Path
    folder: Path
    argv: tuple[str, ...]
    message: str
    env: Mapping[str, str]
    fallback: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        texts = {"id": self.id, "cwd": str(self.cwd), "message": self.message}
        files = {"output": str(self.output_file), "outcome": str(self.outcome_file)}
        return json.dumps({**texts, **files, "argv": self.argv, "env": dict(self.env), "fallback": dict(self.fallback)})

    @property
    def output_file(self) -> Path:
        return self.folder / OUTPUT

    @property
    def outcome_file(self) -> Path:
        return self.folder / "outcome.json"


def read_outcome_file(path: Path, code: int) -> AgentOutcome:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict) or record.get("end") not in ENDS:
        return AgentOutcome("crashed", code, failure=f"Aider ended without an outcome ({describe_exit(code)})")
    edited, refused, unparsed = (tuple(record.get(name, ())) for name in ("edited", "refused", "unparsed"))
    complaint, failure = record.get("complaint", ""), record.get("failure", "")
    return AgentOutcome(record["end"], code, record.get("replies", 0), edited, refused, complaint, failure, unparsed)


def describe_exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    known = -code in set(signal.Signals)
    return f"killed by {signal.Signals(-code).name if known else f'signal {-code}'}"


def find_aider_python(environ: Mapping[str, str]) -> str:
    """Find the interpreter that has aider: AIDER_BIN's, this one, that of the environment made for it, or the one
    behind `aider` on PATH."""
    if named := environ.get("AIDER_BIN", ""):
        command = shutil.which(named, path=environ.get("PATH"))
        if command is None:
            raise AiderMissing(f"AIDER_BIN is {named!r}, but there is no such command.", hint=HINT)
        return interpreter_of(Path(command))
    if importlib.util.find_spec("aider") is not None:
        return sys.executable
    if python := find_made_python(environ):
        return python
    if command := shutil.which("aider", path=environ.get("PATH")):
        return interpreter_of(Path(command))
    raise AiderMissing(hint=HINT)


def find_grammar_python(environ: Mapping[str, str]) -> str:
    """Find the interpreter for syntax checks: the one that has aider, as grammars come with it, or else this one."""
    try:
        return find_aider_python(environ)
    except AiderMissing:
        return sys.executable


async def find_aider_distribution(python: str) -> tuple[str, str]:
    """Return the interpreter's distribution of aider, and its version, without importing it; empty if it has none."""
    if python == sys.executable:
        for name in KNOWN_AIDERS:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                return name, importlib.metadata.version(name)
        return "", ""
    names = ",".join(KNOWN_AIDERS)
    program = (
        "import importlib.metadata as m\n"
        f"found = [d for d in map(lambda n: next(iter(m.distributions(name=n)), None), '{names}'.split(',')) if d]\n"
        "print(*(found[0].metadata['Name'], found[0].version) if found else ())"
    )
    child = await start_python(python, "-c", program, home=Path(os.devnull), stdout=subprocess.PIPE)
    name, _, version = (await child.communicate())[0].decode("utf-8", "replace").strip().partition(" ")
    return name.lower().replace("_", "-"), version


async def start_python(
    python: str, *arguments: str, home: Path, stdout: int = subprocess.DEVNULL, stderr: int = subprocess.DEVNULL
) -> asyncio.subprocess.Process:
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": stdout, "stderr": stderr}
    try:
        return await asyncio.create_subprocess_exec(python, *arguments, env=agent_environment(home), **streams)
    except OSError as error:
        raise AiderMissing(f"{python} cannot be started: {error.strerror}.", hint=HINT) from None


async def check_version(python: str) -> str:
    """Check the version, before anything is paid, and return it with the distribution's name. Whether it can be
    imported shows while the PRD is written."""
    name, version = await find_aider_distribution(python)
    hint = f"Install it: {python} -m pip install {REQUIREMENT}" if python == sys.executable else HINT
    if not version:
        raise AiderMissing(f"{python} has no aider-chat.", hint=hint)
    if version != KNOWN_AIDERS.get(name):
        raise AiderMissing(f"{python} has {name} {version}, but {KNOWN_AIDERS.get(name)} is needed.", hint=hint)
    return f"{name} {version}"


def interpreter_of(command: Path) -> str:
    """Return the Python in a script's first line; AIDER_BIN may also be a Python itself."""
    with command.open("rb") as file:
        first, second = (os.fsdecode(file.readline(4096)) for _ in range(2))
    if not first.startswith("#!"):
        return str(command)
    words = first[2:].split()
    path = words[-1] if words and words[0].endswith("env") else " ".join(words)
    if second.startswith("'''exec'"):
        # Installers write a path that is too long, or has a space in it, as a shell's second line.
        path = shlex.split(second)[1]
    found = shutil.which(path)
    if found is None or "python" not in Path(found).name:
        raise AiderMissing(f"{command} is not a Python program's script.", hint=HINT)
    return found


def agent_environment(home: Path) -> dict[str, str]:
    """Return the part of our environment that an agent may see: nothing that could hold a key or steer it."""
    kept = ("PATH", "TZ", "TMPDIR", "SYSTEMROOT", "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH")
    environment = {name: value for name, value in base_environment(os.environ).items() if name in kept}
    homes = dict.fromkeys(("HOME", "USERPROFILE", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), str(home))
    # Aider itself may be installed below the real home.
    return environment | QUIET | homes | git_config_variables(GIT) | {"PYTHONUSERBASE": site.getuserbase()}


def git_config_variables(config: Mapping[str, str]) -> dict[str, str]:
    """Return variables by which git in a child has this configuration."""
    variables = {"GIT_CONFIG_COUNT": str(len(config))}
    for number, (name, value) in enumerate(config.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


class AgentProcesses(Protocol):
    async def ready(self) -> None: ...
    async def run(self, job: AgentJob) -> AgentOutcome: ...
    async def close(self) -> None: ...


class SingleProcesses:
    """One Python process per attempt."""

    def __init__(self, python: str, folder: Path) -> None:
        self.python = python
        self.folder = folder
        self.checking: asyncio.Task[None] | None = None
        self.child: asyncio.subprocess.Process | None = None

    async def ready(self) -> None:
        if self.checking is None:
            self.checking = asyncio.create_task(self.check_import())
        await asyncio.shield(self.checking)

    async def check_import(self) -> None:
        arguments = (str(PROGRAM), "--check")
        self.child = check = await start_python(self.python, *arguments, home=self.folder, stderr=subprocess.PIPE)
        lines = (await check.communicate())[1].decode("utf-8", "replace").strip().splitlines()
        if check.returncode:
            why = lines[-1] if lines else "no reason given"
            raise AiderMissing(f"{self.python} cannot run aider: {why}.", hint=HINT)

    async def run(self, job: AgentJob) -> AgentOutcome:
        job_file = job.folder / "job.json"
        job_file.write_text(job.to_json(), encoding="utf-8")
        command = [self.python, str(PROGRAM), "--once", str(job_file)]
        ended = await run_command(command, cwd=job.cwd, env=job.env, output=job.output_file)
        return read_outcome_file(job.outcome_file, 128 - ended.code if ended.code > 128 else ended.code)

    async def close(self) -> None:
        if self.child is not None and self.child.returncode is None:
            self.child.kill()
        if self.checking is not None:
            await asyncio.gather(self.checking, return_exceptions=True)


class ForkServer:
    """A process that imports Aider once and forks a child per attempt; if it dies, each Aider is started by itself."""

    def __init__(self, python: str, folder: Path) -> None:
        self.python = python
        self.folder = folder
        self.single = SingleProcesses(python, folder)
        self.server: asyncio.subprocess.Process | None = None
        self.death_pipe = -1
        self.reader: asyncio.Task[None] | None = None
        self.starting: asyncio.Task[None] | None = None
        self.started: asyncio.Future[None] | None = None
        self.pids: dict[str, asyncio.Future[int]] = {}
        self.codes: dict[str, asyncio.Future[int]] = {}

    @property
    def is_serving(self) -> bool:
        return self.server is not None and self.server.returncode is None

    async def start(self) -> None:
        self.started = asyncio.get_running_loop().create_future()
        self.folder.mkdir(parents=True, exist_ok=True)
        read, self.death_pipe = os.pipe()
        try:
            with (self.folder / "server.out").open("ab") as sink:
                self.server = await asyncio.create_subprocess_exec(
                    *(self.python, str(PROGRAM), "--serve", str(read)),
                    cwd=self.folder,
                    env=agent_environment(self.folder),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=sink,
                    pass_fds=(read,),
                    start_new_session=True,
                )
            self.reader = asyncio.create_task(self.listen(self.server))
        except OSError:
            self.started.set_result(None)
        finally:
            os.close(read)

    async def ready(self) -> None:
        if self.starting is None:
            self.starting = asyncio.create_task(self.start())
        # If cancelled here, asyncio might wait forever for a process that it has half released.
        await asyncio.shield(self.starting)
        assert self.started is not None
        await asyncio.shield(self.started)
        if not self.is_serving:
            await self.single.ready()

    async def listen(self, server: asyncio.subprocess.Process) -> None:
        assert server.stdout is not None and self.started is not None
        async for line in server.stdout:
            answer = parse_server_line(line)
            if not answer:
                server.kill()
                break
            if "ready" in answer:
                self.started.set_result(None)
            elif "pid" in answer:
                self.pids[answer["id"]].set_result(answer["pid"])
            else:
                self.codes[answer["id"]].set_result(answer["code"])
        await server.wait()
        self.end_lost_jobs()

    def end_lost_jobs(self) -> None:
        """End the children of a server that is gone, because nothing else can."""
        for job, code in self.codes.items():
            self.signal_job(job, signal.SIGKILL)
            if not code.done():
                code.set_result(-signal.SIGKILL)
        self.close_death_pipe()
        if self.started is not None and not self.started.done():
            self.started.set_result(None)

    def close_death_pipe(self) -> None:
        """Close the pipe whose closing ends the server and all its children."""
        if self.death_pipe >= 0:
            os.close(self.death_pipe)
        self.death_pipe = -1

    def signal_job(self, job: str, signum: int) -> None:
        """Signal the attempt's group while it exists: afterwards its number may belong to another."""
        pid = self.pids[job]
        if pid.done() and not self.codes[job].done():
            for send in (os.killpg, os.kill):  # a child that was just forked has no group yet
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    return send(pid.result(), signum)

    async def run(self, job: AgentJob) -> AgentOutcome:
        await self.ready()
        if not self.is_serving:
            return await self.single.run(job)
        assert self.server is not None and self.server.stdin is not None
        loop = asyncio.get_running_loop()
        self.pids[job.id], code = loop.create_future(), loop.create_future()
        self.codes[job.id] = code
        self.server.stdin.write(job.to_json().encode() + b"\n")
        try:
            return read_outcome_file(job.outcome_file, await asyncio.shield(code))
        except asyncio.CancelledError:
            await self.end_job(job.id)
            raise

    async def end_job(self, job: str) -> None:
        """Send TERM to the attempt's group, and KILL after the grace time."""
        await asyncio.wait({self.pids[job]}, timeout=GRACE)
        for signum in (signal.SIGTERM, signal.SIGKILL):
            self.signal_job(job, signum)
            await asyncio.wait({self.codes[job]}, timeout=GRACE)

    async def close(self) -> None:
        """Let the server end by itself, as only it finds what its children left; closing the pipe ends the rest."""
        if self.starting is not None:
            await self.starting
        if self.server is not None and self.started is not None and self.started.done():
            close_stdin(self.server)
            await asyncio.wait({asyncio.ensure_future(self.server.wait())}, timeout=GRACE)
        self.close_death_pipe()
        if self.server is not None and self.is_serving:
            self.server.kill()
        if self.reader is not None:
            # Another process may hold the other end of its pipe; what it writes is ignored.
            await asyncio.wait({self.reader}, timeout=GRACE)
            self.reader.cancel()
        await self.single.close()


def parse_server_line(line: bytes) -> dict[str, Any]:
    """Parse a line of the server; empty if it is not ours: AIDER_BIN may name any program."""
    try:
        answer = json.loads(line)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def make_agent_processes(python: str, folder: Path, *, fork: bool) -> AgentProcesses:
    """Choose forking only where it is known to be safe: macOS aborts forked children that use its frameworks."""
    return ForkServer(python, folder) if fork and sys.platform == "linux" else SingleProcesses(python, folder)
