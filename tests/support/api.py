"""The API for tests: a server in a process of its own, its answers, and a caller that follows a run by WebSocket."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.load import within


class Api:
    """The server at an address that `serve` printed."""

    def __init__(self, address: str) -> None:
        base, _, token = address.partition("/#t=")
        self.base, self.port = base, int(re.search(r":(\d+)$", base)[1])  # type: ignore[index]
        self.headers = {"Authorization": f"Bearer {token}"}

    def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        more: dict[str, Any] = {} if body is None else {"json": body}
        url = f"{self.base}/api/v1{path}"
        return httpx.request(method, url, headers=self.headers, timeout=within(60), **more)

    def read(self, path: str) -> Any:
        answer = self.send("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    @contextmanager
    def socket(self) -> Iterator[ClientConnection]:
        address = f"{self.base.replace('http', 'ws')}/ws"
        with connect(address, additional_headers=self.headers, open_timeout=within(60), max_size=None) as opened:
            yield opened


class Follower:
    """The state of a run as a caller knows it by its messages alone, over several connections."""

    def __init__(self, run: str) -> None:
        self.run, self.seq = run, 0
        self.rows: dict[int, dict[str, Any]] = {}
        self.row: dict[str, Any] = {}
        self.received = 0

    def subscribe(self, socket: ClientConnection) -> None:
        socket.send(json.dumps({"type": "subscribe", "run_id": self.run, "after": self.seq}))

    def take(self, text: str | bytes) -> dict[str, Any]:
        """Apply a message. A row is never older than the one that is known."""
        message: dict[str, Any] = json.loads(text)
        if message["type"] in ("snapshot", "rows"):
            for row in message["rows"]:
                assert row["seq"] >= self.rows.get(row["id"], row)["seq"]
                self.rows[row["id"]] = row
                self.received += 1
            assert message["seq"] >= self.seq
            self.seq, self.row = message["seq"], message["run"]
        return message

    def follow(self, socket: ClientConnection, *, until: Any, seconds: float = 60) -> None:
        """Take messages until a condition of this state holds."""
        deadline = time.monotonic() + within(seconds)
        while not until(self):
            assert time.monotonic() < deadline, f"not within {within(seconds):.0f} s; {self.row}"
            try:
                self.take(socket.recv(timeout=1))
            except TimeoutError:
                continue

    def read_until_closed(self, socket: ClientConnection) -> None:
        """Take what comes until the server is gone."""
        try:
            while True:
                self.take(socket.recv(timeout=within(30)))
        except (ConnectionClosed, TimeoutError):
            return
