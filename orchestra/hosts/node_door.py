"""The way of an agent's requests from a node to the gateway: a loopback server there, and a client at the head.

A node knows no address of the head. Its requests wait until the head fetches them.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orchestra.dialects import ReplyTooLarge
from orchestra.gateway.server import HOST, LoopbackServer
from orchestra.gateway.wire import read_request_body
from orchestra.hosts.base import GatewayAccess
from orchestra.hosts.node_messages import AnswerPart, ModelRequest

if TYPE_CHECKING:
    import httpx

# Headers about one connection, not about the request.
OWN_HEADERS = ("host", "connection", "content-length", "transfer-encoding", "accept-encoding", "keep-alive", "te")
LOST_ANSWER = AnswerPart(502, (), b"the head did not answer\n", ends=True)
Headers = tuple[tuple[str, str], ...]


class NodeDoor:
    """The server that agents of a node take for the gateway."""

    def __init__(self, post: Callable[[ModelRequest], None]) -> None:
        self.post = post
        self.numbers = itertools.count(1)
        self.waiting: dict[int, asyncio.Queue[AnswerPart]] = {}
        self.server = LoopbackServer()
        self.server.handler = self.handle_asgi

    def translate(self, access: GatewayAccess) -> GatewayAccess:
        """Return the gateway's address as agents of this node must name it."""
        return GatewayAccess(f"http://{HOST}:{self.server.port}{urlsplit(access.url).path}", access.token)

    def answer(self, number: int, part: AnswerPart) -> None:
        if number in self.waiting:
            self.waiting[number].put_nowait(part)

    async def handle_asgi(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        try:
            body = await read_request_body(receive)
        except (ReplyTooLarge, ConnectionResetError):
            return await send_part(send, AnswerPart(413, ends=True))
        path = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        request = ModelRequest(
            next(self.numbers), scope["method"], path.decode("latin-1"), kept_headers(scope["headers"]), body
        )
        parts = self.waiting[request.number] = asyncio.Queue()
        try:
            self.post(request)
            while not (part := await parts.get()).ends:
                await send_part(send, part)
            await send_part(send, part)
        finally:
            del self.waiting[request.number]


async def send_part(send: Any, part: AnswerPart) -> None:
    if part.broke:
        raise ConnectionResetError("the answer broke off")
    if part.status:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in part.headers]
        await send({"type": "http.response.start", "status": part.status, "headers": headers})
    await send({"type": "http.response.body", "body": part.body, "more_body": not part.ends})


def kept_headers(headers: Any) -> Headers:
    pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
    return tuple((name, value) for name, value in pairs if name.lower() not in OWN_HEADERS)


class GatewayClient:
    """The head's client of its own gateway, for the requests of nodes."""

    def __init__(self, port: int) -> None:
        self.base = f"http://{HOST}:{port}"
        self.client: httpx.AsyncClient | None = None

    async def forward(self, request: ModelRequest, answer: Callable[[AnswerPart], Awaitable[None]]) -> None:
        """Ask the gateway, and hand on its answer: a reply as a whole, a stream as it comes."""
        import httpx

        if self.client is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=3.0)
            self.client = httpx.AsyncClient(timeout=None, trust_env=False, limits=limits)
        headers, begun = [*request.headers, ("accept-encoding", "identity")], False
        try:
            asked = self.client.build_request(
                request.method, self.base + request.path, headers=headers, content=request.body
            )
            reply = await self.client.send(asked, stream=True)
            try:
                start = AnswerPart(reply.status_code, kept_headers(reply.headers.raw))
                if "event-stream" not in reply.headers.get("content-type", ""):
                    body = await reply.aread()
                    begun = True
                    return await answer(AnswerPart(start.status, start.headers, body, ends=True))
                begun = True
                await answer(start)
                async for piece in reply.aiter_raw():
                    await answer(AnswerPart(body=piece))
                await answer(AnswerPart(ends=True))
            finally:
                await reply.aclose()
        except (httpx.HTTPError, httpx.InvalidURL):
            await answer(AnswerPart(ends=True, broke=True) if begun else LOST_ANSWER)

    async def close(self) -> None:
        if self.client is not None:
            await self.client.aclose()
