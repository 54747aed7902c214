"""A node of a cluster, seen from the head: what it is asked, what it asks, and when it is lost."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestra.agents.base import AttemptOrder
from orchestra.errors import HostLost
from orchestra.hosts.base import GateOrder, Supervisor
from orchestra.hosts.node_door import GatewayClient
from orchestra.hosts.node_messages import (
    LEASE,
    PIECE,
    AdmissionRequest,
    AnswerPart,
    AttemptReply,
    GateReply,
    Message,
    ModelRequest,
)
from orchestra.workspace.git import Git
from orchestra.workspace.packs import make_pack

CALL_SECONDS = LEASE  # for an answer to a short call
START_SECONDS = 300.0  # for a node to load Aider
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
    gate_orders: int = 0
    gate_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
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
        try:
            reply: AttemptReply = await self.work("run_attempt", order, order.name, attempt.refused)
            return reply
        finally:
            attempt.refused.cancel()
            del self.attempts[order.name]
            if attempt.supervising is not None:
                attempt.supervising.cancel()

    async def run_gates(self, order: GateOrder) -> GateReply:
        await self.send_commits([order.commit])
        reply: GateReply = await self.work("run_gates", order, order.label)
        return reply

    async def work(self, method: str, order: object, name: str, *refusals: "asyncio.Future[None]") -> Any:
        """Let the worker carry out an order. If it is cancelled or refused here, it is cancelled there."""
        working = asyncio.ensure_future(self.link.call(method, order))
        working.add_done_callback(note_exception)
        try:
            await asyncio.wait({working, self.lost, *refusals}, return_when=asyncio.FIRST_COMPLETED)
            for refused in (each for each in refusals if each.done()):
                refused.result()
            if not working.done():
                raise HostLost(self.lost.result())
            return working.result()
        except HostLost as error:
            self.lose(error.detail)
            raise
        except BaseException:
            with contextlib.suppress(HostLost):
                await self.call("cancel", name)
                await asyncio.wait({working}, timeout=CALL_SECONDS)
            raise
        finally:
            working.cancel()

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


def note_exception(answer: "asyncio.Future[Any]") -> None:
    """Take note of an answer that is not awaited any more, so that asyncio does not report it."""
    if not answer.cancelled():
        answer.exception()
