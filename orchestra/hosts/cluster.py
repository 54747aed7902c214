"""A cluster as a host: attempts run on its nodes; gates, models, money, refs and the journal stay at the head."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from orchestra.agents.base import AttemptOrder
from orchestra.errors import ClusterGone, HostLost, OrchestraError, SetUpFailed
from orchestra.gates.environment import GateEnvironment
from orchestra.gates.run import GateOutcome
from orchestra.hosts.base import AttemptResult, GateOrder, HostFacts, Supervisor, ignore_outcome
from orchestra.hosts.local import LocalHost
from orchestra.hosts.node_door import GatewayClient
from orchestra.hosts.node_messages import AttemptReply, NodeOrder
from orchestra.hosts.remote_node import CALL_SECONDS, START_SECONDS, Node, NodeLink, NodeOffer
from orchestra.judge.retry import machine_remedy
from orchestra.model import Gate
from orchestra.workspace.git import Git
from orchestra.workspace.packs import make_base_pack, unpack_objects

SCAN_SECONDS = 2.0  # between two looks at who is in the cluster
PATIENCE = 45.0  # seconds without a node after which the run gives up
LOSS_WINDOW = 600.0  # seconds in which a second loss leaves a node out
MOST_LOSSES = 2


class Cluster(Protocol):
    """Who is in the cluster, and how to reach them."""

    async def list_nodes(self) -> Sequence[NodeOffer]: ...

    async def start_worker(self, offer: NodeOffer) -> NodeLink: ...

    async def close(self) -> None: ...


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

    @property
    def offloads_gates(self) -> bool:
        return bool(self.nodes)

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

    async def offload_gates(self, check: GateOrder, started: Callable[[Gate], None]) -> Sequence[GateOutcome]:
        """Run gates on the node with the fewest orders. If it is lost, another one gets them, and then the head."""
        if not self.nodes or await self.local.needs_checkout(check.commit):
            return []
        for gate in check.gates:
            started(gate)
        for _ in range(MOST_LOSSES):
            nodes = [node for node in self.nodes.values() if not node.lost.done()]
            if not nodes:
                break
            node = min(nodes, key=lambda node: node.gate_orders)
            with contextlib.suppress(HostLost):
                return await self.run_gates_on(node, check)
        return []

    async def run_gates_on(self, node: Node, check: GateOrder) -> Sequence[GateOutcome]:
        """Run gates on a node. If it cannot even set up their worktree, nothing is known about the tree."""
        node.gate_orders += 1
        try:
            async with node.gate_lock:
                reply = await node.run_gates(check)
        finally:
            node.gate_orders -= 1
        if reply.is_machine:
            self.leave_out(node.offer, reply.error)
            node.lose(reply.error)
        outcomes = []
        for outcome, printed in zip(reply.outcomes, reply.printed, strict=True):
            # The head runs it again if it failed, and has the other file for that.
            name = check if outcome.passed else replace(check, label=f"{check.label}-{node.offer.name}")
            output = self.logs / name.output_name(outcome.gate)
            text = self.local.command_environment.scrub(printed)
            await asyncio.to_thread(output.write_text, f"(It ran on node {node.offer.name}.)\n{text}", "utf-8")
            outcomes.append(replace(outcome, output=output, host=node.offer.name))
        return outcomes

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
                node.start(node.serve())  # the pack of a large repository takes longer than the node's lease
                await node.send_pack(await self.pack_of_base())
                await node.call("start", seconds=START_SECONDS)
            self.nodes[offer.id] = node
            if not self.ready.done():
                self.ready.set_result(time.monotonic())
            self.tell(f"Node {offer.name} is ready, with {offer.slots} slots.")
            node.lost.add_done_callback(lambda lost: self.forget(node, lost.result()))
        except (OrchestraError, TimeoutError) as error:
            self.count_loss(offer, str(error).removesuffix(".") or "it did not get ready in time")
        finally:
            if node is not None and offer.id not in self.nodes:
                node.lose("it could not be opened")
                await node.close()
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
                (self.logs / name).write_text(content, "utf-8")
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
