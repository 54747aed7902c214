"""Reads answers off the wire up to a cap: what comes is inflated piece by piece, and cut when it is too much."""

import asyncio
import contextlib
import http.cookiejar
import zlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from orchestra.dialects import ReplyTooLarge
from orchestra.errors import UsageError

if TYPE_CHECKING:
    import httpx

MIN_REPLY_LIMIT = 4 << 20  # bytes of a reply
REPLY_BYTES_PER_TOKEN = 12  # that a reply may have, when that is more
STREAM_BYTES_PER_TOKEN = 512  # with an event around each token
MAX_STORED_STREAM = (
    8 << 20
)  # of a longer stream nothing is kept: it is handed on and counted, and cannot be given again
MAX_ERROR_BYTES = 256 << 10  # of an answer that is no reply
MAX_REQUEST_BYTES = 32 << 20
INFLATED_PIECE = 1 << 16
MIN_PIECE_COST = (
    256  # bytes that each piece counts for: a reply in pieces of one byte takes as much time as a large one
)
BYTES_PER_TURN = 1 << 16  # bytes, counted so, that are read before others have their turn
READ_TIMEOUT = 900.0
# Shorter than the patience with a provider that has never answered.
CONNECT_TIMEOUT = 8.0
# Whatever proxy the user's environment names, it is not the way to a server on this machine.
LOOPBACK_ADDRESSES = ("all://127.0.0.1", "all://localhost", "all://[::1]")
KEY_PARTS = ("key", "api_key", "apikey", "access_token")  # of a query
H11_TOO_LONG = "Receive buffer too long"  # what h11 says of headers without end
LONGEST_VALUE = 200  # characters of a header
READ_HEADERS = ("content-type", "content-encoding", "location", "retry-after", "retry-after-ms")


class NoCookies(http.cookiejar.CookieJar):
    """Keeps none: a provider's cookies would be shared by all agents, and a million of them kept."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        pass

    def add_cookie_header(self, request: Any) -> None:
        pass


def open_client() -> "httpx.AsyncClient":
    """Return the one client through which all requests of a run go out."""
    import httpx

    timeout = httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT)
    # Many servers close an idle connection after 5 s; one that is just then used again would look lost.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=3.0)
    try:
        client = httpx.AsyncClient(timeout=timeout, limits=limits, mounts=dict.fromkeys(LOOPBACK_ADDRESSES))
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        hint = "Look at SSL_CERT_FILE, SSL_CERT_DIR and the proxy variables in the environment."
        raise UsageError(f"Providers cannot be reached from here: {error}.", hint=hint) from None
    client.cookies.jar = NoCookies()
    return client


def max_reply_bytes(tokens: int) -> int:
    """Bytes that a reply of so many tokens may have."""
    return max(MIN_REPLY_LIMIT, REPLY_BYTES_PER_TOKEN * tokens)


def max_stream_bytes(tokens: int) -> int:
    return max(MIN_REPLY_LIMIT, STREAM_BYTES_PER_TOKEN * tokens)


def pick_headers(answer: "httpx.Response") -> dict[str, str]:
    """Those headers that we read, once each, and no longer than any of them needs to be."""
    found: dict[str, str] = {}
    for name, value in answer.headers.raw:
        key = name[:LONGEST_VALUE].decode("latin-1").lower()
        if key not in found and (key in READ_HEADERS or "ratelimit" in key):
            found[key] = value[: LONGEST_VALUE * 10].decode("latin-1")
    return found


async def inflated_pieces(answer: "httpx.Response", encoding: str, cap: int) -> AsyncIterator[bytes]:
    """The body as it comes, inflated. TooLarge when it is more than `cap` bytes."""
    inflate = make_inflater(encoding)
    size = since = 0
    async for packed in answer.aiter_raw():
        for piece in inflate(packed):
            counted = max(len(piece), MIN_PIECE_COST)
            size, since = size + counted, since + counted
            if size > cap:
                raise ReplyTooLarge(f"the reply is larger than the {cap >> 20:,} MB that it may have")
            yield piece
            if since >= BYTES_PER_TURN:
                since = 0
                await asyncio.sleep(0)


def make_inflater(encoding: str) -> Any:
    """A function from what came to the pieces that it amounts to. We ask for gzip, and take nothing else."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return lambda packed: [packed]
    if encoding not in ("gzip", "x-gzip"):
        raise ReplyTooLarge(f"the reply is packed in a way that was not asked for ({encoding[:40]!r})")
    unpack = zlib.decompressobj(wbits=31)

    def inflate(packed: bytes) -> Any:
        while packed and not unpack.eof:
            try:
                piece = unpack.decompress(packed, INFLATED_PIECE)
            except zlib.error as error:
                raise ReplyTooLarge(f"the reply cannot be unpacked: {error}") from None
            packed = unpack.unconsumed_tail
            if piece:
                yield piece

    return inflate


async def read_reply_body(answer: "httpx.Response", encoding: str, cap: int) -> bytes:
    raw = bytearray()
    async for piece in inflated_pieces(answer, encoding, cap):
        raw += piece
    return bytes(raw)


async def read_error_body(answer: "httpx.Response", encoding: str) -> bytes:
    """The beginning of a body that is no reply: enough for what is said in it."""
    raw = bytearray()
    with contextlib.suppress(ReplyTooLarge):
        async for piece in inflated_pieces(answer, encoding, MAX_ERROR_BYTES):
            raw += piece
    return bytes(raw)


async def read_request_body(receive: Any, cap: int = MAX_REQUEST_BYTES) -> bytes:
    """The body of a client's request. TooLarge when it is more than `cap` bytes."""
    raw = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the client has gone")
        raw += message.get("body", b"")
        if len(raw) > cap:
            raise ReplyTooLarge(f"the request is larger than {cap >> 20} MB")
        if not message.get("more_body"):
            return bytes(raw)


async def relay_pieces(pieces: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
    """Hand a stream on as it comes. The empty piece ends it; None means that it broke off, and so must this one."""
    while piece := await pieces.get():
        yield piece
    if piece is None:
        raise ConnectionResetError("the stream broke off")


def query_without_keys(query: str) -> str:
    """The query without what names a key."""
    parts = (part for part in query.split("&") if part)
    return "&".join(part for part in parts if unquote(part.partition("=")[0]).lower() not in KEY_PARTS)
