"""Many callers of one server: those that do not read cost the others nothing, and get the current rows in the end."""

import asyncio
import json
import re
import resource
import statistics
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from orchestra.cli.find import KnownRun, RunIndex
from orchestra.events import Event, make_event
from tests.support.api import Api
from tests.support.dashboard import served
from tests.support.load import within
from tests.support.long_run import NAME, store_long_run
from tests.support.runs import make_place, read_proc
from tests.support.sample import SOAK

pytestmark = pytest.mark.thorough
CLIENTS, SECONDS = (1_000, 30) if SOAK else (100, 4)
SLUGGISH = CLIENTS // 10
TASKS, RATE = 100, 200  # events a second
HEAD = re.compile(rb'\{"type": ?"(\w+)", ?"run_id": ?"[^"]*", ?"seq": ?(\d+)')


def new_events(first: int) -> Iterator[Event]:
    """Yield events of now, each about another task."""
    for seq in count(first):
        asked = {"role": "agent", "provider": "p", "model": "m", "status": 200, "failure": "", "seconds": 0.01}
        data = asked | {"usage": {"requests": 1, "replies": 1, "input": 1, "output": 1}, "number": seq}
        yield make_event(NAME, seq, time.time_ns() // 1_000_000, "request", seq % TASKS + 1, 1, data)


def cpu_seconds(pid: int) -> float:
    fields = read_proc(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def memory_mb(pid: int) -> int:
    status = read_proc(Path(f"/proc/{pid}/status")).decode()
    return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmRSS"))


class Caller:
    """One connection with what it knows: the last number, and how late each message was (s) for its first event, of
    which `written` has the time."""

    def __init__(self, written: dict[int, float]) -> None:
        self.written = written
        self.seq, self.lags, self.messages = 0, list[float](), 0

    async def read(self, socket: ClientConnection, until: int) -> None:
        while self.seq < until:
            # Only the head is read: a thousand callers are one process here, and not to be what is measured.
            head = HEAD.match(await socket.recv(decode=False))
            if head and head[1] == b"rows":
                self.messages += 1
                self.lags.append(time.time() - self.written.get(self.seq + 1, time.time()))
            self.seq = max(self.seq, int(head[2]) if head else 0)


async def open_socket(api: Api, **options: Any) -> ClientConnection:
    address = f"{api.base.replace('http', 'ws')}/ws"
    socket = await connect(address, additional_headers=api.headers, open_timeout=within(60), **options)
    await socket.send(json.dumps({"type": "subscribe", "run_id": NAME}))
    return socket


async def load_server(api: Api, index: RunIndex, run: KnownRun, last: int, pid: int) -> tuple[list[Caller], float]:
    """Write events while all callers are there. Return them when each has the last event, and the server's seconds."""
    # A caller that does not read: its library stops at the first message that nobody takes.
    sluggish = [await open_socket(api, max_queue=1, ping_interval=None) for _ in range(SLUGGISH)]
    sockets = [await open_socket(api, ping_interval=None) for _ in range(CLIENTS - SLUGGISH)]
    written: dict[int, float] = {}
    callers, events, end = [Caller(written) for _ in range(CLIENTS)], new_events(last + 1), last + RATE * SECONDS
    readers = [
        asyncio.create_task(each.read(socket, end)) for each, socket in zip(callers[SLUGGISH:], sockets, strict=True)
    ]
    began, before = time.monotonic(), cpu_seconds(pid)
    for step in range(1, SECONDS * 10 + 1):
        page = [next(events) for _ in range(RATE // 10)]
        written |= {event.seq: event.time / 1000 for event in page}
        index.store.append_events(run.key, page)
        await asyncio.sleep(max(0.0, began + step / 10 - time.monotonic()))
    async with asyncio.timeout(within(120)):
        await asyncio.gather(*readers)
        used = cpu_seconds(pid) - before
        # Those that did not read do so now: they get the rows of now, and not all that they have missed. The server
        # may have given up one that has not answered its pings.
        late = [each.read(socket, end) for each, socket in zip(callers, sluggish, strict=False)]
        await asyncio.gather(*late, return_exceptions=True)
    for socket in (*sluggish, *sockets):
        socket.transport.abort()
    return callers, used


def test_callers_that_do_not_read_cost_the_others_nothing(tmp_path: Path) -> None:
    """The figures are printed: `-s` shows them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * CLIENTS)), hard))
    place, last = make_place(tmp_path, {"a.py": "a = 1\n"}), 20 * TASKS
    index, run = store_long_run(place, TASKS, last)
    assert index.store.acquire_run(run.key, run.name, "me", "elsewhere", 1, 3_600_000) is None
    with served(place, RATE_LIMIT_ENABLED="false") as (server, address):
        callers, used = asyncio.run(load_server(Api(address), index, run, last, server.pid))
        memory = memory_mb(server.pid)
        debug = Api(address).read("/debug/stream")
    index.store.close()
    quick = callers[SLUGGISH:]
    lags, messages = sorted(lag for each in quick for lag in each.lags), sum(each.messages for each in callers)
    assert all(each.seq == last + RATE * SECONDS for each in quick)
    done = [each for each in callers[:SLUGGISH] if each.seq == last + RATE * SECONDS]
    print(
        f"{CLIENTS} callers, {SLUGGISH} sluggish, of which {len(done)} have the last row; {messages} messages, "
        f"{used / messages * 1000:.3f} ms of CPU each; p50 {statistics.median(lags):.2f} s, "
        f"p95 {lags[int(len(lags) * 0.95)]:.2f} s; {memory} MB"
    )
    # What is kept for a caller is a set of tasks, whatever it has missed.
    assert all(stream["most"] <= TASKS for stream in debug["runs"])
    assert len(done) == SLUGGISH
    assert all(each.messages <= SECONDS * 4 + 5 for each in done)
    assert memory < 500
