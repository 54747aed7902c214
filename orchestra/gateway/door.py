"""The door: a loopback server in our own event loop that forwards model requests, counts them, and answers finally."""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestra import dialects
from orchestra.dialects import DIALECTS, StreamReader, TooLarge
from orchestra.gateway import waits, wire
from orchestra.gateway.ask import Ask
from orchestra.gateway.decode import Decoder, ReplyFacts, reply_facts
from orchestra.gateway.guard import KeyGuard
from orchestra.gateway.lane import Refusal
from orchestra.gateway.ledger import Exchange, Pass, Upstream
from orchestra.gateway.limits import Limits
from orchestra.gateway.listener import GatewayListener
from orchestra.gateway.pace import Sent
from orchestra.gateway.server import HOST, LoopbackServer
from orchestra.gateway.tape import Reply, Tape
from orchestra.model import Usage

if TYPE_CHECKING:
    import httpx
    from starlette.requests import Request
    from starlette.responses import Response

CUT_SHORT = "the run ended before the answer had come"
HEARD_OUT = 60.0  # seconds for an answer whose agent has gone: what it costs is told at its end
BYTES_PER_TOKEN = 4  # of a request, in the estimate that answers a request for a count
MOST_NOTES = 3  # about one agent's requests


class Gateway:
    """All model traffic of a run. The listener hears of every exchange before its reply is handed on."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        listener: GatewayListener,
        *,
        server: LoopbackServer | None = None,
        guard: KeyGuard | None = None,
        memory: Tape | None = None,
        replay: Tape | None = None,
        client: "httpx.AsyncClient | None" = None,
        limits: Limits | None = None,
    ) -> None:
        self.upstreams = dict(upstreams)
        self.listener = listener
        self.guard = guard or KeyGuard()
        self.client = client or wire.open_client()
        self.server = server or LoopbackServer()
        self.server.serve(self.app)
        self.decoder = Decoder()
        self.notes: dict[str, list[str]] = {}
        self.limits = limits or Limits()
        self.memory = memory
        self.replay = replay
        self.passes: dict[str, Pass] = {}
        self.asks: set[Ask] = set()
        self.readers: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        return self.server.port

    # --- tokens

    def admit(self, ticket: Pass) -> Pass:
        self.passes[ticket.token] = ticket
        return ticket

    def dismiss(self, ticket: Pass) -> None:
        """What it still waits for is not sent any more. What is on its way will be paid, and so it is heard out."""
        self.passes.pop(ticket.token, None)
        for ask in self.asks:
            if ask.ticket is ticket:
                ask.hurry(HEARD_OUT)
        for ask in [ask for ask in self.asks if ask.ticket is ticket and id(ask) in ticket.resting]:
            last = ask.trouble.last or (ask.lane.last if ask.lane.breaker.open else None)
            why = last or Refusal("cancelled", 0, CUT_SHORT)
            self.note(ask, ask.failed(why.failure, why.status, why.message))
            if ask.task is not None:
                ask.task.cancel()

    def url(self, ticket: Pass, provider: str) -> str:
        return f"http://{HOST}:{self.port}/t/{ticket.token}/{provider}"

    # --- the server

    async def start(self) -> None:
        """Start the server, unless it was given as one that is started already."""
        await self.server.start()

    async def stop(self) -> None:
        """At once: what is still on its way is noted as cut short, and whoever waits for it is answered."""
        self.passes.clear()
        self.cut_short()
        readers = list(self.readers)
        for reader in readers:
            reader.cancel()
        await self.server.stop()
        await asyncio.gather(*readers, return_exceptions=True)
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

        scope = request.scope
        path: str = scope["raw_path"].decode("latin-1")
        _, _, token, provider, rest, *_ = [*path.split("/", 4), "", "", "", ""]
        ticket, upstream = self.passes.get(token), self.upstreams.get(provider)
        if ticket is None or upstream is None:
            return Response(b"no such door\n", 403)
        route = dialects.route(upstream.dialect, request.method, rest)
        if route is None:
            return self.forbid(ticket, upstream, f"{request.method} {rest[:100]!r}", "that is no request for a reply")
        if route.kind in ("probe", "side"):
            # Clients ask this by themselves, and do without an answer.
            return Response(b"", 200 if route.kind == "probe" else 404)
        try:
            raw = await wire.read_request(request.receive)
        except ConnectionResetError:
            return Response(b"", 400)
        except TooLarge as error:
            return self.forbid(ticket, upstream, f"a reply ({route.path})", str(error))
        if route.kind == "count":
            return Response(
                json.dumps(route.dialect.count_reply(len(raw) // BYTES_PER_TOKEN + 1)), media_type="application/json"
            )
        plain = dialects.rest_path(route.dialect, route.path)
        facts = await self.decoder.request(route.dialect, plain, ticket.root, self.guard.forms, raw)
        if facts.problem:
            return self.forbid(ticket, upstream, f"a reply ({route.path})", facts.problem)
        if not ticket.may_ask(upstream.provider, facts.model):
            return self.forbid(ticket, upstream, f"the model {facts.model[:100]!r}", "this run does not use it here")
        query = wire.forwarded_query(scope["query_string"].decode("latin-1"))
        ask = Ask(ticket, upstream, route, query, request.headers, raw, facts, self.limits, self.listener)
        ask.task = asyncio.current_task()
        self.asks.add(ask)
        try:
            if secret := await self.guard.secret_in(facts, query, request.headers):
                return self.refuse(ask, "key", 0, f"the request held the value of {secret}, so it was not sent")
            return await self.forward(ask)
        except asyncio.CancelledError:
            return self.refuse(ask, "cancelled", 0, CUT_SHORT)
        except Exception as error:
            # A 500 of ours would make an agent ask up to 27 times again for what is our bug.
            return self.refuse(ask, "gateway", 0, f"a bug in the gateway: {error!r}")

    def forbid(self, ticket: Pass, upstream: Upstream, what: str, why: str) -> "Response":
        """What is not let through is no request to a model: it is not counted, costs nothing, and is only noted."""
        from starlette.responses import Response

        self.remark(ticket, f"{ticket.holder} asked {upstream.provider} for {what}: refused and not sent, {why}.")
        headers = {"x-should-retry": "false"}
        return Response(dialects.final_error(DIALECTS[upstream.dialect]), 403, headers, media_type="application/json")

    def remark(self, ticket: Pass, text: str) -> None:
        """A note for the user, once, and not too many about one agent."""
        notes = self.notes.setdefault(ticket.holder, [])
        if text not in notes and len(notes) < MOST_NOTES:
            notes.append(text)
            self.listener.on_note(ticket, text)

    # --- one request

    async def forward(self, ask: Ask) -> "Response":
        if ask.ticket.exhausted:
            return self.refuse(ask, "iterations", 0, f"the limit of {ask.ticket.iterations} replies is reached")
        if ask.ticket.asks_once and ask.identity in ask.ticket.answered:
            # The same request again means that the agent could not read the reply.
            return self.refuse(ask, "garbage", 200, "the agent could make nothing of this provider's reply")
        if self.memory is not None and (kept := self.memory.take(ask.identity)):
            return await self.give_again(ask, kept, recalled=True)
        if self.replay is not None:
            return await self.play(ask, self.replay)
        while True:
            with ask.resting():
                if short := await ask.reserve(self.decoder):
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
            if not (again and ask.ticket.token in self.passes):
                return self.refuse(ask, outcome.failure, outcome.status, outcome.message)

    async def send(self, ask: Ask, turn: Sent) -> "Response | Refusal":
        import httpx

        ask.sent += 1
        ask.flying = True
        ask.began, answer = time.monotonic(), None
        try:
            request = self.client.build_request("POST", ask.url, headers=ask.headers, content=ask.raw)
            async with ask.in_time():
                answer = await self.client.send(request, stream=True)
                headers = wire.headers_of(answer)
                kind, encoding = headers.get("content-type", ""), headers.get("content-encoding", "")
                if ask.streams and answer.status_code == 200 and "html" not in kind:
                    return self.stream(ask, turn, answer, kind, encoding)
                try:
                    if answer.status_code == 200:
                        raw = await wire.read_whole(answer, encoding, wire.whole_cap(ask.most_output))
                    else:
                        raw = await wire.read_error(answer, encoding)
                finally:
                    await answer.aclose()
                return await self.settle(ask, turn, answer.status_code, headers, raw)
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
            return Refusal("timeout", 0, f"no answer in {wire.READ_TIMEOUT:.0f} s ({words(error)})")
        except TimeoutError:
            return Refusal("timeout", 0, f"no whole answer in {ask.flown:.0f} s")
        except TooLarge as error:
            return Refusal("garbage", 200, str(error))
        except httpx.HTTPError as error:
            if wire.TOO_LONG in str(error):
                return Refusal("garbage", 0, "the headers of its answer are larger than 100 kB")
            return Refusal("server", 0, f"the connection was lost: {words(error)}", lost=answer is not None)

    async def settle(
        self, ask: Ask, turn: Sent, status: int, headers: Mapping[str, str], raw: bytes
    ) -> "Response | Refusal":
        facts = ReplyFacts()
        if status == 200:
            facts = await self.decoder.reply(ask.dialect, "", raw)
        if hold := waits.used_up(headers):
            ask.lane.heed(turn, hold)
        if facts.is_reply:
            ask.lane.reply(turn)
            if useless := ask.useless(facts):
                # It is paid for, and of no use to the agent.
                return self.refuse(ask, useless[0], 200, useless[1], ask.used(facts))
            return self.hand_on(ask, facts, raw, "application/json")
        failure, message = dialects.failure(status, raw), facts.message or dialects.message(raw)
        # An error is not billed; what should have been a reply may be.
        ask.flying = failure == "garbage" and status == 200 and not dialects.is_page(raw)
        if 300 <= status < 400:
            message = f"it redirects to {dialects.pointed_to(headers.get('location', ''))}"
        if failure == "garbage":
            message = f"this is no reply as {ask.upstream.dialect} gives it: {message}"
        # Only a refusal says in its body how long to wait; a good answer's may be large.
        return Refusal(failure, status, message, waits.retry_after(headers, b"" if status == 200 else raw))

    def hand_on(self, ask: Ask, facts: ReplyFacts, raw: bytes, kind: str, **how: bool) -> "Response":
        from starlette.responses import Response

        self.keep(ask, facts, raw, kind, **how)
        return Response(raw if facts.mended is None else facts.mended, 200, media_type=kind)

    def stream(self, ask: Ask, turn: Sent, answer: "httpx.Response", kind: str, encoding: str) -> "Response":
        from starlette.responses import StreamingResponse

        handed: asyncio.Queue[bytes | None] = asyncio.Queue()
        reader = asyncio.create_task(self.read(ask, turn, answer, encoding, kind, handed))
        self.readers.add(reader)
        reader.add_done_callback(self.readers.discard)
        return StreamingResponse(wire.relay(handed), 200, media_type=kind or None)

    async def read(
        self,
        ask: Ask,
        turn: Sent,
        answer: "httpx.Response",
        encoding: str,
        kind: str,
        handed: asyncio.Queue[bytes | None],
    ) -> None:
        """Read a stream to its end and note it, whether its client is still there or not: it is paid for."""
        import httpx

        end = None
        try:
            async with ask.in_time():
                facts, raw = await self.read_events(ask, answer, encoding, kind, handed)
            ask.lane.reply(turn)
            self.keep_stream(ask, facts, raw, kind)
            end = b""
        except httpx.HTTPError as error:
            self.note(ask, ask.failed("server", 200, f"the stream broke off: {words(error)}"))
        except TimeoutError:
            self.note(ask, ask.failed("timeout", 200, f"the stream had not ended in {ask.flown:.0f} s"))
        except TooLarge as error:
            self.note(ask, ask.failed("garbage", 200, str(error)))
        except asyncio.CancelledError:
            self.note(ask, ask.failed("cancelled", 200, CUT_SHORT))
        except Exception as error:
            self.note(ask, ask.failed("gateway", 200, f"a bug in the gateway: {error!r}"))
        finally:
            ask.lane.gone(turn, ask.trouble)
            handed.put_nowait(end)
            await answer.aclose()

    async def read_events(
        self, ask: Ask, answer: "httpx.Response", encoding: str, kind: str, handed: asyncio.Queue[bytes | None]
    ) -> tuple[ReplyFacts, bytes]:
        """Hand the events on as they come. What they amount to, and all of them when that is not too much to keep."""
        cap = wire.stream_cap(ask.most_output)
        reader, kept, size = StreamReader(ask.dialect.joiner(), cap), bytearray(), 0
        async for piece in wire.pieces(answer, encoding, cap):
            reader.feed(piece)
            handed.put_nowait(piece)
            size += len(piece)
            if size <= wire.KEPT:
                kept += piece
            else:
                kept.clear()
        if plain := reader.end():
            return await self.decoder.reply(ask.dialect, kind, plain), bytes(kept)
        return reply_facts(ask.dialect, reader.body, bytes(kept)), bytes(kept)

    async def play(self, ask: Ask, tape: Tape) -> "Response":
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
        return await self.give_again(ask, found, replayed=True, drifted=drifted)

    async def give_again(self, ask: Ask, kept: Reply, **how: bool) -> "Response":
        raw = kept.body.encode()
        facts = await self.decoder.reply(ask.dialect, kept.kind, raw)
        return self.hand_on(ask, facts, raw, kept.kind, **how)

    def refuse(
        self, ask: Ask, failure: str, status: int, message: str, told: tuple[Usage, str] | None = None
    ) -> "Response":
        """`told` is the usage of a reply that was paid for all the same, and what is odd about that."""
        from starlette.responses import Response

        self.note(ask, ask.failed(failure, status, message, *(told or ())))
        headers = {"x-should-retry": "false"}
        return Response(dialects.final_error(ask.dialect), 400, headers, media_type="application/json")

    # --- what became of it

    def keep_stream(self, ask: Ask, facts: ReplyFacts, raw: bytes, kind: str) -> None:
        if not facts.is_reply:
            self.note(ask, ask.failed("garbage", 200, facts.message))
        elif useless := ask.useless(facts):
            self.note(ask, ask.failed(useless[0], 200, useless[1], *ask.used(facts)))
        else:
            self.keep(ask, facts, raw, kind)

    def keep(self, ask: Ask, facts: ReplyFacts, raw: bytes, kind: str, **how: bool) -> None:
        self.note(ask, ask.answered(facts, raw.decode("utf-8", "replace"), kind, **how))

    def note(self, ask: Ask, exchange: Exchange) -> None:
        """Every ask is noted once; what comes after its books were closed is not counted again."""
        if ask in self.asks:
            self.asks.remove(ask)
            ask.ticket.exchanges.append(exchange)
            self.listener.on_exchange(ask.ticket, exchange)
            if exchange.remark:
                self.remark(ask.ticket, f"{exchange.provider}/{exchange.model} told {exchange.remark}.")


def words(error: Exception) -> str:
    return str(error) or type(error).__name__
