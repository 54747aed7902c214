"""The server for an hour, with a run every five minutes and callers that come and go: it does not grow."""

import asyncio
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.e2e.test_web_load import memory_mb
from tests.support.api import Api
from tests.support.dashboard import served
from tests.support.edits import appends
from tests.support.modelserver import ModelServer
from tests.support.runs import Place, make_place

SECONDS = int(os.environ.get("SOAK_SECONDS", "3600"))
EVERY = 300  # seconds between two runs
CALLERS = 20
FILES = {f"part{n}.py": f"value = {n}\n" for n in range(4)}
PATHS = (
    "/runs",
    "/health",
    "/agents",
    "/locks",
    "/dashboard/stats",
    "/tasks?scope=runs",
    "/interrupts",
    "/models",
    "/settings",
)


async def follow_latest(api: Api, end: float) -> None:
    """Follow the latest run for some seconds, leave, and come back."""
    while time.monotonic() < end:
        runs = await asyncio.to_thread(api.read, "/runs")
        if not runs:
            await asyncio.sleep(1)
            continue
        name = str(runs[0]["run"])
        async with connect(f"{api.base.replace('http', 'ws')}/ws", additional_headers=api.headers) as socket:
            await socket.send(json.dumps({"type": "subscribe", "run_id": name}))
            leave = min(end, time.monotonic() + 20)
            while time.monotonic() < leave:
                await asyncio.wait_for(socket.recv(), 30)
        await asyncio.to_thread(api.read, f"/runs/{name}")
        await asyncio.to_thread(api.read, f"/runs/{name}/timeline")


async def read_everything(api: Api, end: float) -> None:
    while time.monotonic() < end:
        for path in PATHS:
            answer = await asyncio.to_thread(api.send, "GET", path)
            assert answer.status_code == 200, f"{path}: {answer.text}"
        await asyncio.sleep(2)


async def begin_runs(place: Place, provider: ModelServer, end: float) -> int:
    runs = 0
    while time.monotonic() < end:
        ran = await asyncio.to_thread(
            place.run, "--change", f"Line {runs}", "--files", *FILES, "--no-prd", server=provider
        )
        assert ran.code == 0, ran.out + ran.err
        runs += 1
        await asyncio.sleep(max(0.0, min(EVERY, end - time.monotonic())))
    return runs


def size_of(pid: int) -> tuple[int, int, int]:
    """The open files, the threads and the memory in MB of a process."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task")), memory_mb(pid)


async def watch_size(pid: int, end: float) -> list[tuple[int, int, int]]:
    sizes = []
    while time.monotonic() < end:
        sizes.append(size_of(pid))
        await asyncio.sleep(max(1.0, min(10.0, SECONDS / 100)))
    return sizes


async def live_an_hour(
    api: Api, place: Place, provider: ModelServer, pid: int
) -> tuple[int, list[tuple[int, int, int]]]:
    end = time.monotonic() + SECONDS
    callers = [asyncio.create_task(follow_latest(api, end)) for _ in range(CALLERS)]
    reading, watching = asyncio.create_task(read_everything(api, end)), asyncio.create_task(watch_size(pid, end))
    runs = await begin_runs(place, provider, end)
    await asyncio.gather(reading, *callers)
    return runs, await watching


@pytest.mark.soak
def test_server_does_not_grow_in_an_hour(tmp_path: Path) -> None:
    """The figures are printed: `-s` shows them. SOAK_SECONDS shortens it."""
    place = make_place(tmp_path, FILES)
    counted = iter(range(10**9))

    def respond(request: Any) -> Any:
        return appends(f"more = {next(counted)}")(request)

    with ModelServer(respond) as provider, served(place, RATE_LIMIT_ENABLED="false") as (server, address):
        runs, sizes = asyncio.run(live_an_hour(Api(address), place, provider, server.pid))
    third = len(sizes) // 3
    middle, last = sizes[third : 2 * third], sizes[2 * third :]
    names = ("open files", "threads", "MB")
    medians = [[statistics.median(column) for column in zip(*part, strict=True)] for part in (middle, last)]
    told = ", ".join(f"{name} {a:g} then {b:g}" for name, a, b in zip(names, *medians, strict=True))
    print(f"{SECONDS} s, {runs} runs, {len(sizes)} looks; medians of the second and the last third: {told}")
    files, threads, memory = zip(*medians, strict=True)
    assert files[1] <= files[0] + 5 and threads[1] <= threads[0] + 2
    assert memory[1] <= memory[0] * 1.1 + 5
