"""A head without anything below it: its host only sleeps, its git only says yes, its models answer in this process."""

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from orchestra.agents.base import AgentOutcome, AttemptOrder
from orchestra.agents.seat import AgentJob
from orchestra.conduct.checks.gating import open_gating
from orchestra.conduct.core.context import Run
from orchestra.conduct.loop.scheduler import Scheduler
from orchestra.conduct.planning.prd import emit_plan_made
from orchestra.conduct.session.open_run import open_run, reserve_files
from orchestra.conduct.session.preflight import Preflight
from orchestra.conduct.session.warmup import Warmup
from orchestra.events import Event
from orchestra.gates.environment import GateEnvironment
from orchestra.gates.run import GateOutcome
from orchestra.gateway.gateway import Gateway
from orchestra.hosts.base import AttemptResult, GateOrder, GatewayAccess, HostFacts, Supervisor, ignore_outcome
from orchestra.journal.bus import Subscription
from orchestra.model import Gate, Plan, TargetFile, Task
from orchestra.process import CommandResult
from orchestra.settings import Settings, load_settings
from orchestra.workspace.collect import Changes
from orchestra.workspace.git import Git
from orchestra.workspace.repository import Entry, Repository

MODEL = "openai/gpt-4o"
KEY = "sk-made-up-for-the-bench-0123456789"
BASE = "b" * 40
REPLY = {
    "id": "1",
    "object": "chat.completion",
    "model": "gpt-4o",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Done."}}],
    "usage": {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000},
}


@dataclass(frozen=True)
class YesGit(Git):
    """Git for which every commit is there, no branch is taken, nothing differs, and everything can be merged."""

    def at(self, folder: Path) -> Git:
        return YesGit(folder, self.extra)

    def with_env(self, **extra: str) -> Git:
        return YesGit(self.folder, {**self.extra, **extra})

    async def attempt(self, *arguments: str, input: bytes | None = None) -> tuple[int, bytes, bytes]:
        command, content = arguments[0], repr(arguments).encode() + (input or b"")
        if "fast-import" in arguments:  # it is asked for the name of each commit
            made = content.count(b"get-mark :1\n")
            return 0, "".join(f"{name_of(b'%d %b' % (n, content))}\n" for n in range(made)).encode(), b""
        if command in ("commit-tree", "merge-tree", "rev-parse"):
            return 0, name_of(content).encode(), b""
        return int(command == "show-ref"), b"git version 2.50.0" if command == "version" else b"", b""


def name_of(content: bytes) -> str:
    """As git names an object."""
    return hashlib.sha1(content).hexdigest()


@dataclass
class Desk:
    """Where attempts ask the model: the gateway's own application, without a socket."""

    client: httpx.AsyncClient

    async def ask(self, door: GatewayAccess, order: AttemptOrder) -> None:
        said = {"model": "gpt-4o", "messages": [{"role": "user", "content": order.brief}]}
        (await self.client.post(f"{door.url}/chat/completions", json=said)).raise_for_status()


@dataclass
class SleepingHost:
    """A host on which an attempt is a nap and one question to the model, and every gate passes."""

    seconds: float
    seen: list[tuple[AttemptOrder, GatewayAccess]] | None = None  # the orders that came, if they are kept
    desk: Desk | None = None
    at_work: int = 0
    offloads_gates: bool = False

    async def open(self) -> HostFacts:
        return HostFacts("sleeping")

    async def receive_commit(self, commit: str, pack: bytes) -> None:
        """There are no objects."""

    async def run_attempt(self, order: AttemptOrder, supervisor: Supervisor) -> AttemptResult:
        self.at_work += 1
        try:
            door = await supervisor.admit(f"/nowhere/{order.name}/tree")
            if self.seen is not None:
                self.seen.append((order, door))
            stopping = asyncio.create_task(supervisor.wait_for_stop())
            done, _ = await asyncio.wait({stopping}, timeout=self.seconds)
            stopping.cancel()
            if not done and self.desk:
                await self.desk.ask(door, order)
            end = "stopped" if done else "accepted"
            return result_of(order, end)
        finally:
            self.at_work -= 1

    async def describe_environment(self, check: GateOrder) -> GateEnvironment:
        return GateEnvironment(why_not="nothing runs on it")

    async def run_gates(
        self,
        check: GateOrder,
        started: Callable[[Gate], None],
        ended: Callable[[GateOutcome], Awaitable[None]] = ignore_outcome,
    ) -> Sequence[GateOutcome]:
        outcomes = []
        for gate in check.gates:
            started(gate)
            await asyncio.sleep(self.seconds)
            outcomes.append(
                GateOutcome(gate, CommandResult(0, self.seconds, timed_out=False), Path(f"{gate.name}.txt"))
            )
        return outcomes

    async def offload_gates(self, check: GateOrder, started: Callable[[Gate], None]) -> Sequence[GateOutcome]:
        return []

    async def close(self) -> None:
        """Nothing was opened."""


def result_of(order: AttemptOrder, end: str) -> AttemptResult:
    commit = name_of(f"{order.run} {order.name} {order.parent}".encode())
    return AttemptResult(AgentOutcome(end, replies=1, edited=order.files), Changes(own=order.files), commit, commit)


class NoSeats:
    """Agent processes of which none is ever started."""

    async def ready(self) -> None: ...

    async def run(self, job: AgentJob) -> AgentOutcome:
        raise AssertionError("the sleeping host starts no agent")

    async def close(self) -> None: ...


def settings_of(agents: int, **more: object) -> Settings:
    values = {"change": "Add a line to each file.", "model": MODEL, "agents": agents, "detect": False, "use_prd": False}
    return load_settings(values | more, [("environment", {"OPENAI_API_KEY": KEY})])


def plan_of(count: int, agents: int) -> Plan:
    """Each task changes a file of its own; every fourth needs the one before it."""
    tasks = (
        Task(
            id=number,
            title=f"Task {number}",
            files=(TargetFile(f"part{number // 50:03}/file{number:05}.py", 300),),
            brief="Add a line at the end of the file.",
            needs=(number - 1,) if number % 4 == 0 else (),
        )
        for number in range(1, count + 1)
    )
    return Plan(tuple(tasks), agents)


def answer(_: httpx.Request) -> httpx.Response:
    content = json.dumps(REPLY).encode()
    return httpx.Response(200, headers={"content-type": "application/json"}, stream=httpx.ByteStream(content))


@contextlib.asynccontextmanager
async def desk_of(gateway: Gateway) -> AsyncIterator[Desk]:
    """The gateway between two clients without a network: the agents' and its own."""
    await gateway.client.aclose()
    gateway.client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(gateway.handle_asgi), timeout=None) as client:
        yield Desk(client)


@contextlib.asynccontextmanager
async def opened_head(
    folder: Path, plan: Plan, host: SleepingHost, settings: Settings, hear: Callable[[Event], None]
) -> AsyncIterator[tuple[Run, Scheduler]]:
    """A run that is about to begin its tasks, with all that the product opens for one."""
    root, scratch = folder / "repository", folder / "scratch"
    for made in (root, scratch):
        made.mkdir()
    entries = {path: Entry(path, "100644", "0" * 40, 300) for path in plan.owners}
    repository = Repository(root, YesGit(root), "main", BASE, unborn=False, dirty=())
    warm = asyncio.ensure_future(asyncio.sleep(0, time.monotonic()))
    shop = Warmup(scratch, "", NoSeats(), True, warm)
    before = Preflight(settings, repository, entries, None)
    async with (
        open_run(before, shop, screens=[Subscription("The bench", hear)], host=host) as run,
        desk_of(run.services.gateway) as host.desk,
    ):
        emit_plan_made(run, plan)
        run.state.plan = plan
        await reserve_files(run)
        gating = await open_gating(run)
        yield run, Scheduler(run, gating, None)
