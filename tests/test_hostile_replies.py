"""Replies that are made to do harm: too large, packed, endless, in pieces. The others go on, and the end is prompt."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestra.gateway.billing import ClientPass, Upstream
from orchestra.gateway.gateway import Gateway
from orchestra.gateway.lane import Limits
from tests.support.hostile import ATTACKS, ENDLESS, STREAMED, hostile_server
from tests.support.load import holds_soon, within
from tests.support.sample import SOAK
from tests.support.seating import Listener, client, door, is_final

ROOT = Path(__file__).resolve().parents[1]
MEMORY = 200  # MiB
STRETCH = 1.0  # seconds of CPU time
BECAME = {
    "giant": "garbage: the reply is larger than the 4 MB that it may have",
    "giant-error": "bad_request: xxxx",
    "bomb": "garbage: the reply is larger than the 4 MB that it may have",
    "cookies": "taken: ",
    "tiny-chunks": "garbage: the reply is larger than the 4 MB that it may have",
    "lists": "garbage: this is no reply as openai gives it: {",
    "depths": "garbage: this is no reply as openai gives it: [[[[",
    "words": "garbage: this is no reply as openai gives it: a a a",
    "largest": "taken: ",
    "stream-bomb": "garbage: the stream is too large",
    "events": "garbage: the stream is too large",
    "event": "garbage: an event of the stream is larger than 1 MB",
    "empty-events": "garbage: the stream is too large",
    "headers": "garbage: the headers of its answer are larger than 100 kB",
    "header-drip": "timeout: no whole answer in ",
    "body-drip": "timeout: no whole answer in ",
    "informational": "timeout: no whole answer in ",
}
QUICK = [name for name in BECAME if name not in ENDLESS]


def measured(names: list[str], at_once: int) -> list[dict[str, Any]]:
    """In a process of its own, whose memory is not that of the other tests."""
    command = [sys.executable, "-m", "bench.hostile", "--json", "--at-once", str(at_once), "--only", *names]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=within(300.0), check=True).stdout
    found: list[dict[str, Any]] = json.loads(told)
    return found


def check(found: list[dict[str, Any]]) -> None:
    for result in found:
        name = result["name"]
        assert {said[: len(BECAME[name])] for said in result["failures"]} == {BECAME[name]}, result
        assert result["siblings"] >= 2, result
        assert result["memory"] < MEMORY, result
        assert result["stretch"] < STRETCH, result


@pytest.mark.thorough
def test_replies_that_are_too_much_cost_neither_memory_nor_the_others_their_turn() -> None:
    assert BECAME.keys() == ATTACKS.keys()
    check(measured(QUICK, 2))


@pytest.mark.soak
@pytest.mark.parametrize("name", BECAME)
def test_many_replies_of_one_kind_at_once(name: str) -> None:
    check(measured([name], 8))


async def ask(gateway: Gateway, model: str) -> Any:
    ticket = gateway.add_client(ClientPass("agent", 1, 1))
    body: dict[str, Any] = {"model": model, "messages": []} | ({"stream": True} if model in STREAMED else {})
    async with client() as http:
        return await http.post(f"{gateway.client_url(ticket, 'openai')}/chat/completions", json=body, timeout=within())


ENDLESS_NAMES = list(ENDLESS) if SOAK else ["body-drip", "header-drip"]


@pytest.mark.thorough(but="body-drip")
@pytest.mark.parametrize("name", ENDLESS_NAMES)
def test_a_drip_holds_neither_its_lane_nor_its_money_longer_than_an_attempt_may_take(name: str) -> None:
    limits = Limits(longest=1.0)

    async def talk() -> None:
        async with (
            hostile_server() as base,
            door({"openai": Upstream("openai", "openai", base, "k")}, limits=limits) as (
                gateway,
                heard,
            ),
        ):
            assert is_final(await ask(gateway, name), "openai")
            [exchange] = heard
            assert exchange.failure == "timeout"
            assert (await ask(gateway, "good")).status_code == 200
            assert limits.lane_for("openai", name).pace.away == set() and limits.budget.run.reservations == set()

    asyncio.run(talk())


@pytest.mark.thorough
@pytest.mark.parametrize("name", ENDLESS_NAMES)
def test_drip_of_a_gone_agent_is_cut_off(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestra.gateway.gateway.ABANDONED_SECONDS", 0.5)

    async def talk() -> None:
        async with (
            hostile_server() as base,
            door({"openai": Upstream("openai", "openai", base, "k")}) as (gateway, heard),
        ):
            asking = asyncio.create_task(ask(gateway, name))
            assert await asyncio.to_thread(holds_soon, lambda: any(one.deadline for one in gateway.asks))
            for ticket in list(gateway.passes.values()):
                gateway.remove_client(ticket)
            assert is_final(await asking, "openai")
            assert heard[0].failure == "timeout"

    asyncio.run(talk())


@pytest.mark.thorough(but="giant")
@pytest.mark.parametrize("name", [*ENDLESS_NAMES, "giant", "events", "lists"])
def test_stopping_does_not_wait_for_a_reply_that_is_on_its_way(name: str) -> None:
    async def talk() -> None:
        async with hostile_server() as base:
            gateway = Gateway({"openai": Upstream("openai", "openai", base, "k")}, Listener())
            await gateway.start()
            asking = [asyncio.create_task(ask(gateway, name)) for _ in range(3)]
            async with asyncio.timeout(within()):
                # Look at every turn of the loop, because the reply may be refused soon.
                while not any(one.sent for one in gateway.asks):  # noqa: ASYNC110
                    await asyncio.sleep(0)
                await gateway.stop()
            await asyncio.gather(*asking, return_exceptions=True)

    asyncio.run(talk())


@pytest.mark.parametrize("packing", ["gzip, gzip", "br", "zstd", "deflate", "x" * 300])
def test_a_reply_that_is_packed_otherwise_than_asked_is_no_reply(packing: str) -> None:
    from tests.support.modelserver import ModelServer, Reply

    async def talk(server: ModelServer) -> None:
        routes = {"openai": Upstream("openai", "openai", server.openai_base, "k")}
        async with door(routes) as (gateway, heard):
            assert is_final(await ask(gateway, "m"), "openai")
            assert heard[0].failure == "garbage" and "has an encoding that was not requested" in heard[0].message

    with ModelServer(lambda request: Reply("Hi", headers={"content-encoding": packing})) as server:
        asyncio.run(talk(server))
        assert {request.headers["accept-encoding"] for request in server.requests} == {"gzip"}


def test_cookies_of_a_provider_are_not_kept() -> None:
    from tests.support.modelserver import ModelServer, Reply

    async def talk(server: ModelServer) -> None:
        routes = {"openai": Upstream("openai", "openai", server.openai_base, "k")}
        async with door(routes) as (gateway, _):
            for model in ("a", "b"):
                assert (await ask(gateway, model)).status_code == 200

    with ModelServer(lambda request: Reply("Hi", headers={"set-cookie": "who=agent1; Path=/"})) as server:
        asyncio.run(talk(server))
        assert [request.headers.get("cookie") for request in server.requests] == [None, None]
