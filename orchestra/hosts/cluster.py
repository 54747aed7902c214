"""A cluster as a host: attempts run on its nodes; gates, models, money, refs and the journal stay at the head."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from orchestra.agents.base import AttemptOrder
from orchestra.errors import ClusterGone, HostLost, OrchestraError, SetUpFailed
from orchestra.gates.environment import GateEnvironment
from orchestra.gates.run import GateOutcome
from orchestra.hosts.base import AttemptResult, GateOrder, HostFacts, Supervisor, ignore_outcome
from orchestra.hosts.local import LocalHost
from orchestra.hosts.node_door import GatewayClient
from orchestra.hosts.node_messages import (
    LEASE,
    PIECE,
    AdmissionRequest,
    AnswerPart,
    AttemptReply,
    Message,
    ModelRequest,
    NodeOrder,
)
from orchestra.judge.retry import machine_remedy
from orchestra.model import Gate
from orchestra.workspace.git import Git
from orchestra.workspace.packs import make_base_pack, make_pack, unpack_objects

SCAN_SECONDS = 2.0  # between two looks at who is in the cluster
CALL_SECONDS = LEASE  # for an answer to a short call
START_SECONDS = 300.0  # for a node to load Aider
PATIENCE = 45.0  # seconds without a node after which the run gives up
LOSS_WINDOW = 600.0  # seconds in which a second loss leaves a node out
MOST_LOSSES = 2
MOST_NAMED = 100  # commits that a node has


@dataclass(frozen=True)
class NodeOffer:
    """A node that is in the cluster now."""

    id: str
    name: str
    slots: int


class NodeLink(Protocol):
    """The way to the worker on one node. Every failure of a call is a HostLost with the reason."""

    async def call(self, method: str, *arguments: Any) -> Any: ...

    async def end(self) -> None:
        """End the worker's process."""


class Cluster(Protocol):
    """Who is in the cluster, and how to reach them."""

    async def list_nodes(self) -> Sequence[NodeOffer]: ...

    async def start_worker(self, offer: NodeOffer) -> NodeLink: ...

    async def close(self) -> None: ...


@dataclass(eq=False)
class RemoteAttempt:
    """The head's side of one attempt on a node. `refused`: what kept its agent from being admitted."""

    supervisor: Supervisor
    refused: "asyncio.Future[None]"
    supervising: "asyncio.Task[None] | None" = None


@dataclass(eq=False)
class Node:
    """A node at work for this run, seen from the head. `known`: commits that it has."""

    offer: NodeOffer
    link: NodeLink
    git: Git
    gateway: GatewayClient
    known: dict[str, None]
    lost: "asyncio.Future[str]"
    attempts: dict[str, RemoteAttempt] = field(default_factory=dict)
    at_work: int = 0
    sending: asyncio.Lock = field(default_factory=asyncio.Lock)
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def named_commits(self) -> list[str]:
        """The commits that git is told of: more of them would not make packs much smaller."""
        known = list(self.known)
        return [*known[:1], *known[1:][-MOST_NAMED:]]

    @property
    def is_free(self) -> bool:
        return self.at_work < self.offer.slots and not self.lost.done()

    def lose(self, why: str) -> None:
        if not self.lost.done():
            self.lost.set_result(why)

    async def call(self, method: str, *arguments: Any, seconds: float = CALL_SECONDS) -> Any:
        """Call the worker. A node that fails or is silent is lost."""
        try:
            async with asyncio.timeout(seconds):
                return await self.link.call(method, *arguments)
        except TimeoutError:
            self.lose(f"it was silent for {seconds:.0f} s")
        except HostLost as error:
            self.lose(error.detail)
        raise HostLost(self.lost.result())

    # --- what the node asks

    async def serve(self) -> None:
        """Fetch the node's messages until it is lost."""
        with contextlib.suppress(HostLost):
            while True:
                for message in await self.call("poll"):
                    self.take_message(message)

    def take_message(self, message: Message) -> None:
        match message:
            case ModelRequest():
                self.start(self.gateway.forward(message, self.answerer(message.number)))
            case AdmissionRequest(name, root) if (attempt := self.attempts.get(name)) and not attempt.supervising:
                attempt.supervising = self.start(self.supervise(name, attempt, root))

    def start(self, work: Any) -> "asyncio.Task[None]":
        async def ignore_loss() -> None:
            with contextlib.suppress(HostLost):
                await work

        task = asyncio.create_task(ignore_loss())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def answerer(self, number: int) -> Callable[[AnswerPart], Any]:
        async def answer(part: AnswerPart) -> None:
            await self.call("answer", number, part)

        return answer

    async def supervise(self, name: str, attempt: RemoteAttempt, root: str) -> None:
        try:
            access = await attempt.supervisor.admit(root)
        except Exception as error:
            return attempt.refused.set_exception(error)
        await self.call("admit", name, access)
        await attempt.supervisor.wait_for_stop()
        await self.call("stop", name)

    # --- what the head asks

    async def send_commits(self, commits: Sequence[str]) -> None:
        async with self.sending:
            missing = [commit for commit in commits if commit not in self.known]
            if pack := await make_pack(self.git, missing, self.named_commits):
                await self.send_pack(pack)
            self.known |= dict.fromkeys(missing)

    async def send_pack(self, pack: bytes) -> None:
        for begin in range(0, len(pack), PIECE):
            await self.call("add_piece", pack[begin : begin + PIECE])
        await self.call("take_pack", seconds=START_SECONDS)

    async def run_attempt(self, order: AttemptOrder, supervisor: Supervisor) -> AttemptReply:
        await self.send_commits([order.base, order.parent])
        attempt = RemoteAttempt(supervisor, asyncio.get_running_loop().create_future())
        self.attempts[order.name] = attempt
        working = asyncio.ensure_future(self.link.call("run_attempt", order))
        working.add_done_callback(note_exception)
        try:
            await asyncio.wait({working, self.lost, attempt.refused}, return_when=asyncio.FIRST_COMPLETED)
            if attempt.refused.done():
                attempt.refused.result()
            if not working.done():
                raise HostLost(self.lost.result())
            reply: AttemptReply = working.result()
            return reply
        except HostLost as error:
            self.lose(error.detail)
            raise
        except BaseException:
            with contextlib.suppress(HostLost):
                await self.call("cancel", order.name)
                await asyncio.wait({working}, timeout=CALL_SECONDS)
            raise
        finally:
            working.cancel()
            attempt.refused.cancel()
            del self.attempts[order.name]
            if attempt.supervising is not None:
                attempt.supervising.cancel()

    async def close(self) -> None:
        """End the worker, and everything that waits for it."""
        with contextlib.suppress(HostLost):
            if not self.lost.done():
                await self.call("close")
        self.lose("the run has ended")
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.link.end()


@dataclass(eq=False)
class ClusterHost:
    """`local`: this machine, for gates. `tell`: gets sentences for the user about nodes.

    `ready`: when the first node could begin, on the clock of time.monotonic.
    """

    local: LocalHost
    cluster: Cluster
    order: NodeOrder
    gateway: GatewayClient
    logs: Path
    tell: Callable[[str], None]
    nodes: dict[str, Node] = field(default_factory=dict)
    opening: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    losses: dict[str, list[float]] = field(default_factory=dict)
    endings: list["asyncio.Task[None]"] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    last_node: float = field(default_factory=time.monotonic)
    base_pack: "asyncio.Future[bytes] | None" = None
    scanning: "asyncio.Task[None] | None" = None
    closed: bool = False
    ready: "asyncio.Future[float]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def git(self) -> Git:
        return self.local.command_environment.repository.git

    def start(self) -> None:
        """Begin to take nodes, while the head makes its plan."""
        self.scanning = asyncio.create_task(self.scan())

    async def open(self) -> HostFacts:
        return await self.local.open()

    async def describe_environment(self, check: GateOrder) -> GateEnvironment:
        return await self.local.describe_environment(check)

    async def run_gates(
        self,
        check: GateOrder,
        started: Callable[[Gate], None],
        ended: Callable[[GateOutcome], Awaitable[None]] = ignore_outcome,
    ) -> Sequence[GateOutcome]:
        return await self.local.run_gates(check, started, ended)

    async def receive_commit(self, commit: str, pack: bytes) -> None:
        """Do nothing: a result is unpacked before it is handed on, and a node gets what an order needs with it."""

    async def close(self) -> None:
        self.closed = True
        if self.scanning is not None:
            self.scanning.cancel()
            await asyncio.gather(self.scanning, return_exceptions=True)
        for opening in self.opening.values():
            opening.cancel()
        await asyncio.gather(*self.opening.values(), return_exceptions=True)
        await asyncio.gather(*(node.close() for node in self.nodes.values()), *self.endings, return_exceptions=True)
        await self.gateway.close()
        await self.local.close()

    # --- nodes

    async def scan(self) -> None:
        """Take nodes as they come."""
        while True:
            with contextlib.suppress(HostLost, TimeoutError):
                async with asyncio.timeout(CALL_SECONDS):
                    for offer in await self.cluster.list_nodes():
                        if not ({offer.id} & (self.nodes.keys() | self.opening.keys() | self.left_out)):
                            self.opening[offer.id] = asyncio.create_task(self.open_node(offer))
            await asyncio.sleep(SCAN_SECONDS)

    async def open_node(self, offer: NodeOffer) -> None:
        node = None
        try:
            async with asyncio.timeout(START_SECONDS):
                link = await self.cluster.start_worker(offer)
                lost = asyncio.get_running_loop().create_future()
                node = Node(offer, link, self.git, self.gateway, {self.order.base: None}, lost)
                if problem := await node.call("prepare", self.order, seconds=START_SECONDS):
                    return self.leave_out(offer, problem)
                await node.send_pack(await self.pack_of_base())
                await node.call("start", seconds=START_SECONDS)
            self.nodes[offer.id] = node
            if not self.ready.done():
                self.ready.set_result(time.monotonic())
            self.tell(f"Node {offer.name} is ready, with {offer.slots} slots.")
            node.start(node.serve())
            node.lost.add_done_callback(lambda lost: self.forget(node, lost.result()))
        except (OrchestraError, TimeoutError) as error:
            self.count_loss(offer, str(error).removesuffix(".") or "it did not get ready in time")
        finally:
            if node is not None and offer.id not in self.nodes:
                await node.link.end()
            del self.opening[offer.id]
            self.wake()

    async def pack_of_base(self) -> bytes:
        if self.base_pack is None:
            self.base_pack = asyncio.ensure_future(make_base_pack(self.git, self.order.base))
        return await asyncio.shield(self.base_pack)

    def forget(self, node: Node, why: str) -> None:
        """Forget a node that is lost. What was at work there has been told by the same future."""
        self.last_node = time.monotonic()
        del self.nodes[node.offer.id]
        self.wake()
        if not self.closed:
            self.count_loss(node.offer, why)
            self.endings.append(node.start(node.link.end()))

    def count_loss(self, offer: NodeOffer, why: str) -> None:
        now = time.monotonic()
        recent = [moment for moment in self.losses.get(offer.id, []) if moment > now - LOSS_WINDOW]
        self.losses[offer.id] = [*recent, now]
        if machine_remedy(why) or len(recent) + 1 >= MOST_LOSSES:
            self.leave_out(offer, why)
        else:
            self.tell(f"Node {offer.name} was lost: {why}.")

    def leave_out(self, offer: NodeOffer, why: str) -> None:
        if offer.id not in self.left_out:
            self.left_out.add(offer.id)
            self.tell(f"Node {offer.name} is left out: {why.removesuffix('.')}.")

    def wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def take_node(self) -> Node:
        """Take a slot of the node with the most free ones. Raise ClusterGone if there has been none for too long."""
        while True:
            free = [node for node in self.nodes.values() if node.is_free]
            if free:
                node = max(free, key=lambda node: node.offer.slots - node.at_work)
                node.at_work += 1
                return node
            if not (self.nodes or self.opening) and time.monotonic() - self.last_node > PATIENCE:
                left_out = f"; {len(self.left_out)} are left out" if self.left_out else ""
                raise ClusterGone(f"The cluster has had no node for this run for {PATIENCE:.0f} s{left_out}.")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self.changed.wait()

    # --- attempts

    async def run_attempt(self, order: AttemptOrder, supervisor: Supervisor) -> AttemptResult:
        node = await self.take_node()
        try:
            reply = await node.run_attempt(order, supervisor)
        except HostLost as error:
            raise HostLost(f"The node {node.offer.name} was lost: {error.detail}.") from None
        finally:
            node.at_work -= 1
            self.wake()
        return await self.take_reply(node, reply)

    async def take_reply(self, node: Node, reply: AttemptReply) -> AttemptResult:
        for name, content in reply.outputs.items():
            if Path(name).name == name:
                (self.logs / name).write_bytes(content)
        if reply.result is None and reply.set_up is not None:
            output = str(self.logs / Path(reply.set_up).name)
            raise SetUpFailed(f"on node {node.offer.name}, {reply.error}", output)
        crashed = reply.result.outcome.failure if reply.result and reply.result.outcome.end == "crashed" else ""
        if reply.is_machine or machine_remedy(crashed):
            self.leave_out(node.offer, reply.error or crashed)
            node.lose(reply.error or crashed)
            raise HostLost(f"The node {node.offer.name} cannot work: {(reply.error or crashed).removesuffix('.')}.")
        if reply.result is None:
            raise OrchestraError(f"on node {node.offer.name}, {reply.error}")
        await unpack_objects(self.git, reply.result.pack)
        node.known |= dict.fromkeys(filter(None, (reply.result.commit, reply.result.everything)))
        return replace(reply.result, pack=b"")


def note_exception(answer: "asyncio.Future[Any]") -> None:
    """Take note of an answer that is not awaited any more, so that asyncio does not report it."""
    if not answer.cancelled():
        answer.exception()
