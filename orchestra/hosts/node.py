"""A node of a cluster at work for a run: a mirror of the repository, a warm Aider, and a door to the gateway.

It does what the head asks and calls nothing itself. If the head is silent for the time of its lease, it ends.
"""

import asyncio
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestra import __version__
from orchestra.agents.base import AttemptOrder
from orchestra.agents.seat import (
    AgentProcesses,
    check_version,
    find_aider_distribution,
    find_aider_python,
    make_agent_processes,
)
from orchestra.errors import GitFailed, OrchestraError, SetUpFailed, as_machine_trouble
from orchestra.gates.run import GateOutcome
from orchestra.hosts.base import AttemptResult, GateOrder, GatewayAccess
from orchestra.hosts.isolation import Isolation, check_sandbox
from orchestra.hosts.local import CommandEnvironment, LocalHost
from orchestra.hosts.node_door import NodeDoor
from orchestra.hosts.node_messages import (
    POLL,
    AdmissionRequest,
    AnswerPart,
    AttemptReply,
    GateReply,
    Message,
    NodeOrder,
    NodeVersions,
)
from orchestra.judge.retry import machine_remedy
from orchestra.process import base_environment, read_tail
from orchestra.settings import load_settings
from orchestra.workspace.git import check_git_version
from orchestra.workspace.packs import make_mirror, make_pack, store_pack
from orchestra.workspace.repository import Repository
from orchestra.workspace.scratch import NODE_PREFIX, make_scratch
from orchestra.workspace.trees import Trees

USED_FILE = "ORCHESTRA_NODE_USED_FILE"  # a variable: the file for the process id of what has worked for a run
LONGEST_OUTPUT = 1 << 20  # bytes of a command's output that are brought back


@dataclass(eq=False)
class NodeAttempt:
    """The node's side of one attempt: what the head says about it."""

    name: str
    post: Callable[[Message], None]
    admitted: "asyncio.Future[GatewayAccess]"
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    working: "asyncio.Task[AttemptResult] | None" = None

    async def admit(self, root: str) -> GatewayAccess:
        self.post(AdmissionRequest(self.name, root))
        return await self.admitted

    async def wait_for_stop(self) -> None:
        await self.stopping.wait()


@dataclass(eq=False)
class NodeSite:
    """What a node has opened for its run."""

    order: NodeOrder
    folder: Path
    lock: int
    repository: Repository
    agents: AgentProcesses
    host: LocalHost | None = None

    @property
    def pack(self) -> Path:
        return self.folder / "pack"

    @property
    def scratch(self) -> Path:
        """The folder of worktrees and agents. A sandbox covers it, so checkout and mirror are beside it."""
        return self.folder / "work"


class NodeWorker:
    """What the head can ask of a node. `end_process`: what ends it when the head is silent."""

    def __init__(self, end_process: Callable[[], None] | None = None) -> None:
        self.end_process = end_process or end_at_once
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.attempts: dict[str, NodeAttempt] = {}
        self.gate_runs: dict[str, asyncio.Task[Sequence[GateOutcome]]] = {}
        self.door = NodeDoor(self.messages.put_nowait)
        self.site: NodeSite | None = None
        self.heard = time.monotonic()
        self.watching: asyncio.Task[None] | None = None

    # --- begin and end

    async def prepare(self, order: NodeOrder) -> str:
        """Get ready for the objects of the base. Return in a sentence why this node cannot be used."""
        self.heard = time.monotonic()
        self.watching = asyncio.create_task(self.watch_lease(order.lease))
        try:
            check_git_version()
            python = find_aider_python(os.environ) if order.loads_aider else sys.executable
            if why := (await read_versions(python, loads_aider=order.loads_aider)).explain_difference(order.versions):
                return why
            if order.loads_aider:
                await check_version(python)
            await check_sandbox(load_settings({"sandbox": order.sandbox}, []))
            if missing := [name for name in order.programs if not shutil.which(name)]:
                return f"It has no command {missing[0]}: install it there."
            self.site = await self.make_site(order, python)
        except OrchestraError as error:
            return str(error)
        except OSError as error:
            return str(as_machine_trouble(error) or error)
        return ""

    async def make_site(self, order: NodeOrder, python: str) -> NodeSite:
        folder, lock = make_scratch(NODE_PREFIX)
        checkout = folder / "checkout"
        for name in (checkout, folder / "logs", folder / "work"):
            name.mkdir()
        for file in order.files:
            path = checkout / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
            path.chmod(file.mode)
        git = await make_mirror(folder / "mirror", order.object_format, order.git_config, order.extra, order.base)
        repository = Repository(checkout, git, "", order.base, unborn=False, dirty=())
        agents = make_agent_processes(python, folder / "work/server", fork=order.fork_server)
        return NodeSite(order, folder, lock, repository, agents)

    async def start(self) -> None:
        """Start the agents' process and the door, when the base's objects are here."""
        site = self.opened_site
        entries = await site.repository.entries()
        settings = load_settings({"sandbox": site.order.sandbox, "sandbox_net": site.order.sandbox_net}, [])
        reason = site.order.untrusted
        isolation = Isolation(settings, site.repository, entries.keys(), site.scratch, (), reason)
        environment = CommandEnvironment(site.repository, isolation, site.folder / "logs", command_environment, str)
        await self.door.server.start()
        if site.order.loads_aider:
            await site.agents.ready()
        site.host = LocalHost(environment, Trees(site.repository, site.scratch), site.agents, entries)

    @property
    def opened_site(self) -> NodeSite:
        assert self.site is not None, "the node was not prepared"
        return self.site

    async def close(self) -> None:
        """End all work, and remove what it used."""
        if self.watching is not None:
            self.watching.cancel()
        working = [*filter(None, (attempt.working for attempt in self.attempts.values())), *self.gate_runs.values()]
        for work in working:
            work.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        await self.door.server.stop()
        if self.site is None:
            return
        if self.site.host is not None:
            await self.site.host.close()
        await self.site.agents.close()
        await asyncio.to_thread(shutil.rmtree, self.site.folder, ignore_errors=True)
        os.close(self.site.lock)
        self.site = None

    async def watch_lease(self, lease: float) -> None:
        """End this process when the head is silent. Its agents end with it, by their pipes."""
        while True:
            left = self.heard + lease - time.monotonic()
            if left <= 0:
                break
            await asyncio.sleep(left)
        if self.site is not None:
            shutil.rmtree(self.site.folder, ignore_errors=True)
        self.end_process()

    # --- messages

    async def poll(self) -> list[Message]:
        """Return the messages for the head, or nothing after a while. That it asks keeps this node alive."""
        self.heard = time.monotonic()
        found: list[Message] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL):
                found.append(await self.messages.get())
        while not self.messages.empty():
            found.append(self.messages.get_nowait())
        return found

    async def answer(self, number: int, part: AnswerPart) -> None:
        self.door.answer(number, part)

    # --- git objects

    async def add_piece(self, piece: bytes) -> None:
        """Take a piece of a pack."""
        self.heard = time.monotonic()
        with self.opened_site.pack.open("ab") as file:
            file.write(piece)

    async def take_pack(self) -> None:
        """Store the objects of the pack whose pieces have come."""
        site = self.opened_site
        pack = await asyncio.to_thread(site.pack.read_bytes)
        site.pack.unlink()
        await store_pack(site.repository.git, pack)

    # --- attempts

    async def run_attempt(self, order: AttemptOrder) -> AttemptReply:
        site = self.opened_site
        assert site.host is not None, "the node was not started"
        note_use()
        attempt = NodeAttempt(order.name, self.messages.put_nowait, asyncio.get_running_loop().create_future())
        self.attempts[order.name] = attempt
        attempt.working = asyncio.create_task(site.host.run_attempt(order, attempt))
        try:
            result = await attempt.working
            commits = [result.commit, result.everything]
            pack = await make_pack(site.repository.git, commits, [order.base, order.parent])
            return AttemptReply(replace(result, pack=pack), outputs=self.read_outputs(order))
        except asyncio.CancelledError:
            return AttemptReply(error="it was cancelled")
        except SetUpFailed as error:
            return AttemptReply(
                error=error.detail, set_up=str(Path(error.output).name), outputs=self.read_outputs(order)
            )
        except (OrchestraError, OSError) as error:
            return AttemptReply(error=str(error), is_machine=is_fault_of_machine(error))
        finally:
            del self.attempts[order.name]

    def read_outputs(self, order: AttemptOrder) -> Mapping[str, str]:
        """Read what the set-up of an attempt has printed. The head has these files for an attempt of its own."""
        paths = self.opened_site.folder.glob(f"logs/setup_{order.name}_{order.run}.txt")
        return {path.name: read_output(path) for path in paths}

    async def admit(self, name: str, access: GatewayAccess) -> None:
        if (attempt := self.attempts.get(name)) and not attempt.admitted.done():
            attempt.admitted.set_result(self.door.translate(access))

    async def stop(self, name: str) -> None:
        """Stop an admitted agent; its attempt ends with what it has changed."""
        if attempt := self.attempts.get(name):
            attempt.stopping.set()

    async def cancel(self, name: str) -> None:
        """Cancel an attempt or an order of gates, of which nothing is wanted."""
        if running := self.gate_runs.get(name):
            running.cancel()
        if (attempt := self.attempts.get(name)) and attempt.working is not None:
            attempt.working.cancel()

    # --- gates

    async def run_gates(self, order: GateOrder) -> GateReply:
        site = self.opened_site
        assert site.host is not None, "the node was not started"
        if untrusted := (await site.host.open()).untrusted:
            return GateReply(error=untrusted)
        running = self.gate_runs[order.label] = asyncio.create_task(site.host.run_gates(order, lambda gate: None))
        try:
            outcomes = await running
            printed = tuple(read_output(outcome.output) for outcome in outcomes)
            return GateReply(tuple(replace(outcome, files=()) for outcome in outcomes), printed)
        except asyncio.CancelledError:
            return GateReply(error="they were cancelled")
        except (OrchestraError, OSError) as error:
            return GateReply(error=str(error), is_machine=is_fault_of_machine(error))
        finally:
            del self.gate_runs[order.label]


def note_use() -> None:
    """Tell `worker join --once` that this process works for a run."""
    if path := os.environ.get(USED_FILE):
        Path(path).write_text(str(os.getpid()), "utf-8")


def read_output(path: Path) -> str:
    """Read the end of a command's output; empty if the command has put something else in its place."""
    with contextlib.suppress(OSError):
        return read_tail(path, LONGEST_OUTPUT)
    return ""


def is_fault_of_machine(error: Exception) -> bool:
    return bool(as_machine_trouble(error) or (isinstance(error, GitFailed) and machine_remedy(str(error))))


def end_at_once() -> None:
    os._exit(1)


def command_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for the repository's commands: nothing with which they could reach the cluster."""
    kept = base_environment(environ)
    return {name: kept[name] for name in kept if not name.startswith("RAY_") and name != "PYTHONPATH"}


async def read_versions(python: str, *, loads_aider: bool = True) -> NodeVersions:
    """Read the versions of this machine. `python`: the interpreter that has Aider."""
    aider = " ".join(await find_aider_distribution(python)) if loads_aider else ""
    return NodeVersions(f"aider-orchestrator {__version__}", aider, "Python {}.{}".format(*sys.version_info[:2]))
