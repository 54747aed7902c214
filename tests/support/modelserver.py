"""The far end of the wire: a model server on loopback whose replies are scripted, and nothing else about it.

It speaks the OpenAI, Anthropic and Gemini dialects to real clients; a function from Request to Reply decides what.
"""

import asyncio
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import astuple, dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any, AnyStr, Literal, Self
from urllib.parse import unquote, urlsplit

from tests.support.lean import OPTIONAL, lean
from tests.support.load import within

FENCE = ("```", "```")
CREATED = 1_790_000_000  # constant, so that the same request is answered with the same bytes


@dataclass(frozen=True)
class Usage:
    """Tokens as they are billed: input includes those read from a cache and written to it, output the thoughts."""

    input: int = 0
    output: int = 0
    cached: int = 0
    thoughts: int = 0
    written: int = 0

    def __add__(self, more: "Usage") -> "Usage":
        return Usage(*(mine + others for mine, others in zip(astuple(self), astuple(more), strict=True)))


@dataclass(frozen=True)
class Call:
    """A tool call: a text as arguments is a custom tool's input."""

    name: str
    arguments: dict[str, Any] | str


@dataclass(frozen=True)
class Reply:
    """What the script says. With a status of 400 or more, `text` is the error's message and `code` its code."""

    text: str = ""
    status: int = 200
    calls: tuple[Call, ...] = ()  # said after the text
    headers: dict[str, str] = field(default_factory=dict)
    latency: float | None = None  # None: the server's own
    usage: Usage | None = None  # None: estimated from the texts
    finish: str = "stop"  # stop, length or filter, said in each dialect's word
    code: str = ""
    raw_body: bytes | None = None  # sent as it is, instead of a body in the dialect
    drop: Literal["", "before", "mid"] = ""  # close the connection without an answer, or in the middle of it
    until: Callable[[], object] | None = None  # it is answered once this holds: `event.is_set`
    stall: float = 0.0  # seconds of silence after the first piece of the body
    pause: Callable[[], object] | None = None  # silence after the first piece until this holds
    drip: float = 0.0  # seconds before each piece of the body
    # Fields that are left out of the body, wherever they stand. None: all that are optional, as the leanest server does
    # it; then only a count that is not 0 is told.
    without: tuple[str, ...] | None = None


@dataclass
class Request:
    """One request, the same for all dialects; `status` and `usage` tell what was sent back (0: nothing was)."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    time: float = field(default_factory=time.time)
    dialect: str = ""  # openai, responses, anthropic or gemini; empty when the path is none of theirs
    model: str = ""
    streamed: bool = False
    system: str = ""
    messages: list[tuple[str, str]] = field(default_factory=list)  # (role, text), a pair for each part
    status: int = 0
    usage: Usage = Usage()

    @property
    def text(self) -> str:
        return "\n".join([self.system, *(text for _, text in self.messages)])

    @property
    def brief(self) -> str:
        """The last thing the user said, without the rules that Aider may repeat behind it."""
        said = next((text for role, text in reversed(self.messages) if role == "user"), "")
        return re.split(r"\n\n+(?:# \*SEARCH/REPLACE block\* Rules:|To suggest changes to a file you MUST)", said)[0]

    @cached_property
    def files(self) -> dict[str, str]:
        """The files in Aider's chat as it shows them: path -> content."""
        return self._listed("I have *added these files to the chat*")

    @cached_property
    def read_only(self) -> dict[str, str]:
        return self._listed("Here are some READ ONLY files")

    def _listed(self, opening: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for role, text in self.messages:
            if role == "user" and text.startswith(opening):
                found |= fenced_files(text)
        return found

    @cached_property
    def asks(self) -> Literal["diff", "whole", "commit", "summary", ""]:
        """What Aider wants: edits in one of two formats, a commit message, a summary; empty: this is not Aider."""
        orders = self.system or (self.messages[0][1] if self.messages else "")
        if "*SEARCH/REPLACE block*" in orders:
            return "diff"
        if "*file listing* format" in orders:
            return "whole"
        if "one-line Git commit messages" in orders:
            return "commit"
        return "summary" if "*Briefly* summarize this partial conversation" in orders else ""

    @cached_property
    def fence(self) -> tuple[str, str]:
        """The fence Aider's rules ask for: one that begins no line of the files it shows."""
        rule = re.search(r"opening fence and code language, eg: (\S+?)python|Second line: opening (\S+)", self.text)
        return pair_of(rule[1] or rule[2]) if rule else FENCE


def pair_of(opening: str) -> tuple[str, str]:
    return opening, opening.replace("<", "</")


def fenced_files(text: str) -> dict[str, str]:
    """Read Aider's listing: an empty line, the path, the opening fence, the content, the closing fence."""
    first = re.search(r"\n\n(.+)\n(`{3,4}|<(?:source|code|pre|codeblock|sourcecode)>)\n", text)
    if not first:
        return {}
    fence, rest = pair_of(first[2]), text[first.end() :]
    return _listing(first[1], rest, fence) or _listing(first[1], rest, fence, strict=False) or {}


def _listing(path: str, rest: str, fence: tuple[str, str], strict: bool = True) -> dict[str, str] | None:
    """Read on after an opening fence; None when this cannot be read to the end.

    A content without a final newline has the closing fence on its last line, and an indented fence inside a content may
    look like that: then another try is made with the next fence that begins a line. No line of a content begins with
    the fence, unless Aider found none that is free.
    """
    opening, closing = fence
    ending = rf"{closing}(?:\n\n(.+)\n{opening}\n|\n?\Z)"
    for end in (re.search(ending, rest), re.search("^" + ending, rest, re.MULTILINE)):
        if not end or (strict and re.search(rf"^(?:{opening}|{closing})", rest[: end.start()], re.MULTILINE)):
            continue
        others = _listing(end[1], rest[end.end() :], fence, strict) if end[1] else {}
        if others is not None:
            return {path: rest[: end.start()]} | others
    return None


def read_request(path: str, headers: dict[str, str], body: dict[str, Any]) -> Request:
    request = Request(path, headers, body, model=str(body.get("model", "")), streamed=bool(body.get("stream")))
    system, turns = _texts(body.get("system")), body.get("messages", [])
    plain_path = urlsplit(path).path
    if plain_path in ("/v1/chat/completions", "/chat/completions"):
        request.dialect = "openai"
    elif plain_path in ("/v1/responses", "/responses"):
        request.dialect, turns = "responses", [turn for turn in body.get("input", []) if "content" in turn]
    elif plain_path == "/v1/messages":
        request.dialect = "anthropic"
    elif named := re.fullmatch(r"(?:/v1beta|/v1)?/models/(.+):(generateC|streamGenerateC)ontent", plain_path):
        request.dialect, request.model, request.streamed = "gemini", unquote(named[1]), named[2].startswith("stream")
        system = _texts((body.get("system_instruction") or body.get("systemInstruction") or {}).get("parts"))
        turns = body.get("contents", [])
    for turn in turns:
        role = {"model": "assistant", "developer": "system"}.get(turn.get("role"), turn.get("role", "user"))
        parts = _texts(turn.get("content") or turn.get("parts"))
        if role == "system":
            system += parts
        else:
            request.messages += [(role, text) for text in parts]
    request.system = "\n".join(system)
    return request


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content or [] if "text" in part]


def estimate(request: Request, reply: Reply) -> Usage:
    return Usage(len(request.text.encode()) // 4 + 1, len(reply.text.encode()) // 4 + 1)


def cut(whole: AnyStr, parts: int = 16) -> list[AnyStr]:
    size = -(-len(whole) // parts) or 1
    return [whole[at : at + size] for at in range(0, len(whole), size)] or [whole]


# Each dialect says a reply in its own shape: one JSON object, or the objects of a stream.
Shapes = Iterator[dict[str, Any]]


def openai(request: Request, reply: Reply, usage: Usage, mark: str) -> Shapes:
    told = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached}
        | ({"cache_write_tokens": usage.written} if usage.written else {}),
        "completion_tokens_details": {"reasoning_tokens": usage.thoughts},
    }
    finish = {"filter": "content_filter"}.get(reply.finish, reply.finish)
    head = {"id": f"chatcmpl-{mark}", "created": CREATED, "model": request.model, "system_fingerprint": "fp_scripted"}
    head["service_tier"] = "default"
    if not request.streamed:
        message = {"role": "assistant", "content": reply.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        yield head | {"object": "chat.completion", "choices": [choice], "usage": told}
        return
    head["object"] = "chat.completion.chunk"
    deltas = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in cut(reply.text)), {}]
    for delta in deltas:
        yield head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None if delta else finish}]}
    if tells_usage(request):
        yield head | {"choices": [], "usage": told}


def anthropic(request: Request, reply: Reply, usage: Usage, mark: str) -> Shapes:
    finish = {"stop": "end_turn", "length": "max_tokens", "filter": "refusal"}.get(reply.finish, reply.finish)
    finish = "tool_use" if reply.calls else finish
    blocks = [
        {"type": "tool_use", "id": f"toolu_{mark}_{number}", "name": call.name, "input": call.arguments}
        for number, call in enumerate(reply.calls)
    ]
    stop = {"stop_reason": finish, "stop_sequence": None}
    told = {
        "input_tokens": usage.input - usage.cached - usage.written,
        "cache_creation_input_tokens": usage.written,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
        "service_tier": "standard",
    }
    head = {"id": f"msg_{mark}", "type": "message", "role": "assistant", "model": request.model}
    if not request.streamed:
        yield head | {"content": [{"type": "text", "text": reply.text}, *blocks], "usage": told} | stop
        return
    begun: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None}
    yield {"type": "message_start", "message": head | begun | {"usage": told | {"output_tokens": 1}}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    yield {"type": "ping"}
    for piece in cut(reply.text):
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
    yield {"type": "content_block_stop", "index": 0}
    for index, block in enumerate(blocks, 1):
        pieces = cut(json.dumps(block["input"]), 3)
        yield {"type": "content_block_start", "index": index, "content_block": block | {"input": {}}}
        for piece in pieces:
            yield {
                "type": "content_block_delta",
                "index": index,
                "delta": {"type": "input_json_delta", "partial_json": piece},
            }
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": stop, "usage": {"output_tokens": usage.output}}
    yield {"type": "message_stop"}


def responses(request: Request, reply: Reply, usage: Usage, mark: str) -> Shapes:
    told = {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.thoughts},
        "total_tokens": usage.input + usage.output,
    }
    content = [{"type": "output_text", "text": reply.text, "annotations": []}]
    items: list[dict[str, Any]] = [{"type": "message", "id": f"msg_{mark}", "role": "assistant", "content": content}]
    items = [] if reply.calls and not reply.text else items
    for number, call in enumerate(reply.calls):
        names = {"id": f"fc_{mark}_{number}", "call_id": f"call_{mark}_{number}", "name": call.name}
        if isinstance(call.arguments, str):
            items.append({"type": "custom_tool_call", "input": call.arguments} | names)
        else:
            items.append({"type": "function_call", "arguments": json.dumps(call.arguments)} | names)
    head = {"id": f"resp_{mark}", "object": "response", "model": request.model}
    whole = head | {"output": items, "usage": told, "status": "completed"}
    if reply.finish == "length":
        whole |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    if not request.streamed:
        yield whole
        return
    yield {"type": "response.created", "response": head | {"status": "in_progress", "output": []}}
    for number, item in enumerate(items):
        yield {"type": "response.output_item.done", "output_index": number, "item": item}
    yield {"type": "response.incomplete" if reply.finish == "length" else "response.completed", "response": whole}


def gemini(request: Request, reply: Reply, usage: Usage, mark: str) -> Shapes:
    finish = {"stop": "STOP", "length": "MAX_TOKENS", "filter": "SAFETY"}.get(reply.finish, reply.finish)
    told = {
        "promptTokenCount": usage.input,
        "cachedContentTokenCount": usage.cached,
        "candidatesTokenCount": usage.output - usage.thoughts,
        "thoughtsTokenCount": usage.thoughts,
        "totalTokenCount": usage.input + usage.output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input}],
    }
    pieces = cut(reply.text) if request.streamed else [reply.text]
    for number, piece in enumerate(pieces, 1):
        candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": [{"text": piece}]}}
        if number == len(pieces):
            candidate |= {"finishReason": finish, "avgLogprobs": -0.1}
        yield {"candidates": [candidate], "usageMetadata": told, "modelVersion": request.model, "responseId": mark}


SAY = {"openai": openai, "responses": responses, "anthropic": anthropic, "gemini": gemini}


def body_pieces(request: Request, reply: Reply, usage: Usage) -> list[bytes]:
    mark = hashlib.sha256((json.dumps(request.body, sort_keys=True) + reply.text).encode()).hexdigest()[:24]
    # A call is answered under its id, so no server leaves that out.
    left_out = OPTIONAL[request.dialect] if reply.without is None and not reply.calls else reply.without or ()
    said = SAY[request.dialect](request, reply, usage, mark)
    shapes = [lean(shape, left_out, zeros_only=reply.without is None) for shape in said]
    if not request.streamed:
        return [json.dumps(shapes[0]).encode()]
    if not is_sse(request):
        return [b"[", *(b"," * (at > 0) + json.dumps(each).encode() for at, each in enumerate(shapes)), b"]"]
    named = request.dialect in ("anthropic", "responses")
    events = [f"event: {each['type']}\n" if named else "" for each in shapes]
    lines = [f"{event}data: {json.dumps(each)}\n\n".encode() for event, each in zip(events, shapes, strict=True)]
    return [*lines, b"data: [DONE]\n\n"] if request.dialect == "openai" else lines


def is_sse(request: Request) -> bool:
    """Gemini streams one JSON array to a client that does not ask for events."""
    return request.streamed and (request.dialect != "gemini" or "alt=sse" in urlsplit(request.path).query)


def tells_usage(request: Request) -> bool:
    """OpenAI ends a stream with the usage only for a client that asked for it."""
    asked = (request.body.get("stream_options") or {}).get("include_usage")
    return request.dialect != "openai" or not request.streamed or bool(asked)


OPENAI_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
ANTHROPIC_TYPES = {401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error"}
ANTHROPIC_TYPES |= {400: "invalid_request_error", 413: "request_too_large", 429: "rate_limit_error"}
ANTHROPIC_TYPES |= {504: "timeout_error", 529: "overloaded_error"}
GEMINI_STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
GEMINI_STATUSES |= {429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}


def error_body(dialect: str, reply: Reply) -> bytes:
    status, message = reply.status, reply.text
    if dialect == "anthropic":
        error = {"type": reply.code or ANTHROPIC_TYPES.get(status, "api_error"), "message": message}
        return json.dumps({"type": "error", "error": error, "request_id": "req_scripted"}).encode()
    if dialect == "gemini":
        named = reply.code or GEMINI_STATUSES.get(status, "INTERNAL")
        return json.dumps({"error": {"code": status, "message": message, "status": named}}).encode()
    kind = "server_error" if status >= 500 else "requests" if status == 429 else "invalid_request_error"
    code = reply.code or OPENAI_CODES.get(status)
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


class ModelServer:
    """Runs in a thread and an event loop of its own, so that synchronous tests can use it.

    `respond` is called there, one request at a time. What it raises is answered with 400 and raised again on leaving.
    """

    def __init__(self, respond: Callable[[Request], Reply], latency: float = 0.0, listing: Reply | None = None) -> None:
        self.respond = respond
        # The answer to a GET for the models, whose `raw_body` has them. None: there is no such route.
        self.listing = listing
        self.latency = latency
        self.reset()
        self.active = 0
        self._port: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="modelserver", daemon=True)

    def reset(self) -> None:
        self.requests: list[Request] = []
        self.questions: list[Request] = []  # for the list of models, or for a tunnel through a proxy: free
        self.problems: list[Exception] = []
        self.peak = 0  # the most requests that were in flight at once

    def count(self, model: str | None = None) -> int:
        return sum(model in (None, request.model) for request in self.requests)

    def tokens(self, model: str | None = None) -> Usage:
        return sum((request.usage for request in self.requests if model in (None, request.model)), Usage())

    def __enter__(self) -> Self:
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._port.result(timeout=within())}"
        self.openai_base, self.anthropic_base, self.gemini_base = self.url + "/v1", self.url, self.url
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """A test may have it leave earlier."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(timeout=within())
        if self.problems and kind is None:
            raise ExceptionGroup("the model server's script failed", self.problems)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0, backlog=1024)
        self._port.set_result(server.sockets[0].getsockname()[1])
        await self._stop.wait()
        server.close()  # the end of asyncio.run cancels what is still being answered

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has left, or the server stops
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; true when the connection may carry another."""
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
        raw = await _read_body(reader, headers)
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            body = {}
        method, path = first.split()[:2]
        request = read_request(path, headers, body if isinstance(body, dict) else {})
        lists_models = method == "GET" and urlsplit(path).path.endswith("/models")
        (self.questions if lists_models or method == "CONNECT" else self.requests).append(request)
        self.active += 1
        self.peak = max(self.peak, self.active)
        try:
            return await self._answer(request, reader, writer)
        finally:
            self.active -= 1

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        reply = self._ask_script(request)
        await asyncio.sleep(self.latency if reply.latency is None else reply.latency)
        while reply.until is not None and not reply.until():  # noqa: ASYNC110 - it may be of another thread
            await asyncio.sleep(0.02)
        if reply.drop == "before" or reader.at_eof():  # at_eof: the client did not wait
            return False
        good = reply.status < 400 and reply.raw_body is None
        usage = (reply.usage or estimate(request, reply)) if good else Usage()
        if good:
            pieces = body_pieces(request, reply, usage)
        else:
            pieces = [error_body(request.dialect, reply) if reply.raw_body is None else reply.raw_body]
        request.status = reply.status
        request.usage = usage if tells_usage(request) and not reply.drop else Usage()
        try:
            await _send(writer, reply, pieces, stream=good and request.streamed)
        except ConnectionError:
            request.usage = Usage()
            raise
        return not reply.drop and request.headers.get("connection", "").lower() != "close"

    def _ask_script(self, request: Request) -> Reply:
        if not request.dialect and self.listing is not None and urlsplit(request.path).path.endswith("/models"):
            return self.listing
        if not request.dialect:
            return Reply(f"no such route: {request.path}", status=404, latency=0)
        try:
            return self.respond(request)
        except Exception as problem:  # the client gets a final answer, and the test hears of it
            self.problems.append(problem)
            return Reply(f"the script failed: {problem!r}", status=400, headers={"x-should-retry": "false"}, latency=0)


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


async def _send(writer: asyncio.StreamWriter, reply: Reply, pieces: list[bytes], stream: bool) -> None:
    events = pieces[0].startswith((b"data:", b"event:"))
    headers = {"content-type": "text/event-stream" if events else "application/json", "x-request-id": "req_scripted"}
    headers |= {"transfer-encoding": "chunked"} if stream else {"content-length": str(len(pieces[0]))}
    phrase = HTTPStatus(reply.status).phrase if reply.status in set(HTTPStatus) else "Scripted"
    lines = [f"HTTP/1.1 {reply.status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in (headers | reply.headers).items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    if not stream and (reply.drip or reply.stall or reply.pause or reply.drop):
        pieces = cut(pieces[0])
    for number, piece in enumerate(pieces[: len(pieces) // 2] if reply.drop else pieces):
        await asyncio.sleep(reply.stall if number == 1 else 0)
        while number == 1 and reply.pause is not None and not reply.pause():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await asyncio.sleep(reply.drip)
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if stream else piece)
        await writer.drain()
    if stream and not reply.drop:
        writer.write(b"0\r\n\r\n")
    await writer.drain()
