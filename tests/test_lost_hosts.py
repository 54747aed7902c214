"""A host that is lost is no failed task: what was paid is given again, once, and nothing counts as a retry."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench.sleeping import SleepingHost, answer, opened_head, plan_of, settings_of
from orchestra.agents.base import AttemptOrder
from orchestra.conduct.core.context import Run
from orchestra.errors import ClusterGone, HostLost
from orchestra.events import AttemptEnded, Event, RequestEnded
from orchestra.gateway.billing import ClientPass
from orchestra.hosts.base import AttemptResult, Supervisor
from orchestra.model import TaskState, Verdict
from tests.support.edits import no_edits
from tests.support.load import within
from tests.support.modelserver import ModelServer
from tests.support.seating import SAY, client, door


@dataclass
class LosingHost(SleepingHost):
    """A host that is lost `losses` times per task, with a request in flight; the provider answers after the loss."""

    losses: int = 1
    lost: dict[int, int] = field(default_factory=dict)
    sent: int = 0
    in_flight: list[asyncio.Task[None]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def respond(self, request: httpx.Request) -> httpx.Response:
        self.sent += 1
        self.arrived.set()
        await self.released.wait()
        return answer(request)

    async def run_attempt(self, order: AttemptOrder, supervisor: Supervisor) -> AttemptResult:
        if self.lost.get(order.task, 0) >= self.losses:
            return await super().run_attempt(order, supervisor)
        self.lost[order.task] = self.lost.get(order.task, 0) + 1
        door = await supervisor.admit("/nowhere/tree")
        assert self.desk is not None
        self.in_flight.append(asyncio.create_task(self.desk.ask(door, order)))
        if self.lost[order.task] == 1:
            await self.arrived.wait()
        # The provider answers when the head has heard of the loss.
        asyncio.get_running_loop().call_later(0.05, self.released.set)
        raise HostLost("The node one was lost: it was silent.")


def play(folder: Path, host: LosingHost, tasks: int, **options: object) -> tuple[Run, list[Event]]:
    told: list[Event] = []

    async def played() -> Run:
        plan, chosen = plan_of(tasks, 1), settings_of(1, retries=0, **options)
        async with asyncio.timeout(within()), opened_head(folder, plan, host, chosen, told.append) as (run, scheduler):
            await run.services.gateway.client.aclose()
            run.services.gateway.client = httpx.AsyncClient(transport=httpx.MockTransport(host.respond))
            await scheduler.work()
            await asyncio.gather(*host.in_flight, return_exceptions=True)
            return run

    return asyncio.run(played()), told


def attempt_ends(told: list[Event]) -> list[tuple[int | None, str]]:
    return [(event.attempt, event.payload.verdict) for event in told if isinstance(event.payload, AttemptEnded)]


def test_lost_attempt_is_made_again_and_its_reply_is_paid_once(tmp_path: Path) -> None:
    host = LosingHost(0.0)
    run, told = play(tmp_path, host, 1)
    assert attempt_ends(told) == [(1, Verdict.CANCELLED), (2, Verdict.APPLIED)]
    asked = [event.payload for event in told if isinstance(event.payload, RequestEnded)]
    assert host.sent == 1 and [each.recalled for each in asked] == [False, True]
    assert sum(each.usage.requests for each in asked) == 1
    # What was paid is in the journal before the next attempt begins.
    kinds = [(event.kind, event.attempt) for event in told if event.attempt]
    assert kinds.index(("request", 1)) < kinds.index(("attempt_ended", 1)) < kinds.index(("attempt_started", 2))
    assert run.state.report.tasks[1].state in (TaskState.AWAITING_QA, TaskState.COMPLETE)


def test_task_that_loses_three_hosts_is_taken_for_the_cause(tmp_path: Path) -> None:
    host = LosingHost(0.0, losses=9)
    run, told = play(tmp_path, host, 1)
    assert attempt_ends(told) == [(1, Verdict.CANCELLED), (2, Verdict.CANCELLED), (3, Verdict.CRASHED)]
    assert host.sent == 1 and run.state.report.tasks[1].state == TaskState.FAILED


def test_lost_candidates_get_numbers_of_their_own(tmp_path: Path) -> None:
    host = LosingHost(0.0, losses=2)
    _, told = play(tmp_path, host, 1, agents_per_task=2)
    assert sorted(attempt_ends(told)) == [
        *((1, Verdict.CANCELLED), (2, Verdict.CANCELLED)),
        *((3, Verdict.APPLIED), (4, Verdict.APPLIED)),
    ]


class WatchedPasses(dict[str, ClientPass]):
    """The gateway's clients. `asked`: one was looked up, so that its request has begun to come."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    def get(self, token: str, default: object = None) -> ClientPass | None:  # type: ignore[override]
        self.asked.set()
        return super().get(token)


def test_request_whose_client_is_removed_while_it_comes_is_not_sent() -> None:
    async def scene() -> tuple[int, int]:
        with ModelServer(no_edits()) as server:
            async with door(server) as (gateway, _), client() as asking:
                passes = gateway.passes = WatchedPasses()
                ticket = gateway.add_client(ClientPass("agent", 1, 1))

                async def body() -> AsyncIterator[bytes]:
                    text = json.dumps(SAY).encode()
                    yield text[:9]
                    await passes.asked.wait()
                    gateway.remove_client(ticket)
                    yield text[9:]

                url = f"{gateway.client_url(ticket, 'openai')}/chat/completions"
                reply = await asking.post(url, content=body())
                return reply.status_code, server.count()

    assert asyncio.run(scene()) == (403, 0)


def test_cluster_without_nodes_ends_resumable(tmp_path: Path) -> None:
    class NoHost(LosingHost):
        async def run_attempt(self, order: AttemptOrder, supervisor: Supervisor) -> AttemptResult:
            raise ClusterGone("The cluster has had no node for this run for 45 s.")

    _, told = play(tmp_path, NoHost(0.0), 2)
    assert [verdict for _, verdict in attempt_ends(told)] == [Verdict.BUDGET] * 2
