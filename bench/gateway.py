"""What the gateway costs: latency, throughput and memory of requests through it and past it, on the same server.

python -m bench.gateway [--requests 1000] [--rounds 5] [--flight 300] [--memory 20000]

The server and the clients are processes of their own; the gateway is in this one, as in a run.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import memory
from orchestra.gateway.billing import ClientPass, Upstream
from orchestra.gateway.gateway import Gateway
from tests.support.seating import Listener

ROOT = Path(__file__).resolve().parents[1]
PROMPT = 12_000  # bytes, about what an agent with a small task sends
REPLY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * 2000}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3000, "completion_tokens": 500, "total_tokens": 3500},
}
ROW = "{:<22} {:>12} {:>12} {:>12}"


# --- the far end ----------------------------------------------------------------------------------------------------


async def serve() -> None:
    """As little as a server can do; `x-latency` is how long it thinks. GET tells how many were there at once."""
    said = json.dumps(REPLY).encode()
    state = {"now": 0, "peak": 0}

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if head.startswith(b"get"):
                    answer(writer, str(state["peak"]).encode())
                    continue
                await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r")[0]))
                state["now"] += 1
                state["peak"] = max(state["peak"], state["now"])
                await asyncio.sleep(float(head.split(b"x-latency: ")[1].split(b"\r")[0]))
                state["now"] -= 1
                answer(writer, said)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0, backlog=1024, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


def answer(writer: asyncio.StreamWriter, body: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)


async def ask(port: int, paths: list[str], requests: int, at_once: int, latency: float) -> list[float]:
    """The seconds of each request, from `at_once` connections that are kept; each path is asked at most ten times."""
    turns, seconds = iter(range(requests)), []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        for turn in turns:
            body = json.dumps({"model": "m", "n": turn, "messages": [{"role": "user", "content": "y" * PROMPT}]})
            head = f"POST {paths[turn % len(paths)]} HTTP/1.1\r\nhost: x\r\nx-latency: {latency}\r\n"
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            began = time.perf_counter()
            writer.write(head.encode() + body.encode())
            told = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in told[:20], told
            await reader.readexactly(int(told.lower().split(b"content-length: ")[1].split(b"\r")[0]))
            seconds.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(one() for _ in range(at_once)))
    return seconds


# --- the measurement ------------------------------------------------------------------------------------------------


@dataclass
class Bench:
    server: int
    gateway: Gateway

    async def ask(self, through: bool, requests: int, at_once: int, latency: float = 0.0) -> tuple[list[float], float]:
        """Seconds of each request, and of all of them."""
        tickets = [self.gateway.add_client(ClientPass("agent")) for _ in range(requests // 10 + 1)] if through else []
        paths = [f"/t/{ticket.token}/openai/chat/completions" for ticket in tickets] or ["/v1/chat/completions"]
        port = self.gateway.port if through else self.server
        words = ("client", str(port), str(requests), str(at_once), str(latency))
        process = await child(*words, stdin=asyncio.subprocess.PIPE)
        told, _ = await process.communicate(json.dumps(paths).encode())
        assert process.returncode == 0, "a request failed"
        for ticket in tickets:
            self.gateway.remove_client(ticket)
        found = json.loads(told)
        return found["seconds"], found["wall"]

    async def peak(self) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        told = await reader.readuntil(b"\r\n\r\n")
        found = await reader.readexactly(int(told.split(b"content-length: ")[1].split(b"\r")[0]))
        writer.close()
        return int(found)


async def child(*words: str, stdin: int | None = None) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "bench.gateway", *words)
    return await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdin=stdin, stdout=asyncio.subprocess.PIPE, limit=1 << 26
    )


@asynccontextmanager
async def opened() -> AsyncIterator[Bench]:
    server = await child("server")
    assert server.stdout is not None
    port = int(await server.stdout.readline())
    route = Upstream("openai", "openai", f"http://127.0.0.1:{port}/v1", "sk-bench")
    gateway = Gateway({"openai": route}, Listener())
    await gateway.start()
    try:
        yield Bench(port, gateway)
    finally:
        await gateway.stop()
        server.kill()
        await server.wait()


def milliseconds(seconds: list[float]) -> tuple[float, float]:
    """Median and 99th percentile."""
    return 1000 * statistics.median(seconds), 1000 * statistics.quantiles(seconds, n=100)[98]


async def measure(asked: argparse.Namespace) -> None:
    async with opened() as bench:
        await bench.ask(True, 200, 4)  # warm
        print(ROW.format("one after another", "median ms", "p99 ms", "per second"))
        medians: dict[bool, list[tuple[float, float, float]]] = {False: [], True: []}
        for _ in range(asked.rounds):
            for through, found in medians.items():
                seconds, wall = await bench.ask(through, asked.requests, 1)
                found.append((*milliseconds(seconds), len(seconds) / wall))
        for through, found in medians.items():
            tell("through the gateway" if through else "direct", found)
        (m0, p0, _), (m1, p1, _) = (column_medians(found) for found in medians.values())
        print(ROW.format("added", f"{m1 - m0:.2f}", f"{p1 - p0:.2f}", ""), "\n")
        print(ROW.format("sixteen at once", "median ms", "p99 ms", "per second"))
        for through in (False, True):
            seconds, wall = await bench.ask(through, 2 * asked.requests, 16)
            tell("through the gateway" if through else "direct", [(*milliseconds(seconds), len(seconds) / wall)])
        _, wall = await bench.ask(True, asked.flight, asked.flight, 8.0)
        print(f"\n{asked.flight} requests of 8 s each: {await bench.peak()} at once, done in {wall:.1f} s")
        await tell_memory(bench, asked.memory)


def column_medians(found: list[tuple[float, float, float]]) -> list[float]:
    return [statistics.median(column) for column in zip(*found, strict=True)]


def tell(name: str, found: list[tuple[float, float, float]]) -> None:
    median, p99, rate = column_medians(found)
    print(ROW.format(name, f"{median:.2f}", f"{p99:.2f}", f"{rate:.0f}"), flush=True)


async def tell_memory(bench: Bench, requests: int) -> None:
    sizes = []
    for _ in range(5):
        await bench.ask(True, requests // 5, 16)
        sizes.append(f"{memory('self')[1]:.0f}")
    print(f"private memory after each {requests // 5} of {requests} requests: {', '.join(sizes)} MiB")


def main(argv: list[str]) -> int:
    if argv[:1] == ["server"]:
        asyncio.run(serve())
    if argv[:1] == ["client"]:
        port, requests, at_once = map(int, argv[1:4])
        paths, began = json.load(sys.stdin), time.perf_counter()
        seconds = asyncio.run(ask(port, paths, requests, at_once, float(argv[4])))
        print(json.dumps({"seconds": seconds, "wall": time.perf_counter() - began}))
        return 0
    parser = argparse.ArgumentParser(prog="bench.gateway", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flight", type=int, default=300)
    parser.add_argument("--memory", type=int, default=20_000)
    asyncio.run(measure(parser.parse_args(argv)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
