"""The door: a loopback server in our own event loop that forwards model requests, counts them, and answers finally."""

import asyncio
import contextlib
import itertools
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from orchestra import catalogue, dialects
from orchestra.conversation import messages
from orchestra.gateway import ledger, waits
from orchestra.gateway.budget import Amount, Budget, Claim
from orchestra.gateway.lane import Lane, Refusal, Trouble
from orchestra.gateway.ledger import Exchange, Pass, Upstream
from orchestra.gateway.pace import Pace, Sent
from orchestra.gateway.tape import Reply, Tape, identity
from orchestra.model import Usage

if TYPE_CHECKING:
    import httpx
    from starlette.requests import Request
    from starlette.responses import Response

READ_TIMEOUT = 900.0
# Shorter than the patience with a provider that has never answered.
CONNECT_TIMEOUT = 8.0
IDLE_TIMEOUT = 3600
# Whatever proxy the user's environment names, it is not the way to a server on this machine.
LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")
CUT_SHORT = "the run ended before the answer had come"
WORTH_SAYING = 1.5  # seconds of waiting
OUTAGE = 1800.0
Heard = Callable[[Pass, Exchange], None]
# Whose money is set aside, for which request, and how much: written down first, so that it is known after a crash too.
Aside = Callable[[Pass, int, Amount], None]
# Who waits, for whom and why, or for nobody any more.
Told = Callable[[Pass, str, str], None]


class Ask:
    """One request on its way through the door."""

    def __init__(
        self,
        ticket: Pass,
        upstream: Upstream,
        path: str,
        query: str,
        headers: Mapping[str, str],
        raw: bytes,
        limits: "Limits",
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
        self.limits = limits
        self.known = limits.model(upstream.provider, self.model)
        self.lane = limits.lane(upstream.provider, self.model)
        self.trouble = Trouble(ticket.token if ticket.task is None else ticket.task)
        self.claim: Claim | None = None
        self.number = next(limits.numbers)
        self.lost = Usage()
        self.task: asyncio.Task[Any] | None = None
        self.started = time.monotonic()
        self.sent = 0
        self.flying = False  # sent, and perhaps billed, whatever becomes of the answer

    @property
    def streams(self) -> bool:
        return dialects.streams(self.path, self.body)

    def failed(self, failure: str, status: int, message: str, told: Usage | None = None) -> Exchange:
        usage = self.settled(told or Usage(requests=self.sent))
        return Exchange(
            *(self.upstream.provider, self.model, status, failure, message, usage, self.seconds),
            identity=self.identity,
            asked=self.asked,
            number=self.number,
        )

    def answered(self, body: dict[str, Any], raw: bytes, kind: str, **how: bool) -> Exchange:
        dialect = self.upstream.dialect
        # What is given again was paid, and counted, when it came the first time.
        usage = Usage() if how.get("recalled") else self.settled(self.used(body))
        return Exchange(
            provider=self.upstream.provider,
            model=self.model,
            status=200,
            failure="",
            message="",
            usage=usage,
            seconds=self.seconds,
            reply=dialects.text(dialect, body),
            finish=dialects.finish(dialect, body),
            identity=self.identity,
            raw=raw.decode("utf-8", "replace"),
            kind=kind,
            asked=self.asked,
            number=self.number,
            **how,
        )

    @property
    def asked(self) -> tuple[tuple[str, str], ...]:
        return tuple(messages(self.upstream.dialect, self.body))

    def read(self, raw: bytes, kind: str) -> dict[str, Any]:
        """A kept reply as the body it was or amounts to."""
        dialect = self.upstream.dialect
        body = dialects.join_stream(dialect, raw) if "event-stream" in kind else dialects.parse(raw)
        return body if isinstance(body, dict) else {}

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    # --- its money

    async def reserve(self) -> str:
        """Set aside what it may cost at most, once others have left enough; or say which limit does not allow it."""
        if self.claim is not None:
            return ""
        if self.limits.budget.in_dollars and self.known.price_in is None:
            return f"no price is known for {self.known.name}, so that no budget can be held"
        most = ledger.most(self.known, len(self.raw), dialects.output_cap(self.upstream.dialect, self.body))
        self.claim = claim = self.limits.budget.claim(self.ticket.task, most)
        await claim.decided.wait()
        if claim.refused:
            self.claim = None
        elif claim.lowered:
            body = dialects.with_cap(self.upstream.provider, self.upstream.dialect, self.body, claim.most.output)
            self.raw = json.dumps(body).encode()
        if self.claim is not None and self.limits.budget.limited:
            self.limits.aside(self.ticket, self.number, claim.most.amount)
        return claim.refused

    def used(self, body: dict[str, Any]) -> Usage:
        """What the provider tells; where it tells nothing, nobody knows."""
        tokens = dialects.tokens(self.upstream.dialect, body)
        self.flying = self.flying and tokens == dialects.Tokens()
        return ledger.price(self.known, tokens, self.sent)

    def lose(self) -> None:
        """What was sent and will not be answered counts as paid, at the most that it may cost."""
        if self.claim is not None and self.flying:
            amount = self.claim.most.amount
            self.lost += Usage(assumed=amount.dollars, assumed_tokens=amount.tokens)
            self.limits.budget.settle(self.claim)
            self.claim = None
        self.flying = False

    def settled(self, told: Usage) -> Usage:
        """Close its reservation, with what the provider told."""
        self.lose()
        over = Amount()
        if self.claim is not None:
            over = self.limits.budget.settle(self.claim, Amount(told.dollars or 0.0, told.tokens))
            self.claim = None
        return told + self.lost + Usage(overshoot=over.dollars)

    def unsent(self) -> None:
        self.sent -= 1
        self.flying = False

    def useless(self, body: dict[str, Any]) -> tuple[str, str] | None:
        """Why a reply that came must not be taken for the whole of what the model had to say."""
        finish = dialects.finish(self.upstream.dialect, body)
        if finish in dialects.FILTERED:
            return "filtered", f"the provider's content filter has withheld the reply ({finish})"
        # It had less room than was asked for, and used it up.
        if self.claim is not None and self.claim.lowered and finish in dialects.CUT_OFF:
            return "budget", self.too_short
        return None

    @property
    def too_short(self) -> str:
        cap = self.claim.most.output if self.claim else 0
        return f"its reply was cut off after the {cap:,} tokens that the budget had left for it"

    # --- its time

    @contextlib.contextmanager
    def resting(self, told: Told) -> Iterator[None]:
        """Waiting that is not the agent's fault: its clock stands still, and whoever looks is told of it."""
        loop, said = asyncio.get_running_loop(), False

        def say() -> None:
            nonlocal said
            said = True
            told(self.ticket, *self.waits_for)

        timer = loop.call_later(WORTH_SAYING, say)
        self.ticket.rest(id(self))
        try:
            yield
        finally:
            self.ticket.go_on(id(self))
            timer.cancel()
            if said:
                told(self.ticket, "", "")

    @property
    def waits_for(self) -> tuple[str, str]:
        if self.claim is not None and not self.claim.decided.is_set():
            return "the budget", "until the requests on their way have settled"
        last = self.lane.last if self.lane.breaker.open or self.trouble.last else None
        return self.upstream.provider, f"{last.failure}: {last.message}" if last else "it is the others' turn"


class Limits:
    """What all requests of a run share: the money, and a lane to each model."""

    def __init__(
        self,
        budget: Budget | None = None,
        *,
        prices: Mapping[str, catalogue.Model] | None = None,
        per_minute: int = 0,
        outage: float = OUTAGE,
    ) -> None:
        self.budget = budget or Budget()
        self.models = dict(prices or {})
        self.per_minute = per_minute
        self.outage = outage
        self.lanes: dict[tuple[str, str], Lane] = {}
        self.numbers = itertools.count(1)
        self.aside: Aside = lambda ticket, number, amount: None
        self.known: set[str] = set()

    def model(self, provider: str, name: str) -> catalogue.Model:
        full = f"{provider}/{name or 'unnamed'}"
        if full not in self.models:
            self.models[full] = catalogue.resolve(full)
        return self.models[full]

    def lane(self, provider: str, model: str) -> Lane:
        if (provider, model) not in self.lanes:
            self.lanes[provider, model] = Lane(provider, self.outage, self.known, Pace(self.per_minute))
        return self.lanes[provider, model]


class Gateway:
    """All model traffic of a run. `heard` is told of every exchange before its reply is handed on."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        heard: Heard,
        *,
        memory: Tape | None = None,
        replay: Tape | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.upstreams = dict(upstreams)
        self.heard = heard
        self.told: Told = lambda ticket, whom, why: None
        self.limits = limits or Limits()
        self.memory = memory
        self.replay = replay
        self.passes: dict[str, Pass] = {}
        self.asks: set[Ask] = set()
        self.readers: set[asyncio.Task[None]] = set()
        self.port = 0

    # --- tokens

    def admit(self, ticket: Pass) -> Pass:
        self.passes[ticket.token] = ticket
        return ticket

    def dismiss(self, ticket: Pass) -> None:
        """What it still waits for is not sent any more. What is on its way will be paid, and so it is heard out."""
        self.passes.pop(ticket.token, None)
        for ask in [ask for ask in self.asks if ask.ticket is ticket and id(ask) in ticket.resting]:
            last = ask.trouble.last or (ask.lane.last if ask.lane.breaker.open else None)
            why = last or Refusal("cancelled", 0, CUT_SHORT)
            self.note(ask, ask.failed(why.failure, why.status, why.message))
            if ask.task is not None:
                ask.task.cancel()

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
        ask = Ask(ticket, upstream, rest[0], query, request.headers, raw, self.limits)
        ask.task = asyncio.current_task()
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
            return self.give_again(ask, kept, recalled=True)
        if self.replay is not None:
            return self.play(ask, self.replay)
        while True:
            with ask.resting(self.told):
                if short := await ask.reserve():
                    return self.refuse(ask, "budget", 0, short)
                turn = await ask.lane.turn(ask.trouble)
            if isinstance(turn, Refusal):
                return self.refuse(ask, turn.failure, turn.status, turn.message)
            try:
                outcome = await self.send(ask, turn)
            except BaseException:
                ask.lane.gone(turn, ask.trouble)
                raise
            if not isinstance(outcome, Refusal):
                return outcome
            again = ask.lane.failure(turn, ask.trouble, outcome)
            ask.lose()
            if not again:
                return self.refuse(ask, outcome.failure, outcome.status, outcome.message)

    async def send(self, ask: Ask, turn: Sent) -> "Response | Refusal":
        import httpx

        ask.sent += 1
        ask.flying = True
        answer = None
        try:
            request = self.client.build_request("POST", ask.url, headers=ask.headers, content=ask.raw)
            answer = await self.client.send(request, stream=True)
            if ask.streams and answer.status_code == 200 and "html" not in answer.headers.get("content-type", ""):
                return self.stream(ask, turn, answer)
            raw = await answer.aread()
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            ask.unsent()
            return Refusal("bad_request", 0, f"{ask.upstream.base!r} is no address of a server: {words(error)}")
        except (httpx.LocalProtocolError, UnicodeEncodeError):
            ask.unsent()
            return Refusal("auth", 0, "the key cannot be sent: it holds a character that HTTP does not allow")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            ask.unsent()
            return Refusal("unreachable", 0, f"{request.url.netloc.decode()}: {words(error)}")
        except httpx.TimeoutException as error:
            return Refusal("timeout", 0, f"no answer in {READ_TIMEOUT:.0f} s ({words(error)})")
        except httpx.HTTPError as error:
            return Refusal("server", 0, f"the connection was lost: {words(error)}", lost=answer is not None)
        return self.settle(ask, turn, answer.status_code, answer.headers, raw)

    def settle(self, ask: Ask, turn: Sent, status: int, headers: Mapping[str, str], raw: bytes) -> "Response | Refusal":
        body, hold = dialects.parse(raw), waits.used_up(headers)
        if hold:
            ask.lane.hold(hold)
        if status == 200 and dialects.is_reply(ask.upstream.dialect, body):
            ask.lane.reply(turn)
            if useless := ask.useless(body):
                # It is paid for, and of no use to the agent.
                return self.refuse(ask, useless[0], 200, useless[1], ask.used(body))
            return self.hand_on(ask, body, raw, "application/json")
        failure, message = dialects.failure(status, raw), dialects.message(raw)
        # An error is not billed; what should have been a reply may be.
        ask.flying = failure == "garbage" and status == 200 and not dialects.is_page(raw)
        if failure == "garbage":
            message = f"this is no reply as {ask.upstream.dialect} gives it: {message}"
        return Refusal(failure, status, message, waits.retry_after(headers, raw))

    def hand_on(self, ask: Ask, body: dict[str, Any], raw: bytes, kind: str, **how: bool) -> "Response":
        from starlette.responses import Response

        self.keep(ask, body, raw, kind, **how)
        return Response(raw, 200, media_type=kind)

    def stream(self, ask: Ask, turn: Sent, answer: "httpx.Response") -> "Response":
        from starlette.responses import StreamingResponse

        pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        reader = asyncio.create_task(self.read(ask, turn, answer, pieces))
        self.readers.add(reader)
        reader.add_done_callback(self.readers.discard)
        return StreamingResponse(relay(pieces), 200, media_type=answer.headers.get("content-type"))

    async def read(self, ask: Ask, turn: Sent, answer: "httpx.Response", pieces: asyncio.Queue[bytes | None]) -> None:
        """Read a stream to its end and note it, whether its client is still there or not: it is paid for."""
        import httpx

        raw, end = bytearray(), None
        try:
            async for piece in answer.aiter_bytes():
                raw += piece
                pieces.put_nowait(piece)
            ask.lane.reply(turn)
            self.keep_stream(ask, bytes(raw), answer.headers.get("content-type", ""))
            end = b""
        except httpx.HTTPError as error:
            self.note(ask, ask.failed("server", 200, f"the stream broke off: {words(error)}"))
        except asyncio.CancelledError:
            self.note(ask, ask.failed("cancelled", 200, CUT_SHORT))
        finally:
            ask.lane.gone(turn, ask.trouble)
            pieces.put_nowait(end)
            await answer.aclose()

    def play(self, ask: Ask, tape: Tape) -> "Response":
        found, drifted = tape.find(ask.identity), False
        if found is None and ask.ticket.task is None:
            found, drifted = tape.stand_in(ask.ticket.role), True
        if found is None:
            return self.refuse(ask, "drift", 0, f"{tape.name} has no reply to this request")
        if not found.whole:
            return self.refuse(ask, "drift", 0, f"a secret was taken out of this reply on {tape.name}")
        ask.sent = found.requests
        if found.failure:
            return self.refuse(ask, found.failure, found.status, found.message)
        return self.give_again(ask, found, replayed=True, drifted=drifted)

    def give_again(self, ask: Ask, kept: Reply, **how: bool) -> "Response":
        raw = kept.body.encode()
        return self.hand_on(ask, ask.read(raw, kept.kind), raw, kept.kind, **how)

    def refuse(self, ask: Ask, failure: str, status: int, message: str, told: Usage | None = None) -> "Response":
        """`told` is the usage of a reply that was paid for all the same."""
        from starlette.responses import Response

        self.note(ask, ask.failed(failure, status, message, told))
        headers = {"x-should-retry": "false"}
        return Response(dialects.final_error(ask.upstream.dialect), 400, headers, media_type="application/json")

    # --- what became of it

    def keep_stream(self, ask: Ask, raw: bytes, kind: str) -> None:
        body = dialects.join_stream(ask.upstream.dialect, raw)
        if useless := ask.useless(body):
            self.note(ask, ask.failed(useless[0], 200, useless[1], ask.used(body)))
        elif dialects.is_reply(ask.upstream.dialect, body):
            self.keep(ask, body, raw, kind)
        else:
            self.note(ask, ask.failed("garbage", 200, dialects.message(raw)))

    def keep(self, ask: Ask, body: dict[str, Any], raw: bytes, kind: str, **how: bool) -> None:
        self.note(ask, ask.answered(body, raw, kind, **how))

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
