"""Hosts as the contract test sees them: one with a real repository, Aider and a model server, and one that sleeps."""

import asyncio
import os
import pickle
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from bench.sleeping import SleepingHost
from orchestra.agents.base import AgentModel, AttemptOrder
from orchestra.agents.seat import find_aider_python, make_agent_processes
from orchestra.errors import HostLost, OrchestraError
from orchestra.gateway.billing import ClientPass
from orchestra.gateway.gateway import Gateway
from orchestra.hosts.base import GatewayAccess, Host
from orchestra.hosts.cluster import ClusterHost
from orchestra.hosts.isolation import Isolation
from orchestra.hosts.local import CommandEnvironment, LocalHost
from orchestra.hosts.node import NodeWorker, read_versions
from orchestra.hosts.node_door import GatewayClient
from orchestra.hosts.node_messages import NodeOrder
from orchestra.hosts.remote_node import NodeOffer
from orchestra.journal.jsonl import prepare_log_folder
from orchestra.providers import catalogue
from orchestra.settings import load_settings
from orchestra.workspace.repository import open_repository
from orchestra.workspace.trees import Trees
from tests.support import warm
from tests.support.edits import appends
from tests.support.load import NEVER
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.order_json import order_from_json, order_to_json
from tests.support.seating import MODELS, door, plant

FILES = {"a.py": "x = 1\n", "b.py": "y = 2\n", "c.py": "z = 3\n", "Makefile": "all:\n\ttrue\n"}


@dataclass
class Head:
    """The head's side of one attempt."""

    gateway: Gateway | None = None
    roots: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    admits: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def admit(self, root: str) -> GatewayAccess:
        self.roots.append(root)
        self.asked.set()
        await self.admits.wait()
        if self.gateway is None:
            return GatewayAccess("http://127.0.0.1:1/t/none/openai", "none")
        ticket = self.gateway.add_client(ClientPass("agent", 1, 1, root=root))
        self.tokens.append(ticket.token)
        return GatewayAccess(self.gateway.client_url(ticket, "openai"), ticket.token)

    async def wait_for_stop(self) -> None:
        await self.stopping.wait()


@dataclass
class Site:
    """A host that is at work. `at_work` is set when an agent has begun, `left` names what is left of attempts."""

    host: Host
    base: str
    head: Head
    at_work: asyncio.Event
    left: Callable[[], list[str]]
    root: Path = Path()
    stalls: Callable[[], None] = lambda: None

    def order(self, **more: object) -> AttemptOrder:
        """An order as it comes to another machine."""
        model = catalogue.resolve_model(MODELS["openai"])
        about = AgentModel(
            name=model.name,
            agent_name=model.aider_name,
            weak_name=model.aider_name,
            key_variable=model.provider.agent_key_var,
            base_variable=model.provider.agent_base_var,
            metadata={model.aider_name: catalogue.metadata_entry(model)},
            settings=catalogue.settings_entry(model, model.aider_name, 100),
        )
        message = "Add a line\n\nTask: 1\n"
        order = AttemptOrder(
            "20260101_000000", 1, 1, self.base, self.base, message, "Add a line.", about, files=("a.py",)
        )
        return order_from_json(order_to_json(replace(order, **more)))  # type: ignore[arg-type]


class Script:
    """What the model says: a line for each file of the chat. It tells that it was asked, and may never answer."""

    def __init__(self, at_work: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        self.at_work = at_work
        self.loop = loop
        self.latency: float | None = None
        self.first: Callable[[], None] = lambda: None

    def __call__(self, request: Request) -> Reply:
        self.first()
        self.loop.call_soon_threadsafe(self.at_work.set)
        return replace(appends("# done")(request), latency=self.latency)

    def stall(self) -> None:
        self.latency = NEVER


@dataclass
class LocalSite(Site):
    script: Script = field(kw_only=True)
    cluster: "InProcessCluster | None" = None
    told: list[str] = field(default_factory=list)


@dataclass
class InProcess:
    """The way to a node in this process: what crosses is pickled, as Ray does it."""

    worker: NodeWorker
    cut: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self, method: str, *arguments: Any) -> Any:
        calling = asyncio.ensure_future(getattr(self.worker, method)(*pickle.loads(pickle.dumps(arguments))))
        cutting = asyncio.ensure_future(self.cut.wait())
        await asyncio.wait({calling, cutting}, return_when=asyncio.FIRST_COMPLETED)
        cutting.cancel()
        if self.cut.is_set():
            raise HostLost("the wire was cut")
        try:
            return pickle.loads(pickle.dumps(calling.result()))
        except (OrchestraError, OSError) as error:
            raise HostLost(str(error)) from None

    async def end(self) -> None:
        await self.worker.close()


@dataclass
class InProcessCluster:
    """Nodes in this process."""

    names: list[str]
    links: list[InProcess] = field(default_factory=list)

    async def list_nodes(self) -> list[NodeOffer]:
        return [NodeOffer(name, name, 4) for name in self.names]

    async def start_worker(self, offer: NodeOffer) -> InProcess:
        self.links.append(InProcess(NodeWorker(lambda: None)))
        return self.links[-1]

    async def close(self) -> None: ...


@asynccontextmanager
async def node(folder: Path) -> AsyncIterator["LocalSite"]:
    """The same as the local host, but the attempts are a node's: another repository, reached by messages alone."""
    async with local(folder) as site:
        cluster, told = InProcessCluster(["one"]), list[str]()
        place = site.host.command_environment  # type: ignore[attr-defined]
        repository, python = place.repository, warm.aider()
        os.environ["AIDER_BIN"] = python
        order = NodeOrder(
            base=repository.base,
            object_format="sha1",
            git_config="",
            extra=repository.git.extra,
            versions=await read_versions(find_aider_python({"AIDER_BIN": python})),
            sandbox="off",
            sandbox_net="",
            untrusted="",
            fork_server=True,
            loads_aider=True,
        )
        assert site.head.gateway is not None
        client = GatewayClient(site.head.gateway.port)
        host = ClusterHost(cast(LocalHost, site.host), cluster, order, client, place.logs, told.append)
        host.start()

        def left() -> list[str]:
            folders = (link.worker.site.scratch for link in cluster.links if link.worker.site)
            return [str(path) for folder in folders for path in folder.glob("*/tree")]

        try:
            yield replace(site, host=host, left=left, cluster=cluster, told=told)
        finally:
            await host.close()
            del os.environ["AIDER_BIN"]


@asynccontextmanager
async def local(folder: Path) -> AsyncIterator[LocalSite]:
    root, at_work, scratch = folder / "repository", asyncio.Event(), folder / "scratch"
    root.mkdir()
    plant(root, FILES)
    repository = await open_repository(root)
    entries = await repository.entries()
    trees = Trees(repository, scratch)
    agents = make_agent_processes(find_aider_python({"AIDER_BIN": warm.aider()}), folder / "server", fork=True)
    isolation = Isolation(load_settings({"change": "x", "sandbox": "off"}, []), repository, entries.keys(), scratch, ())
    place = CommandEnvironment(repository, isolation, prepare_log_folder(root / ".aider_logs"), dict, str)
    host = LocalHost(place, trees, agents, entries)
    script = Script(at_work, asyncio.get_running_loop())

    def left() -> list[str]:
        return [str(path) for path in scratch.glob("*/tree")]

    with ModelServer(script) as server:
        async with door(server) as (gateway, _):
            try:
                yield LocalSite(host, repository.base, Head(gateway), at_work, left, root, script.stall, script=script)
            finally:
                await host.close()
                await agents.close()


@asynccontextmanager
async def sleeping(folder: Path) -> AsyncIterator[Site]:
    host, head = SleepingHost(0.0), Head()

    def stall() -> None:
        host.seconds = NEVER

    yield Site(host, "b" * 40, head, head.asked, lambda: ["an attempt"] * host.at_work, folder, stall)


HOSTS: dict[str, Callable[[Path], AbstractAsyncContextManager[Site]]] = {
    "local": local,
    "node": node,
    "sleeping": sleeping,
}
