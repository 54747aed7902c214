"""The door: a loopback server in our own event loop that forwards model requests, counts them, and answers finally."""

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
    from starlette.requests import Request
    from starlette.responses import Response

READ_TIMEOUT = 900.0
CONNECT_TIMEOUT = 10.0
IDLE_TIMEOUT = 3600
# Whatever proxy the user's environment names, it is not the way to a server on this machine.
LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")
CUT_SHORT = "the run ended before the answer had come"
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

    def answered(self, body: dict[str, Any], raw: bytes, kind: str, **how: bool) -> Exchange:
        dialect = self.upstream.dialect
        usage = ledger.price(self.upstream.provider, self.model, dialects.tokens(dialect, body), self.sent)
        return Exchange(
            provider=self.upstream.provider,
            model=self.model,
            status=200,
            failure="",
            message="",
            # What is given again was paid, and counted, when it came the first time.
            usage=Usage() if how.get("recalled") else usage,
            seconds=self.seconds,
            reply=dialects.text(dialect, body),
            finish=dialects.finish(dialect, body),
            identity=self.identity,
            raw=raw.decode("utf-8", "replace"),
            kind=kind,
            **how,
        )

    def read(self, raw: bytes, kind: str) -> dict[str, Any]:
        """A kept reply as the body it was or amounts to."""
        dialect = self.upstream.dialect
        body = dialects.join_stream(dialect, raw) if "event-stream" in kind else dialects.parse(raw)
        return body if isinstance(body, dict) else {}

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    async def rest(self, seconds: float) -> None:
        """Waiting that is not the agent's fault: its clock stands still."""
        self.ticket.waited += seconds
        await asyncio.sleep(seconds)


class Gateway:
    """All model traffic of a run. `heard` is told of every exchange before its reply is handed on."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        heard: Heard,
        *,
        memory: Tape | None = None,
        replay: Tape | None = None,
        record: Tape | None = None,
    ) -> None:
        self.upstreams = dict(upstreams)
        self.heard = heard
        self.memory = memory
        self.replay = replay
        self.record = record
        self.passes: dict[str, Pass] = {}
        self.pauses = Pauses()
        self.asks: set[Ask] = set()
        self.readers: set[asyncio.Task[None]] = set()
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

        # asyncio spares its connections Nagle's 40 ms only where the socket says that it is TCP.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        timeout = httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT)
        # Many servers close an idle connection after 5 s; one that is just then used again would look lost.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=3.0)
        self.client = httpx.AsyncClient(timeout=timeout, limits=limits, mounts=dict.fromkeys(LOOPBACK))
        config = uvicorn.Config(
            self.app,
            interface="asgi3",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            # For the same reason we do not close those that our clients keep.
            timeout_keep_alive=IDLE_TIMEOUT,
            timeout_graceful_shutdown=1,
        )
        self.server = Server(config)
        self.serving = asyncio.create_task(self.server.serve(sockets=[listener]))
        while not self.server.started:
            await asyncio.sleep(0.005)
            if self.serving.done():
                self.serving.result()

    async def stop(self) -> None:
        """At once: what is still on its way is noted as cut short, and whoever waits for it is answered."""
        self.passes.clear()
        self.cut_short()
        working = {*self.server.server_state.tasks, *self.readers}
        for task in working:
            task.cancel()
        self.server.should_exit = True
        await asyncio.gather(self.serving, *working, return_exceptions=True)
        await self.client.aclose()

    def cut_short(self) -> None:
        """Close the books: what is asked and not answered yet will not be waited for, but it may be billed."""
        for ask in list(self.asks):
            self.note(ask, ask.failed("cancelled", 0, CUT_SHORT))

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.requests import Request

        if scope["type"] == "http":
            response = await self.answer(Request(scope, receive))
            await response(scope, receive, send)

    async def answer(self, request: "Request") -> "Response":
        from starlette.responses import Response

        _, _, token, provider, *rest = [*request.url.path.split("/", 4), "", "", ""]
        ticket, upstream = self.passes.get(token), self.upstreams.get(provider)
        if ticket is None or upstream is None:
            return Response(b"no such door\n", 403)
        query = "&".join(part for part in request.url.query.split("&") if part and not part.startswith("key="))
        raw = await request.body()
        ask = Ask(ticket, upstream, rest[0], query, request.headers, raw)
        self.asks.add(ask)
        try:
            return await self.forward(ask)
        except asyncio.CancelledError:
            return self.refuse(ask, "cancelled", 0, CUT_SHORT)
        except Exception as error:
            # A 500 of ours would make an agent ask up to 27 times again for what is our bug.
            return self.refuse(ask, "gateway", 0, f"a bug in the gateway: {error!r}")

    # --- one request

    async def forward(self, ask: Ask) -> "Response":
        if ask.ticket.exhausted:
            return self.refuse(ask, "iterations", 0, f"the limit of {ask.ticket.iterations} replies is reached")
        if ask.ticket.task is not None and ask.identity in ask.ticket.answered:
            # An agent says something new each time. The same again means that litellm could not read the reply.
            return self.refuse(ask, "garbage", 200, "the agent could make nothing of this provider's reply")
        if self.memory is not None and (kept := self.memory.take(ask.identity)):
            return self.give_again(ask, *kept, recalled=True)
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
            if outcome.failure == "rate_limit" or outcome.retry_after is not None:
                self.pauses.hold(ask.upstream.provider, seconds)
            else:
                await ask.rest(seconds)

    async def wait(self, ask: Ask) -> None:
        while left := self.pauses.left(ask.upstream.provider):
            await ask.rest(left)

    async def send(self, ask: Ask) -> "Response | Refusal":
        import httpx

        ask.tries += 1
        ask.sent += 1
        try:
            request = self.client.build_request("POST", ask.url, headers=ask.headers, content=ask.raw)
            answer = await self.client.send(request, stream=True)
            if ask.streams and answer.status_code == 200 and "html" not in answer.headers.get("content-type", ""):
                return self.stream(ask, answer)
            raw = await answer.aread()
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            ask.sent -= 1
            return Refusal("bad_request", 0, f"{ask.upstream.base!r} is no address of a server: {words(error)}")
        except (httpx.LocalProtocolError, UnicodeEncodeError):
            ask.sent -= 1
            return Refusal("auth", 0, "the key cannot be sent: it holds a character that HTTP does not allow")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            ask.sent -= 1
            return Refusal("unreachable", 0, f"{request.url.netloc.decode()}: {words(error)}")
        except httpx.TimeoutException as error:
            return Refusal("timeout", 0, f"no answer in {READ_TIMEOUT:.0f} s ({words(error)})")
        except httpx.HTTPError as error:
            return Refusal("server", 0, f"the connection was lost: {words(error)}")
        return self.settle(ask, answer.status_code, answer.headers, raw)

    def settle(self, ask: Ask, status: int, headers: Mapping[str, str], raw: bytes) -> "Response | Refusal":
        body = dialects.parse(raw)
        if status == 200 and dialects.is_reply(ask.upstream.dialect, body):
            return self.hand_on(ask, body, raw, "application/json")
        failure, message = dialects.failure(status, raw), dialects.message(raw)
        if failure == "garbage":
            message = f"this is no reply as {ask.upstream.dialect} gives it: {message}"
        return Refusal(failure, status, message, dialects.retry_after(headers, raw))

    def hand_on(self, ask: Ask, body: dict[str, Any], raw: bytes, kind: str, **how: bool) -> "Response":
        from starlette.responses import Response

        self.keep(ask, body, raw, kind, **how)
        return Response(raw, 200, media_type=kind)

    def stream(self, ask: Ask, answer: "httpx.Response") -> "Response":
        from starlette.responses import StreamingResponse

        pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        reader = asyncio.create_task(self.read(ask, answer, pieces))
        self.readers.add(reader)
        reader.add_done_callback(self.readers.discard)
        return StreamingResponse(relay(pieces), 200, media_type=answer.headers.get("content-type"))

    async def read(self, ask: Ask, answer: "httpx.Response", pieces: asyncio.Queue[bytes | None]) -> None:
        """Read a stream to its end and note it, whether its client is still there or not: it is paid for."""
        import httpx

        raw, end = bytearray(), None
        try:
            async for piece in answer.aiter_bytes():
                raw += piece
                pieces.put_nowait(piece)
            self.keep_stream(ask, bytes(raw), answer.headers.get("content-type", ""))
            end = b""
        except httpx.HTTPError as error:
            self.note(ask, ask.failed("server", 200, f"the stream broke off: {words(error)}"))
        except asyncio.CancelledError:
            self.note(ask, ask.failed("cancelled", 200, CUT_SHORT))
        finally:
            pieces.put_nowait(end)
            await answer.aclose()

    def play(self, ask: Ask, tape: Tape) -> "Response":
        found = tape.find(ask.identity)
        if found is None:
            return self.refuse(ask, "drift", 0, f"{tape.path.name} has no reply to this request")
        ask.sent = 1
        return self.give_again(ask, *found, replayed=True)

    def give_again(self, ask: Ask, kind: str, raw: bytes, **how: bool) -> "Response":
        return self.hand_on(ask, ask.read(raw, kind), raw, kind, **how)

    def refuse(self, ask: Ask, failure: str, status: int, message: str) -> "Response":
        from starlette.responses import Response

        self.note(ask, ask.failed(failure, status, message))
        headers = {"x-should-retry": "false"}
        return Response(dialects.final_error(ask.upstream.dialect), 400, headers, media_type="application/json")

    # --- what became of it

    def keep_stream(self, ask: Ask, raw: bytes, kind: str) -> None:
        body = dialects.join_stream(ask.upstream.dialect, raw)
        if dialects.is_reply(ask.upstream.dialect, body):
            self.keep(ask, body, raw, kind)
        else:
            self.note(ask, ask.failed("garbage", 200, dialects.message(raw)))

    def keep(self, ask: Ask, body: dict[str, Any], raw: bytes, kind: str, **how: bool) -> None:
        self.note(ask, ask.answered(body, raw, kind, **how))
        if self.record is not None:
            about = (ask.ticket.role, ask.ticket.task, ask.model)
            self.record.add(ask.identity, kind, raw, " ".join(str(word) for word in about if word))

    def note(self, ask: Ask, exchange: Exchange) -> None:
        """Every ask is noted once; what comes after its books were closed is not counted again."""
        if ask in self.asks:
            self.asks.remove(ask)
            ask.ticket.exchanges.append(exchange)
            self.heard(ask.ticket, exchange)


async def relay(pieces: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
    """Hand a stream on as it comes. The empty piece ends it; None means that it broke off, and so must this one."""
    while piece := await pieces.get():
        yield piece
    if piece is None:
        raise ConnectionResetError("the stream broke off")


def words(error: Exception) -> str:
    return str(error) or type(error).__name__
