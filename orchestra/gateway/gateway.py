"""The gateway: a loopback server in our event loop that forwards model requests, and counts them."""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestra import dialects
from orchestra.dialects import DIALECTS, Dialect, ReplyTooLarge, StreamReader, rate_headers
from orchestra.gateway import wire
from orchestra.gateway.billing import ClientPass, Exchange, GatewayListener, Upstream
from orchestra.gateway.decode import Decoder, KeyGuard, ReplyFacts, reply_facts
from orchestra.gateway.lane import Limits, Refusal
from orchestra.gateway.pace import SentRequest
from orchestra.gateway.pending_request import PendingRequest
from orchestra.gateway.recording import RecordedReply, Recording
from orchestra.gateway.server import HOST, LoopbackServer
from orchestra.model import Usage

if TYPE_CHECKING:
    import httpx
    from starlette.requests import Request
    from starlette.responses import Response

CUT_SHORT_MESSAGE = "the run ended before the answer came"
ABANDONED_SECONDS = 60.0  # seconds to wait for an answer whose agent has gone: its end reports the cost
BYTES_PER_TOKEN = 4  # of a request, for estimated token counts
MAX_NOTES = 3  # about one agent's requests
STREAM_PATIENCE = 60.0  # seconds in which a stream is kept back, so that a broken one can be asked for again
NO_END = "the stream ended before its reply was complete"


class Gateway:
    """All model traffic of a run. The listener gets every exchange before its reply is handed on."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        listener: GatewayListener,
        *,
        server: LoopbackServer | None = None,
        guard: KeyGuard | None = None,
        memory: Recording | None = None,
        replay: Recording | None = None,
        client: "httpx.AsyncClient | None" = None,
        limits: Limits | None = None,
    ) -> None:
        self.upstreams = dict(upstreams)
        self.listener = listener
        self.guard = guard or KeyGuard()
        self.client = client or wire.open_client()
        self.server = server or LoopbackServer()
        self.server.handler = self.handle_asgi
        self.decoder = Decoder()
        self.notes: dict[str, list[str]] = {}
        self.limits = limits or Limits()
        self.memory = Recording() if memory is None else memory
        self.replay = replay
        self.passes: dict[str, ClientPass] = {}
        self.asks: set[PendingRequest] = set()
        self.request_ended = asyncio.Event()  # when one of these has ended
        self.readers: set[asyncio.Task[Response | Refusal]] = set()
        self.stream_patience = STREAM_PATIENCE

    @property
    def port(self) -> int:
        return self.server.port

    # --- tokens

    def add_client(self, ticket: ClientPass) -> ClientPass:
        self.passes[ticket.token] = ticket
        return ticket

    def remove_client(self, ticket: ClientPass) -> None:
        """Send none of its waiting requests. Those in flight will be billed, so read their answers to the end."""
        self.passes.pop(ticket.token, None)
        for ask in self.asks:
            if ask.ticket is ticket:
                ask.shorten_deadline(ABANDONED_SECONDS)
        for ask in [ask for ask in self.asks if ask.ticket is ticket and id(ask) in ticket.waits_since]:
            last = ask.trouble.last or (ask.lane.last_refusal if ask.lane.breaker.is_open else None)
            why = last or Refusal("cancelled", 0, CUT_SHORT_MESSAGE)
            self.note_failure(ask, why.failure, why.status, why.message)
            if ask.task is not None:
                ask.task.cancel()

    async def recall_replies(self, ticket: ClientPass) -> None:
        """Wait until the requests of a client that was lost have ended, and give what was paid to the next one."""
        while any(ask.ticket is ticket for ask in self.asks):
            self.request_ended.clear()
            await self.request_ended.wait()
        for exchange in ticket.exchanges:
            if exchange.raw and not exchange.failure:
                self.memory.add_again(exchange.identity, RecordedReply(ticket.holder, exchange.kind, exchange.raw))

    def client_url(self, ticket: ClientPass, provider: str) -> str:
        return f"http://{HOST}:{self.port}/t/{ticket.token}/{provider}"

    # --- the server

    async def start(self) -> None:
        """Start the server, unless a started one was given."""
        await self.server.start()

    async def stop(self) -> None:
        """Stop at once. Requests in flight are recorded as cut off, and their clients get an answer."""
        self.passes.clear()
        self.close_open_requests()
        readers = list(self.readers)
        for reader in readers:
            reader.cancel()
        await self.server.stop()
        await asyncio.gather(*readers, return_exceptions=True)
        await self.client.aclose()

    def close_open_requests(self) -> None:
        """Record all unanswered requests: they are not awaited any more, but may be billed."""
        for ask in list(self.asks):
            self.note_failure(ask, "cancelled", 0, CUT_SHORT_MESSAGE)

    async def handle_asgi(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.requests import Request

        if scope["type"] == "http":
            response = await self.handle_request(Request(scope, receive))
            await response(scope, receive, send)

    async def handle_request(self, request: "Request") -> "Response":
        from starlette.responses import Response

        scope = request.scope
        path: str = scope["raw_path"].decode("latin-1")
        _, _, token, provider, rest, *_ = [*path.split("/", 4), "", "", "", ""]
        ticket, upstream = self.passes.get(token), self.upstreams.get(provider)
        if ticket is None or upstream is None:
            return Response(b"unknown token or provider\n", 403)
        route = dialects.route_request(upstream.dialect, request.method, rest)
        if route is None:
            return self.reject_unknown(
                ticket, upstream, f"{request.method} {rest[:100]!r}", "this is not a request for a reply"
            )
        if route.kind in ("probe", "side"):
            # Clients ask this by themselves and work without an answer.
            return Response(b"", 200 if route.kind == "probe" else 404)
        try:
            raw = await wire.read_request_body(request.receive)
        except ConnectionResetError:
            return Response(b"", 400)
        except ReplyTooLarge as error:
            return self.reject_unknown(ticket, upstream, f"a reply ({route.path})", str(error))
        if route.kind == "count":
            return Response(
                json.dumps(route.dialect.count_reply(len(raw) // BYTES_PER_TOKEN + 1)), media_type="application/json"
            )
        plain = dialects.path_without_version(route.dialect, route.path)
        facts = await self.decoder.decode_request(route.dialect, plain, ticket.root, self.guard.forms, raw)
        if token not in self.passes:  # since its body began to come
            return Response(b"unknown token or provider\n", 403)
        if facts.problem:
            return self.reject_unknown(ticket, upstream, f"a reply ({route.path})", facts.problem)
        if ticket.models is not None and f"{upstream.provider}/{facts.model}" not in ticket.models:
            return self.reject_unknown(ticket, upstream, f"the model {facts.model[:100]!r}", "this run does not use it")
        query = wire.query_without_keys(scope["query_string"].decode("latin-1"))
        ask = PendingRequest(ticket, upstream, route, query, request.headers, raw, facts, self.limits, self.listener)
        ask.task = asyncio.current_task()
        self.asks.add(ask)
        try:
            if secret := await self.guard.find_secret(facts, query, request.headers):
                return self.refuse(ask, "key", 0, f"the request held the value of {secret}, so it was not sent")
            return await self.forward(ask)
        except asyncio.CancelledError:
            return self.refuse(ask, "cancelled", 0, CUT_SHORT_MESSAGE)
        except Exception as error:
            # A 500 from us would make an agent repeat a request up to 27 times because of our bug.
            return self.refuse(ask, "gateway", 0, f"a bug in the gateway: {error!r}")

    def reject_unknown(self, ticket: ClientPass, upstream: Upstream, what: str, why: str) -> "Response":
        """Refuse what is no known request: it is not counted and costs nothing; the user gets a note."""
        self.note_for_user(ticket, f"{ticket.holder} asked {upstream.provider} for {what}: refused, {why}.")
        return final_error(DIALECTS[upstream.dialect], 403)

    def note_for_user(self, ticket: ClientPass, text: str) -> None:
        """Add a note for the user, once, and only a few per agent."""
        notes = self.notes.setdefault(ticket.holder, [])
        if text not in notes and len(notes) < MAX_NOTES:
            notes.append(text)
            self.listener.on_note(ticket, text)

    # --- one request

    async def forward(self, ask: PendingRequest) -> "Response":
        if ask.ticket.has_failed:
            self.forget_request(ask)
            return final_error(ask.dialect, 400)
        if ask.ticket.is_exhausted(self.count_earlier(ask)):
            return self.refuse(ask, "iterations", 0, f"the limit of {ask.ticket.iterations} replies is reached")
        if ask.ticket.forbids_repeat(ask.facts.identity):
            return self.refuse(ask, "garbage", 200, "the agent could not read this provider's reply")
        if kept := self.memory.take_unused(ask.facts.identity):
            return await self.deliver_stored_reply(ask, kept, recalled=True)
        if self.replay is not None:
            return await self.replay_request(ask, self.replay)
        await ask.choose_cache_marks()
        while True:
            with ask.waiting_period():
                if short := await ask.reserve(self.decoder):
                    return self.refuse(ask, "budget", 0, short)
                turn = await ask.lane.wait_for_turn(ask.trouble)
            if isinstance(turn, Refusal):
                return self.refuse(ask, turn.failure, turn.status, turn.message)
            try:
                outcome = await self.send_upstream(ask, turn)
            except BaseException:
                ask.lane.forget_request(turn, ask.trouble)
                raise
            if not isinstance(outcome, Refusal):
                ask.lane.cache.is_refused |= ask.dropped_marks
                return outcome
            again = ask.lane.record_failure(turn, ask.trouble, outcome)
            ask.count_as_lost()
            again = again or ask.drop_refused_marks(outcome)
            if not (again and ask.ticket.token in self.passes):
                return self.refuse(ask, outcome.failure, outcome.status, outcome.message)

    def count_earlier(self, ask: PendingRequest) -> int:
        """Count the client's requests that came before this one and are not answered yet."""
        return sum(other.ticket is ask.ticket and other.number < ask.number for other in self.asks)

    async def send_upstream(self, ask: PendingRequest, turn: SentRequest) -> "Response | Refusal":
        import httpx

        body = await ask.outgoing_body(self.decoder)
        ask.sent += 1
        ask.flying = True
        ask.began, answer = time.monotonic(), None
        try:
            request = self.client.build_request("POST", ask.url, headers=ask.headers, content=body)
            async with ask.answer_deadline():
                answer = await self.client.send(request, stream=True)
                headers = wire.pick_headers(answer)
                streams = ask.facts.streams and answer.status_code == 200
                if not streams or "html" in headers.get("content-type", ""):
                    try:
                        raw = await wire.read_body(answer, headers.get("content-encoding", ""), ask.max_reply_tokens)
                    finally:
                        await answer.aclose()
                    return await self.handle_answer(ask, turn, answer.status_code, headers, raw)
            return await self.take_stream(ask, turn, answer, headers)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            ask.mark_unsent()
            return Refusal("bad_request", 0, f"{ask.upstream.base!r} is not a server's address: {error_text(error)}")
        except (httpx.LocalProtocolError, UnicodeEncodeError):
            ask.mark_unsent()
            return Refusal("auth", 0, "the key cannot be sent: it holds a character that HTTP does not allow")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            ask.mark_unsent()
            return Refusal("unreachable", 0, f"{request.url.netloc.decode()}: {error_text(error)}")
        except httpx.TimeoutException as error:
            return Refusal("timeout", 0, f"no answer in {wire.READ_TIMEOUT:.0f} s ({error_text(error)})")
        except TimeoutError:
            return Refusal("timeout", 0, f"no whole answer in {ask.in_flight_seconds:.0f} s")
        except ReplyTooLarge as error:
            return Refusal("garbage", 200, str(error))
        except httpx.HTTPError as error:
            if wire.H11_TOO_LONG in str(error):
                return Refusal("garbage", 0, "the headers of its answer are larger than 100 kB")
            return Refusal("server", 0, f"the connection was lost: {error_text(error)}", lost=answer is not None)

    async def handle_answer(
        self, ask: PendingRequest, turn: SentRequest, status: int, headers: Mapping[str, str], raw: bytes
    ) -> "Response | Refusal":
        facts = ReplyFacts()
        if status == 200:
            facts = await self.decoder.decode_reply(ask.dialect, "", raw)
        if hold := rate_headers.used_up_seconds(headers):
            ask.lane.obey_rate_headers(turn, hold)
        if facts.is_reply:
            ask.lane.record_reply(turn)
            if useless := ask.unusable_reason(facts):
                # It is paid, and useless to the agent.
                return self.refuse(ask, useless[0], 200, useless[1], ask.bill_reply(facts))
            return self.deliver_reply(ask, facts, raw, "application/json")
        failure, message = dialects.classify_failure(status, raw), facts.message or dialects.error_message(raw)
        # An error is not billed; what should have been a reply may be.
        ask.flying = failure == "garbage" and status == 200 and not dialects.is_html(raw)
        if 300 <= status < 400:
            message = f"it redirects to {dialects.redirect_target(headers.get('location', ''))}"
        if failure == "garbage":
            message = f"this is no reply as {ask.upstream.dialect} gives it: {message}"
        # Only a refusal gives the time to wait in its body; the body of a good answer may be large.
        return Refusal(failure, status, message, rate_headers.read_retry_after(headers, b"" if status == 200 else raw))

    def deliver_reply(
        self, ask: PendingRequest, facts: ReplyFacts, raw: bytes, kind: str, *, stored: bool = True, **how: bool
    ) -> "Response":
        """Record a reply, and then hand it on. One that is too long to be `stored` cannot be given again."""
        from starlette.responses import Response

        self.note_exchange(ask, ask.make_answered_exchange(facts, raw if stored else b"", kind, **how))
        return Response(raw if facts.mended is None else facts.mended, 200, media_type=kind)

    async def take_stream(
        self, ask: PendingRequest, turn: SentRequest, answer: "httpx.Response", headers: Mapping[str, str]
    ) -> "Response | Refusal":
        """Return a whole stream, or why there is none. A stream that takes long is relayed while it comes."""
        from starlette.responses import StreamingResponse

        relay = wire.StreamRelay()
        reader = asyncio.create_task(self.read_stream(ask, turn, answer, headers, relay))
        self.readers.add(reader)
        reader.add_done_callback(self.readers.discard)
        await asyncio.wait({reader}, timeout=self.stream_patience)
        if reader.done():
            return reader.result()
        relay.is_open = True
        return StreamingResponse(wire.relay_pieces(relay.pieces), 200, media_type=headers.get("content-type") or None)

    async def read_stream(
        self,
        ask: PendingRequest,
        turn: SentRequest,
        answer: "httpx.Response",
        headers: Mapping[str, str],
        relay: wire.StreamRelay,
    ) -> "Response | Refusal":
        """Read a stream to its end and record it, even if its client is gone: it is paid for."""
        end: bytes | None = None
        try:
            outcome = await self.read_whole_stream(ask, turn, answer, headers, relay)
            if isinstance(outcome, Refusal) and relay.is_open:
                self.note_failure(ask, outcome.failure, outcome.status, outcome.message)
            elif not isinstance(outcome, Refusal):
                end = b""
            return outcome
        except asyncio.CancelledError:
            self.note_failure(ask, "cancelled", 200, CUT_SHORT_MESSAGE)
            raise
        except Exception as error:
            self.note_failure(ask, "gateway", 200, f"a bug in the gateway: {error!r}")
            return Refusal("gateway", 200, "a bug in the gateway")
        finally:
            if relay.is_open:
                ask.lane.forget_request(turn, ask.trouble)
            relay.end(end)
            await answer.aclose()

    async def read_whole_stream(
        self,
        ask: PendingRequest,
        turn: SentRequest,
        answer: "httpx.Response",
        headers: Mapping[str, str],
        relay: wire.StreamRelay,
    ) -> "Response | Refusal":
        import httpx

        kind = headers.get("content-type", "")
        try:
            async with ask.answer_deadline():
                facts = await self.relay_events(ask, answer, headers, relay)
        except httpx.HTTPError as error:
            return Refusal("server", 200, f"the stream broke off: {error_text(error)}", lost=True)
        except TimeoutError:
            return Refusal("timeout", 200, f"the stream had not ended in {ask.in_flight_seconds:.0f} s")
        except ReplyTooLarge as error:
            return Refusal("garbage", 200, str(error))
        if facts is None:
            return Refusal("server", 200, NO_END, lost=True)
        if not facts.is_reply:
            return Refusal(dialects.classify_stream_error(f"{facts.codes} {facts.message}"), 200, facts.message)
        ask.lane.record_reply(turn)
        if useless := ask.unusable_reason(facts):
            return self.refuse(ask, useless[0], 200, useless[1], ask.bill_reply(facts))
        return self.deliver_reply(ask, facts, relay.whole, kind, stored=relay.stored)

    async def relay_events(
        self, ask: PendingRequest, answer: "httpx.Response", headers: Mapping[str, str], relay: wire.StreamRelay
    ) -> ReplyFacts | None:
        """Relay the events as they come. Return the facts of the joined body; None if the stream was cut off."""
        cap = max(wire.MIN_REPLY_LIMIT, wire.STREAM_BYTES_PER_TOKEN * ask.max_reply_tokens)
        reader = StreamReader(ask.dialect.new_joiner(), cap)
        async for piece in wire.inflated_pieces(answer, headers.get("content-encoding", ""), cap):
            reader.feed(piece)
            relay.add(piece)
        if plain := reader.finish_stream():
            return await self.decoder.decode_reply(ask.dialect, headers.get("content-type", ""), plain)
        if reader.is_cut_off:
            return None
        return reply_facts(ask.dialect, reader.joined_body, relay.whole)

    async def replay_request(self, ask: PendingRequest, recording: Recording) -> "Response":
        found, drifted = recording.next_reply(ask.facts.identity), False
        if found is None and ask.ticket.task is None:
            found, drifted = recording.substitute_reply(ask.ticket.role), True
        if found is None:
            return self.refuse(ask, "drift", 0, f"{recording.name} has no reply to this request")
        if not found.is_complete:
            return self.refuse(ask, "drift", 0, f"a secret was redacted from this reply in {recording.name}")
        ask.sent = found.requests
        if found.failure:
            return self.refuse(ask, found.failure, found.status, found.message)
        return await self.deliver_stored_reply(ask, found, replayed=True, drifted=drifted)

    async def deliver_stored_reply(self, ask: PendingRequest, kept: RecordedReply, **how: bool) -> "Response":
        raw = kept.body.encode()
        facts = await self.decoder.decode_reply(ask.dialect, kept.kind, raw)
        return self.deliver_reply(ask, facts, raw, kept.kind, **how)

    def refuse(
        self, ask: PendingRequest, failure: str, status: int, message: str, billed: tuple[Usage, str] | None = None
    ) -> "Response":
        """Answer with a final error. `billed`: the usage of a reply that is paid for, and what is odd about it."""
        self.note_failure(ask, failure, status, message, billed)
        return final_error(ask.dialect, 400)

    # --- what became of it

    def note_failure(
        self, ask: PendingRequest, failure: str, status: int, message: str, billed: tuple[Usage, str] | None = None
    ) -> None:
        self.note_exchange(ask, ask.make_exchange(failure, status, message, *(billed or ())))

    def forget_request(self, ask: PendingRequest) -> None:
        self.asks.discard(ask)
        self.request_ended.set()

    def note_exchange(self, ask: PendingRequest, exchange: Exchange) -> None:
        """Record each request once. What comes after the records were closed is not counted again."""
        if ask in self.asks:
            self.forget_request(ask)
            ask.lane.cache.end_use(ask.cache_use, exchange.usage)
            ask.ticket.exchanges.append(exchange)
            self.listener.on_exchange(ask.ticket, exchange)
            if exchange.remark:
                self.note_for_user(ask.ticket, f"{exchange.provider}/{exchange.model} told {exchange.remark}.")


def final_error(dialect: Dialect, status: int) -> "Response":
    from starlette.responses import Response

    headers = {"x-should-retry": "false"}
    return Response(dialects.final_error_body(dialect), status, headers, media_type="application/json")


def error_text(error: Exception) -> str:
    return str(error) or type(error).__name__
