"""Read requests and answers up to a cap: inflate piece by piece, and stop when it is too much."""

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
REPLY_BYTES_PER_TOKEN = 12  # that a reply may have, if that is more
STREAM_BYTES_PER_TOKEN = 512  # with an event around each token
MAX_STORED_STREAM = 8 << 20  # longer streams are relayed and counted, but not kept for a later replay
MAX_ERROR_BYTES = 256 << 10  # of an answer that is not a reply
MAX_REQUEST_BYTES = 32 << 20
INFLATED_PIECE = 1 << 16
MIN_PIECE_COST = 256  # bytes that each piece counts for: one of a single byte costs as much time
BYTES_PER_TURN = 1 << 16  # bytes, counted so, that are read before other tasks run
READ_TIMEOUT = 900.0
# Shorter than the time given to a provider that has never answered.
CONNECT_TIMEOUT = 8.0
# A proxy from the user's environment does not lead to a server on this machine.
LOOPBACK_ADDRESSES = ("all://127.0.0.1", "all://localhost", "all://[::1]")
KEY_PARTS = ("key", "api_key", "apikey", "access_token")  # names of keys in a query
H11_TOO_LONG = "Receive buffer too long"  # h11's error for endless headers
LONGEST_VALUE = 200  # characters of a header
READ_HEADERS = ("content-type", "content-encoding", "location", "retry-after", "retry-after-ms")


Pieces = asyncio.Queue[bytes | None]


class NoCookies(http.cookiejar.CookieJar):
    """Keep no cookies: all agents would share them, and a provider could send a million."""

    def extract_cookies(self, response: Any, request: Any) -> None: ...

    def add_cookie_header(self, request: Any) -> None: ...


def open_client() -> "httpx.AsyncClient":
    """Return the one HTTP client of a run."""
    import httpx

    timeout = httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT)
    # Many servers close an idle connection after 5 s; reusing it at that moment would look like a lost request.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=3.0)
    try:
        client = httpx.AsyncClient(timeout=timeout, limits=limits, mounts=dict.fromkeys(LOOPBACK_ADDRESSES))
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        hint = "Check SSL_CERT_FILE, SSL_CERT_DIR and the proxy variables in the environment."
        raise UsageError(f"Providers cannot be reached from here: {error}.", hint=hint) from None
    client.cookies.jar = NoCookies()
    return client


def pick_headers(answer: "httpx.Response") -> dict[str, str]:
    """Return the headers that we read, once each, with limited length."""
    found: dict[str, str] = {}
    for name, value in answer.headers.raw:
        key = name[:LONGEST_VALUE].decode("latin-1").lower()
        if key not in found and (key in READ_HEADERS or "ratelimit" in key):
            found[key] = value[: LONGEST_VALUE * 10].decode("latin-1")
    return found


async def inflated_pieces(answer: "httpx.Response", encoding: str, cap: int) -> AsyncIterator[bytes]:
    """Yield the inflated body. Raise ReplyTooLarge beyond `cap` bytes."""
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
    """Make a function that inflates pieces of gzip, which we ask for. A plain body is accepted too."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return lambda packed: [packed]
    if encoding not in ("gzip", "x-gzip"):
        raise ReplyTooLarge(f"the reply has an encoding that was not requested ({encoding[:40]!r})")
    unpack = zlib.decompressobj(wbits=31)

    def inflate(packed: bytes) -> Any:
        while packed and not unpack.eof:
            try:
                piece = unpack.decompress(packed, INFLATED_PIECE)
            except zlib.error as error:
                raise ReplyTooLarge(f"the reply cannot be decompressed: {error}") from None
            packed = unpack.unconsumed_tail
            if piece:
                yield piece

    return inflate


async def read_body(answer: "httpx.Response", encoding: str, most_tokens: int) -> bytes:
    """Read a reply, or the beginning of an error. Raise ReplyTooLarge for a reply too large for so many tokens."""
    raw, is_reply = bytearray(), answer.status_code == 200
    cap = max(MIN_REPLY_LIMIT, REPLY_BYTES_PER_TOKEN * most_tokens) if is_reply else MAX_ERROR_BYTES
    with contextlib.nullcontext() if is_reply else contextlib.suppress(ReplyTooLarge):
        async for piece in inflated_pieces(answer, encoding, cap):
            raw += piece
    return bytes(raw)


async def read_request_body(receive: Any) -> bytes:
    """Read a client's request body. Raise ReplyTooLarge beyond MAX_REQUEST_BYTES."""
    raw = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the client has gone")
        raw += message.get("body", b"")
        if len(raw) > MAX_REQUEST_BYTES:
            raise ReplyTooLarge(f"the request is larger than {MAX_REQUEST_BYTES >> 20} MB")
        if not message.get("more_body"):
            return bytes(raw)


async def relay_pieces(pieces: Pieces) -> AsyncIterator[bytes]:
    """Relay a stream. An empty piece ends it; None means that it broke off, so our answer must break off too."""
    while piece := await pieces.get():
        yield piece
    if piece is None:
        raise ConnectionResetError("the stream broke off")


class StreamRelay:
    """The pieces of a stream on their way to its client. The last one waits until the reply is recorded."""

    def __init__(self) -> None:
        self.is_open = False
        self.pieces: Pieces = asyncio.Queue()
        self.received = bytearray()
        self.held = b""

    def add(self, piece: bytes) -> None:
        self.received += piece
        if self.held:
            self.pieces.put_nowait(self.held)
        self.held = piece

    def end(self, mark: bytes | None) -> None:
        """End the stream with an empty piece, or break it off with None."""
        if mark is not None and self.held:
            self.pieces.put_nowait(self.held)
        self.pieces.put_nowait(mark)

    @property
    def whole(self) -> bytes:
        return bytes(self.received)

    @property
    def stored(self) -> bool:
        return len(self.received) <= MAX_STORED_STREAM


def query_without_keys(query: str) -> str:
    """Return the query without parameters that hold a key."""
    parts = (part for part in query.split("&") if part)
    return "&".join(part for part in parts if unquote(part.partition("=")[0]).lower() not in KEY_PARTS)
