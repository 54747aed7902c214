"""The door: a loopback server in our own event loop that forwards model requests, counts them and answers every failure finally."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestra.gateway import dialects, ledger
from orchestra.gateway.ledger import Exchange, Pass, Upstream
from orchestra.gateway.limits import Pauses, pause
from orchestra.gateway.tape import Tape, identity
from orchestra.model import Usage

if TYPE_CHECKING:
    import httpx
    import uvicorn
    from starlette.requests import Request
    from starlette.responses import Response

READ_TIMEOUT = 900.0
CONNECT_TIMEOUT = 10.0
Heard = Callable[[Pass, Exchange], None]


@dataclass(frozen=True)
class Refusal:
    """An answer that is no reply, before it is decided whether to ask again."""

    failure: str
    status: int
    message: str
    retry_after: float | None = None


class Ask:
    """One request on its way through the door."""

    def __init__(
        self, ticket: Pass, upstream: Upstream, path: str, query: str, headers: Mapping[str, str], raw: bytes
    ) -> None:
        self.ticket = ticket
        self.upstream = upstream
        self.path = path
        self.raw = raw
        body = dialects.parse(raw)
        self.body: dict[str, Any] = body if isinstance(body, dict) else {}
        self.model = dialects.model_of(upstream.dialect, path, self.body)
        self.url = dialects.upstream_url(upstream.dialect, upstream.base, path) + (f"?{query}" if query else "")
        self.headers = dialects.upstream_headers(upstream.dialect, upstream.key, headers)
        self.identity = identity(upstream.dialect, dialects.rest_path(upstream.dialect, path), self.body, ticket.root)
        self.started = time.monotonic()
        self.tries = 0
        self.sent = 0

    @property
    def streams(self) -> bool:
        return dialects.streams(self.path, self.body)

    def failed(self, failure: str, status: int, message: str) -> Exchange:
        usage = Usage(requests=self.sent)
        return Exchange(
            self.upstream.provider, self.model, status, failure, message, usage, self.seconds, identity=self.identity
        )

    def answered(self, body: dict[str, Any], *, replayed: bool = False) -> Exchange:
        dialect = self.upstream.dialect
        usage = ledger.price(self.upstream.provider, self.model, dialects.tokens(dialect, body), self.sent)
        reply, finish = dialects.text(dialect, body), dialects.finish(dialect, body)
        return Exchange(
            self.upstream.provider, self.model, 200, "", "", usage, self.seconds, reply, finish, self.identity, replayed
        )

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


class Gateway:
    """All model traffic of a run. `heard` is told of every exchange before its reply is handed on."""

    def __init__(
        self, upstreams: Mapping[str, Upstream], heard: Heard, *, replay: Tape | None = None, record: Tape | None = None
    ) -> None:
        self.upstreams = dict(upstreams)
        self.heard = heard
        self.replay = replay
        self.record = record
        self.passes: dict[str, Pass] = {}
        self.pauses = Pauses()
        self.port = 0

    # --- tokens

    def admit(self, ticket: Pass) -> Pass:
        self.passes[ticket.token] = ticket
        return ticket

    def dismiss(self, ticket: Pass) -> None:
        self.passes.pop(ticket.token, None)

    def url(self, ticket: Pass, provider: str) -> str:
        return f"http://127.0.0.1:{self.port}/t/{ticket.token}/{provider}"

    # --- the server

    async def start(self) -> None:
        import httpx
        import uvicorn

        class Server(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                """Signals are the run's own business."""
                yield

        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = listener.getsockname()[1]
        timeout = httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        self.client: httpx.AsyncClient = httpx.AsyncClient(timeout=timeout, limits=limits, follow_redirects=False)
        config = uvicorn.Config(
            self.app,
            interface="asgi3",
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self.server: uvicorn.Server = Server(config)
        self.serving = asyncio.create_task(self.server.serve(sockets=[listener]))
        while not self.server.started and not self.serving.done():
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        self.server.should_exit = True
        await self.serving
        await self.client.aclose()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.requests import Request
        from starlette.responses import Response

        if scope["type"] != "http":
            return
        response = await self.answer(Request(scope, receive), Response)
        await response(scope, receive, send)

    async def answer(self, request: "Request", response: type["Response"]) -> "Response":
        _, _, token, provider, *rest = [*request.url.path.split("/", 4), "", "", ""]
        ticket, upstream = self.passes.get(token), self.upstreams.get(provider)
        if ticket is None or upstream is None:
            return response(b"no such door\n", 403)
        query = "&".join(part for part in request.url.query.split("&") if part and not part.startswith("key="))
        ask = Ask(ticket, upstream, rest[0], query, request.headers, await request.body())
        try:
            return await self.forward(ask)
        except Exception as error:
            # A 500 of ours would make an agent ask up to 27 times again for what is our bug.
            return self.refuse(ask, "gateway", 0, f"a bug in the gateway: {error!r}")

    # --- one request

    async def forward(self, ask: Ask) -> "Response":
        if ask.ticket.exhausted:
            return self.refuse(ask, "iterations", 0, f"the limit of {ask.ticket.iterations} replies is reached")
        if self.replay is not None:
            return self.play(ask, self.replay)
        while True:
            await self.wait(ask)
            outcome = await self.send(ask)
            if not isinstance(outcome, Refusal):
                return outcome
            seconds = pause(outcome.failure, ask.tries, outcome.retry_after)
            if seconds is None:
                return self.refuse(ask, outcome.failure, outcome.status, outcome.message)
            self.pauses.hold(ask.upstream.provider, seconds)

    async def wait(self, ask: Ask) -> None:
        while left := self.pauses.left(ask.upstream.provider):
            ask.ticket.waited += left
            await asyncio.sleep(left)

    async def send(self, ask: Ask) -> "Response | Refusal":
        import httpx

        request = self.client.build_request("POST", ask.url, headers=ask.headers, content=ask.raw)
        ask.tries += 1
        try:
            answer = await self.client.send(request, stream=True)
            ask.sent += 1
            if ask.streams and answer.status_code == 200 and "html" not in answer.headers.get("content-type", ""):
                return self.stream(ask, answer)
            raw = await answer.aread()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            return Refusal("unreachable", 0, f"{ask.upstream.base}: {words(error)}")
        except httpx.TimeoutException as error:
            ask.sent += 1
            return Refusal("timeout", 0, f"no answer in {READ_TIMEOUT:.0f} s ({words(error)})")
        except httpx.HTTPError as error:
            ask.sent += 1
            return Refusal("server", 0, f"the connection was lost: {words(error)}")
        return self.settle(ask, answer.status_code, answer.headers, raw)

    def settle(self, ask: Ask, status: int, headers: Mapping[str, str], raw: bytes) -> "Response | Refusal":
        body = dialects.parse(raw)
        if status == 200 and dialects.is_reply(ask.upstream.dialect, body):
            return self.hand_on(ask, body, raw, "application/json")
        failure = dialects.failure(status, raw)
        return Refusal(failure, status, dialects.message(raw), dialects.retry_after(headers, raw))

    def hand_on(self, ask: Ask, body: dict[str, Any], raw: bytes, kind: str, *, replayed: bool = False) -> "Response":
        from starlette.responses import Response

        self.note(ask, ask.answered(body, replayed=replayed))
        if self.record is not None:
            self.record.add(ask.identity, kind, raw, f"{ask.ticket.role} {ask.ticket.task or ''} {ask.model}".strip())
        return Response(raw, 200, media_type=kind)

    def stream(self, ask: Ask, answer: "httpx.Response") -> "Response":
        from starlette.responses import StreamingResponse

        return StreamingResponse(self.relay(ask, answer), 200, media_type="text/event-stream")

    async def relay(self, ask: Ask, answer: "httpx.Response") -> AsyncIterator[bytes]:
        """Hand chunks on as they come; the exchange is known, and told, when the last one has come."""
        import httpx

        raw = b""
        try:
            async for chunk in answer.aiter_bytes():
                raw += chunk
                yield chunk
        except httpx.HTTPError as error:
            self.note(ask, ask.failed("server", 200, f"the stream broke off: {words(error)}"))
            raise
        finally:
            await answer.aclose()
        body = dialects.join_stream(ask.upstream.dialect, raw)
        if not dialects.is_reply(ask.upstream.dialect, body):
            self.note(ask, ask.failed("garbage", 200, dialects.message(raw)))
            return
        self.note(ask, ask.answered(body))
        if self.record is not None:
            self.record.add(ask.identity, "text/event-stream", raw, f"{ask.ticket.role} {ask.model}")

    def play(self, ask: Ask, tape: Tape) -> "Response":
        found = tape.find(ask.identity)
        if found is None:
            return self.refuse(ask, "drift", 0, f"{tape.path.name} has no reply to this request")
        kind, raw = found
        ask.sent = 1
        body = dialects.join_stream(ask.upstream.dialect, raw) if "event-stream" in kind else dialects.parse(raw)
        return self.hand_on(ask, body, raw, kind, replayed=True)

    def refuse(self, ask: Ask, failure: str, status: int, message: str) -> "Response":
        from starlette.responses import Response

        self.note(ask, ask.failed(failure, status, message))
        headers = {"x-should-retry": "false"}
        return Response(dialects.final_error(ask.upstream.dialect), 400, headers, media_type="application/json")

    def note(self, ask: Ask, exchange: Exchange) -> None:
        ask.ticket.exchanges.append(exchange)
        self.heard(ask.ticket, exchange)


def words(error: Exception) -> str:
    return str(error) or type(error).__name__
