"""What hostile replies cost the program: the longest stretch between two turns of the event loop, memory, siblings.

python -m bench.hostile [--only NAME ...] [--at-once 4] [--json]

The server is a process of its own; the gateway is in this one, as in a run. Beside the hostile replies well-behaved
agents ask one question after another. A stretch is CPU time, so that a busy machine does not lengthen it.
"""

import argparse
import asyncio
import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestra.gateway.billing import ClientPass, Exchange, Upstream
from orchestra.gateway.gateway import Gateway
from orchestra.gateway.lane import Limits
from tests.support.hostile import ATTACKS, ENDLESS, STREAMED, hostile_server
from tests.support.seating import Listener

ROW = "{:<14} {:>8} {:>12} {:>10} {:>9}  {}"
HEAD = ROW.format("reply", "seconds", "stretch ms", "more MiB", "siblings", "what became of it")
PATIENCE, ENDS = 3.0, 30.0  # seconds that one request may take: of what never ends by itself, and of what does
SIBLINGS = 4


@dataclass
class Result:
    name: str
    seconds: float
    stretch: float  # CPU seconds
    memory: float  # MiB above what it was before
    siblings: int  # replies that others have had meanwhile
    failures: list[str]


class Turns:
    """Measures each turn of the loop, by taking part in every one of them."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.going = True
        self.last = time.thread_time()
        asyncio.get_running_loop().call_soon(self.turn)

    def turn(self) -> None:
        now = time.thread_time()
        self.longest = max(self.longest, now - self.last)
        self.last = now
        if self.going:
            asyncio.get_running_loop().call_soon(self.turn)


def status(name: str) -> float:
    """MiB of this process: VmRSS now, VmHWM at most since the peak was reset. 0 where there is no /proc."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
    return 0.0


def forget_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


async def ask(gateway: Gateway, model: str, number: int) -> int:
    import httpx

    ticket = gateway.add_client(ClientPass("agent", number, 1))
    stream = {"stream": True} if model in STREAMED else {}
    body = {"model": model, "max_tokens": 16_000, "n": number, "messages": [{"role": "user", "content": "Hi"}]} | stream
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=120, verify=False) as http:
            url = f"{gateway.client_url(ticket, 'openai')}/chat/completions"
            async with http.stream("POST", url, json=body) as answer:
                with suppress(httpx.HTTPError):
                    async for _ in answer.aiter_raw():
                        pass
                return answer.status_code
    finally:
        gateway.remove_client(ticket)


async def measure(gateway: Gateway, heard: list[Exchange], name: str, at_once: int) -> Result:
    over, served = asyncio.Event(), 0

    async def sibling(number: int) -> None:
        nonlocal served
        for turn in range(1_000_000):
            served += await ask(gateway, f"good-{number}", number) == 200
            if over.is_set() and turn:
                return

    forget_peak()
    before, began, turns = status("VmRSS"), time.monotonic(), Turns()
    siblings = [asyncio.create_task(sibling(1000 + number)) for number in range(SIBLINGS)]
    await asyncio.gather(*(ask(gateway, name, number) for number in range(1, at_once + 1)))
    seconds = time.monotonic() - began
    over.set()
    await asyncio.gather(*siblings)
    turns.going = False
    peak = status("VmHWM")
    failures = sorted({f"{one.failure or 'taken'}: {one.message}" for one in heard if one.model == name})
    return Result(name, seconds, turns.longest, max(0.0, peak - before), served, failures)


async def measure_all(names: list[str], at_once: int) -> list[Result]:
    async with hostile_server() as base:
        route = {"openai": Upstream("openai", "openai", base, "sk-bench")}
        found = []
        for name in names:
            seconds = PATIENCE if name in ENDLESS else ENDS
            limits = Limits(longest=seconds, outage=seconds)
            listener = Listener()
            gateway = Gateway(route, listener, limits=limits)
            await gateway.start()
            await ask(gateway, "good", 0)  # warm
            found.append(await measure(gateway, listener.exchanges, name, at_once))
            await gateway.stop()
        return found


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.hostile", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(ATTACKS), default=list(ATTACKS), metavar="NAME")
    parser.add_argument("--at-once", type=int, default=4, metavar="N", help="hostile replies of one kind at a time")
    parser.add_argument("--json", action="store_true", help="for a program")
    asked = parser.parse_args(argv)
    found = asyncio.run(measure_all(asked.only, asked.at_once))
    if asked.json:
        print(json.dumps([asdict(one) for one in found]))
        return 0
    print(HEAD)
    for one in found:
        said = "; ".join(one.failures)[:90]
        figures = (f"{one.seconds:.1f}", f"{1000 * one.stretch:.0f}", f"{one.memory:.0f}", one.siblings)
        print(ROW.format(one.name, *figures, said))
    print(
        f"longest stretch between two turns of the loop: {1000 * max(one.stretch for one in found):.0f} ms of CPU time"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
