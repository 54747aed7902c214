"""A model server that means harm, in a process of its own: each model that it serves is another kind of bad answer.

python -m tests.support.hostile      prints its port, and serves until its stdin is closed

A model that it does not know is answered well.
"""

import asyncio
import json
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OK = b"HTTP/1.1 200 OK\r\n"
JSON = OK + b"content-type: application/json\r\n"
EVENTS = OK + b"content-type: text/event-stream\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
GIGABYTE = 1 << 30
BLOCK = b"x" * (1 << 16)
CALM = 0.02
USAGE = b'"usage": {"prompt_tokens": 10, "completion_tokens": 5}'
HEAD = b'{"choices": [{"message": {"role": "assistant", "content": "'
TAIL = b'"}, "finish_reason": "stop"}], ' + USAGE + b"}"
GOOD = HEAD + b"Hello there" + TAIL
CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "word"}}]}\n\n'
Attack = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def send(writer: asyncio.StreamWriter, *pieces: bytes) -> None:
    for piece in pieces:
        writer.write(piece)
    await writer.drain()


def of_length(body: bytes, head: bytes = JSON) -> bytes:
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def good(writer: asyncio.StreamWriter) -> None:
    await send(writer, of_length(GOOD))


async def giant(writer: asyncio.StreamWriter) -> None:
    """A gigabyte of a text that would be a good reply."""
    await send(writer, JSON, b"content-length: %d\r\n\r\n" % (len(HEAD) + GIGABYTE + len(TAIL)), HEAD)
    for _ in range(GIGABYTE // len(BLOCK)):
        await send(writer, BLOCK)
    await send(writer, TAIL)


async def giant_error(writer: asyncio.StreamWriter) -> None:
    await send(writer, b"HTTP/1.1 400 Bad\r\ncontent-length: %d\r\n\r\n" % GIGABYTE)
    for _ in range(GIGABYTE // len(BLOCK)):
        await send(writer, BLOCK)


async def bomb(writer: asyncio.StreamWriter) -> None:
    """Two gigabytes in two megabytes."""
    pack = zlib.compressobj(9, wbits=31)
    await send(writer, JSON, b"content-encoding: gzip\r\n", CHUNKED, chunk(pack.compress(HEAD) or b"\x1f"))
    for _ in range(2 * GIGABYTE // len(BLOCK)):
        if packed := pack.compress(BLOCK):
            await send(writer, chunk(packed))
    await send(writer, chunk(pack.flush()), b"0\r\n\r\n")


async def stream_bomb(writer: asyncio.StreamWriter) -> None:
    pack = zlib.compressobj(9, wbits=31)
    await send(writer, EVENTS, b"content-encoding: gzip\r\n", CHUNKED)
    events = CHUNK * 1000
    for _ in range(2 * GIGABYTE // len(events)):
        if packed := pack.compress(events):
            await send(writer, chunk(packed))
    await send(writer, chunk(pack.flush()), b"0\r\n\r\n")


async def headers(writer: asyncio.StreamWriter) -> None:
    await send(writer, OK)
    for number in range(1_000_000):
        await send(writer, b"x-h%d: v\r\n" % number)
    await send(writer, b"content-length: 2\r\n\r\n{}")


async def cookies(writer: asyncio.StreamWriter) -> None:
    """As many headers as are let through, all of one name."""
    body = b"set-cookie: a=b\r\nx-ratelimit-remaining-tokens: 0\r\n" * 1800
    await send(writer, JSON, body, of_length(GOOD, b""))


async def header_drip(writer: asyncio.StreamWriter) -> None:
    await send(writer, OK)
    while True:
        await send(writer, b"x: y\r\n")
        await asyncio.sleep(CALM)


async def body_drip(writer: asyncio.StreamWriter) -> None:
    await send(writer, JSON, CHUNKED)
    while True:
        await send(writer, chunk(b" "))
        await asyncio.sleep(CALM)


async def tiny_chunks(writer: asyncio.StreamWriter) -> None:
    await send(writer, JSON, CHUNKED)
    while True:
        await send(writer, chunk(b" ") * 10_000)


async def informational(writer: asyncio.StreamWriter) -> None:
    while True:
        await send(writer, b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


async def lists(writer: asyncio.StreamWriter) -> None:
    """Four megabytes of small objects: many times as much once they are decoded."""
    await send(writer, of_length(b'{"usage": {}, "choices": [' + b"[]," * 1_300_000 + b"[]]}"))


async def depths(writer: asyncio.StreamWriter) -> None:
    await send(writer, of_length(b"[" * 4_000_000))


async def words(writer: asyncio.StreamWriter) -> None:
    await send(writer, of_length(b"a " * 2_000_000))


async def largest(writer: asyncio.StreamWriter) -> None:
    """Nearly the largest reply that is taken."""
    await send(writer, of_length(HEAD + b"x" * (4_000_000 - len(HEAD + TAIL)) + TAIL))


async def events(writer: asyncio.StreamWriter) -> None:
    await send(writer, EVENTS, CHUNKED)
    for _ in range(GIGABYTE // (len(CHUNK) * 1000)):
        await send(writer, chunk(CHUNK * 1000))
    await send(writer, b"0\r\n\r\n")


async def event(writer: asyncio.StreamWriter) -> None:
    await send(writer, EVENTS, CHUNKED, chunk(b"data: "))
    for _ in range(GIGABYTE // len(BLOCK)):
        await send(writer, chunk(BLOCK))
    await send(writer, b"0\r\n\r\n")


async def empty_events(writer: asyncio.StreamWriter) -> None:
    await send(writer, EVENTS, CHUNKED)
    for _ in range(GIGABYTE // 6000):
        await send(writer, chunk(b"data:\n" * 1000))
    await send(writer, b"0\r\n\r\n")


WHOLE: dict[str, Attack] = {
    "giant": giant,
    "giant-error": giant_error,
    "bomb": bomb,
    "headers": headers,
    "cookies": cookies,
    "tiny-chunks": tiny_chunks,
    "lists": lists,
    "depths": depths,
    "words": words,
    "largest": largest,
}
STREAMED: dict[str, Attack] = {
    "stream-bomb": stream_bomb,
    "events": events,
    "event": event,
    "empty-events": empty_events,
}
ENDLESS: dict[str, Attack] = {"header-drip": header_drip, "body-drip": body_drip, "informational": informational}
ATTACKS = WHOLE | STREAMED | ENDLESS


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            raw = await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r")[0]))
            name = json.loads(raw)["model"]
            await ATTACKS.get(name, good)(writer)
            if name in ATTACKS:
                break
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # it was cut off
    finally:
        writer.close()


async def serve() -> None:
    server = await asyncio.start_server(converse, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


@asynccontextmanager
async def hostile_server() -> AsyncIterator[str]:
    """Its address, for the OpenAI dialect."""
    command = (sys.executable, "-m", "tests.support.hostile")
    child = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None and child.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(await child.stdout.readline())}/v1"
    finally:
        child.kill()
        await child.wait()


if __name__ == "__main__":
    asyncio.run(serve())
