"""The WebSocket: who may open it, and that it shows runs with the messages of the event stream."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession

from orchestra.web.access import Access
from orchestra.web.app import build_app
from orchestra.web.guard import Guard
from orchestra.web.live import MOST_TOASTS
from orchestra.web.repositories import Repositories
from orchestra.web.server import RunServer
from orchestra.web.sockets import Subscriber
from tests.test_web import HOST, OWNER, TOKEN, repositories

__all__ = ["repositories"]
MINE = OWNER | {"Host": HOST}  # the test client has a name of its own


@contextmanager
def client_of(repositories: Repositories) -> Iterator[TestClient]:
    guard = Guard(build_app(Unclosed(repositories)), Access(TOKEN, [HOST]))  # type: ignore[arg-type]
    with TestClient(guard, base_url=f"http://{HOST}") as client:
        yield client


class Unclosed:
    """The repositories of other tests too."""

    def __init__(self, repositories: Repositories) -> None:
        self.repositories = repositories

    def __getattr__(self, name: str) -> Any:
        return getattr(self.repositories, name)

    def close(self) -> None:
        """Nothing."""


def exchange(socket: WebSocketTestSession, message: Any, count: int) -> list[Any]:
    socket.send_text(message if isinstance(message, str) else json.dumps(message))
    return [socket.receive_json() for _ in range(count)]


def test_socket_shows_a_run_from_any_event_on(repositories: Repositories) -> None:
    run = repositories.find("latest")[1].name
    with client_of(repositories) as client, client.websocket_connect("/ws", headers=MINE) as socket:
        now = client.get(f"/api/v1/runs/{run}", headers=OWNER).json()["data"]
        told, snapshot = exchange(socket, {"type": "subscribe", "run_id": "latest"}, 2)
        assert told == {"type": "subscribed", "asked": "latest", "run_id": run}
        assert (snapshot["type"], snapshot["run_id"], snapshot["seq"]) == ("snapshot", run, now["run"]["seq"])
        assert (snapshot["rows"], snapshot["run"]) == (now["rows"], now["run"])
        again = {"type": "subscribe", "run_id": run, "after": snapshot["seq"]}
        assert exchange(socket, again, 2)[1]["rows"] == [], "nothing is told twice"
        assert exchange(socket, {"type": "unsubscribe", "run_id": run}, 0) == []
        [runs] = exchange(socket, {"type": "subscribe"}, 1)
        assert (runs["type"], runs["runs"][0]["run"]) == ("runs", run)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("x", "BAD_REQUEST"),
        ("[" * 5_000, "BAD_REQUEST"),
        ([1], "BAD_REQUEST"),
        ({"type": "explode"}, "BAD_REQUEST"),
        ({"type": "subscribe", "run_id": 1}, "BAD_REQUEST"),
        ({"type": "subscribe", "run_id": "never"}, "NOT_FOUND"),
    ],
)
def test_wrong_message_is_answered_and_the_socket_stays(repositories: Repositories, message: Any, code: str) -> None:
    with client_of(repositories) as client, client.websocket_connect("/api/v1/ws", headers=MINE) as socket:
        assert [each["code"] for each in exchange(socket, message, 1)] == [code]
        assert exchange(socket, {"type": "subscribe", "run_id": "latest"}, 2)[1]["type"] == "snapshot"


def test_other_orchestrators_clients_get_the_whole_list(repositories: Repositories) -> None:
    with client_of(repositories) as client, client.websocket_connect("/ws?compat=1", headers=MINE) as socket:
        update = exchange(socket, {"type": "subscribe", "run_id": "latest"}, 2)[1]
        assert update["type"] == "state_update" and [row["id"] for row in update["rows"]] == [1, 2]


def test_socket_wants_the_token_or_a_ticket_and_no_other_page(repositories: Repositories) -> None:
    with client_of(repositories) as client:

        def status(**headers: str) -> int:
            named = {"Host": HOST} | {name.replace("_", "-"): value for name, value in headers.items()}
            try:
                with client.websocket_connect("/ws", headers=named):
                    return 101
            except WebSocketDenialResponse as refused:
                assert refused.json()["error"]["requestId"] == refused.headers["x-request-id"]
                return refused.status_code

        def ticket(path: str) -> str:
            made = client.post("/api/v1/tickets", headers=OWNER, json={"path": path})
            return f"ao.v1, ticket.{made.json()['data']['ticket']}"

        mine, other = ticket("/ws"), ticket("/api/v1/runs")
        assert status() == status(Authorization="Bearer wrong") == 401
        assert status(Sec_WebSocket_Protocol="ao.v1, ticket.x") == 401
        assert status(Sec_WebSocket_Protocol=other) == 401, "the ticket is for another path"
        assert status(Origin="http://127.0.0.1:3000", **OWNER) == status(Sec_Fetch_Site="cross-site", **OWNER) == 403
        assert status(Host="evil.test", **OWNER) == 421
        page = {"Host": HOST, "Origin": f"http://{HOST}"}
        with client.websocket_connect("/ws", subprotocols=mine.split(", "), headers=page) as one:
            assert one.accepted_subprotocol == "ao.v1"
        assert status(Sec_WebSocket_Protocol=mine) == 401, "a ticket is used once"


def test_caller_that_does_not_read_gets_the_current_rows_when_it_does(repositories: Repositories) -> None:
    """Its part of the server's memory does not grow: a set of tasks, and some toasts."""
    index, run = repositories.find("latest")
    events = index.read_log(run).events
    planned = next(n for n, event in enumerate(events) if event.kind == "plan_made") + 1

    async def look() -> None:
        server, reads, has_last = RunServer(repositories), asyncio.Event(), asyncio.Event()
        sent: list[Any] = []

        async def send(text: str) -> None:
            sent.append(json.loads(text))
            if len(sent) > 2:
                await reads.wait()
            if sent[-1]["type"] == "rows" and sent[-1]["seq"] == events[-1].seq:
                has_last.set()

        live = server.live.get(index, run)
        live.read = lambda: []  # type: ignore[method-assign]  # the test feeds it
        live.apply(events[:planned], True)
        slow, fast = Subscriber(server, send), Subscriber(server, lambda text: asyncio.sleep(0))
        for each in (slow, fast):
            await each.handle(json.dumps({"type": "subscribe", "run_id": run.name}))
        sending = [asyncio.create_task(each.send_messages()) for each in (slow, fast)]
        for event in events[planned:]:
            for _ in range(20):
                live.apply([event], True)
            await asyncio.sleep(0)
        assert [message["type"] for message in sent] == ["subscribed", "snapshot", "rows"]
        _, viewer = slow.viewers[run.name]
        assert len(viewer.changed) <= 2 and len(viewer.toasts) <= MOST_TOASTS
        reads.set()
        await has_last.wait()
        assert [row["state"] for row in sent[-1]["rows"]] == ["complete", "complete"]
        assert len([message for message in sent if message["type"] == "rows"]) == 2
        assert {message["level"] for message in sent if message["type"] == "toast"} == {"info"}
        for task in sending:
            task.cancel()

    asyncio.run(look())
