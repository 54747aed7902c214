"""Decode requests and replies without blocking the event loop: large ones in a child process.

json.loads keeps the interpreter's lock, so a thread would not help. The functions are pure and exchange plain values,
so each can run on either side.
"""

import asyncio
import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from orchestra import dialects
from orchestra.dialects import DIALECTS, Dialect, Tokens
from orchestra.gateway.prompt_cache import CachePlace, find_cache_places
from orchestra.gateway.recording import request_identity

MAX_INLINE_BYTES = 1 << 20  # bytes; more is decoded in a child
CHILD_MEMORY = 2 << 30
CHILD_SECONDS = 120
MAX_CHILDREN = 2  # at once
MOST_MESSAGES = 10_000
ROOT = Path(__file__).resolve().parents[2]
CHILD_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from orchestra.gateway.decode import serve_decode_child; serve_decode_child()"
)
CLIENT_HEADERS = frozenset(dialects.KEY_HEADERS + dialects.HOP_HEADERS)  # not forwarded
NO_TOKENS = Tokens()
SHORTEST_QUOTED = 10  # percent-encoded characters before they are decoded and searched
UNREADABLE_MESSAGE = "it is too large or too deeply nested to be read"


@dataclass(frozen=True)
class RequestFacts:
    """What the gateway must know about a request. `problem` says why it is refused."""

    model: str = ""
    streams: bool = False
    cap: int | None = None
    least_cap: int = 0
    identity: str = ""
    asked: tuple[tuple[str, str], ...] = ()
    keys: tuple[str, ...] = ()  # the variables whose values it contains
    places: tuple[CachePlace, ...] = ()  # where cache marks may stand
    problem: str = ""


@dataclass(frozen=True)
class ReplyFacts:
    """What the gateway must know about an answer's body. `mended` is a repaired body for the client."""

    is_reply: bool = False
    text: str = ""
    finish: str = ""
    tokens: Tokens = NO_TOKENS
    message: str = ""
    codes: str = ""  # of an error
    mended: bytes | None = None


KeyForms = Iterable[tuple[str, str]]


class DuplicateName(ValueError):
    """An object has the same name twice: the provider may read the other value."""


def read_request_facts(dialect: Dialect, path: str, root: str, forms: KeyForms, raw: bytes) -> RequestFacts:
    """Read the facts of a request. `forms`: the encodings of our keys."""
    try:
        body = json.loads(raw.decode("utf-8"), object_pairs_hook=reject_duplicate_names)
        if not isinstance(body, dict):
            return RequestFacts(problem="its body is no JSON object")
        text = json.dumps(body, ensure_ascii=False)
        return RequestFacts(
            model=dialect.model_of(path, body),
            streams=dialect.is_streaming(path, body),
            cap=dialect.output_cap(body),
            least_cap=dialect.least_cap(body),
            identity=request_identity(dialect.family, path, body, root),
            asked=tuple(dialect.read_request_messages(body)[:MOST_MESSAGES]),
            keys=find_keys(text, forms),
            places=find_cache_places(dialect, body),
        )
    except DuplicateName as error:
        return RequestFacts(problem=f"the name {str(error)[:40]!r} stands twice in its body")
    except (ValueError, RecursionError):
        return RequestFacts(problem="its body is no JSON object")


def reject_duplicate_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise DuplicateName(next(name for name in names if names.count(name) > 1))
    return made


def find_keys(text: str, forms: KeyForms) -> tuple[str, ...]:
    """Return the names of the keys in a text: in any encoding, broken over lines, or percent-encoded."""
    joined = text.replace("\\r", "").replace("\\n", "") if "\\n" in text else text
    unquoted = unquote(joined, errors="replace") if joined.count("%") >= SHORTEST_QUOTED else ""
    # Removing escaped line ends (a backslash and a letter) may change a form with such letters.
    found = (
        name
        for form, name in forms
        if form in joined or form in unquoted or (re.search(r"^[rn]|\\[rn]", form) and form in text)
    )
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class KeyGuard:
    """`forms`: the encodings of our keys, each with the name of its variable.

    `is_tracked`: whether the base's tracked files contain the key of a variable, so that it is no secret.
    """

    forms: tuple[tuple[str, str], ...] = field(repr=False, default=())
    is_tracked: Callable[[str], Awaitable[bool]] | None = None

    async def find_secret(self, facts: RequestFacts, query: str, headers: Mapping[str, str]) -> str:
        """Return the variable of a key that the request contains, if any."""
        values = (value for name, value in headers.items() if name.lower() not in CLIENT_HEADERS)
        for name in (*facts.keys, *find_keys(" ".join((unquote(query), *values)), self.forms)):
            if self.is_tracked is None or not await self.is_tracked(name):
                return name
        return ""


def lower_cap(dialect: Dialect, provider: str, cap: int, raw: bytes) -> bytes:
    """Return the request with a lower output limit."""
    body = dialects.parse_json_or_none(raw)
    return json.dumps(dialect.with_cap(provider, body if isinstance(body, dict) else {}, cap)).encode()


def mark_prompt(dialect: Dialect, numbers: Collection[int], key: str, raw: bytes) -> bytes:
    """Return the request with cache marks on these messages of its prompt."""
    return json.dumps(dialect.with_cache_marks(json.loads(raw), numbers, key)).encode()


def read_reply_facts(dialect: Dialect, kind: str, raw: bytes) -> ReplyFacts:
    """Read the facts of a complete answer; `kind` is its content type."""
    try:
        if "event-stream" in kind:
            return reply_facts(dialect, dialects.join_stream(dialect, raw), raw, mend=False)
        value = dialects.parse_json_or_none(raw)
        body = dialects.join_whole(dialect, value)
        return reply_facts(dialect, body, raw, mend=body is value)
    except (dialects.ReplyTooLarge, RecursionError):
        return ReplyFacts(message=UNREADABLE_MESSAGE)


def reply_facts(dialect: Dialect, body: dialects.Body, raw: bytes, *, mend: bool = False) -> ReplyFacts:
    if not dialect.is_reply(body):
        error_body = json.dumps(body)[: dialects.LONGEST_ERROR].encode() if body and not mend else raw
        return ReplyFacts(message=dialects.error_message(error_body), codes=dialects.error_codes(error_body))
    clean = dialects.readable_reply(dialect, body) if mend else body
    return ReplyFacts(
        is_reply=True,
        text=dialect.reply_text(body),
        finish=dialect.end_reason(body),
        tokens=dialect.token_usage(body),
        mended=None if clean is body else json.dumps(clean).encode(),
    )


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "request": read_request_facts,
    "reply": read_reply_facts,
    "cap": lower_cap,
    "marks": mark_prompt,
}


class Decoder:
    """Decodes small bodies at once, and large ones in a child process, two at a time."""

    def __init__(self) -> None:
        self.turn = asyncio.Semaphore(MAX_CHILDREN)

    async def decode_request(self, dialect: Dialect, path: str, root: str, forms: KeyForms, raw: bytes) -> RequestFacts:
        if len(raw) <= MAX_INLINE_BYTES:
            return read_request_facts(dialect, path, root, forms, raw)
        found = await self.decode_in_child("request", raw, dialect.name, path, root, list(forms))
        if found is None:
            return RequestFacts(problem=UNREADABLE_MESSAGE)
        asked = tuple((role, text) for role, text in found.pop("asked"))
        places = tuple(CachePlace(*place) for place in found.pop("places"))
        return RequestFacts(asked=asked, places=places, keys=tuple(found.pop("keys")), **found)

    async def decode_reply(self, dialect: Dialect, kind: str, raw: bytes) -> ReplyFacts:
        if len(raw) <= MAX_INLINE_BYTES:
            return read_reply_facts(dialect, kind, raw)
        found = await self.decode_in_child("reply", raw, dialect.name, kind)
        if found is None:
            return ReplyFacts(message=UNREADABLE_MESSAGE)
        tokens, mended = found.pop("tokens"), found.pop("mended")
        tokens["unreadable"] = tuple(tokens["unreadable"])
        return ReplyFacts(tokens=Tokens(**tokens), mended=None if mended is None else mended.encode(), **found)

    async def lower_cap(self, dialect: Dialect, provider: str, cap: int, raw: bytes) -> bytes:
        return await self.edit_request("cap", dialect, raw, provider, cap)

    async def mark_prompt(self, dialect: Dialect, numbers: Collection[int], key: str, raw: bytes) -> bytes:
        return await self.edit_request("marks", dialect, raw, list(numbers), key)

    async def edit_request(self, what: str, dialect: Dialect, raw: bytes, *arguments: Any) -> bytes:
        if len(raw) <= MAX_INLINE_BYTES:
            edited: bytes = FUNCTIONS[what](dialect, *arguments, raw)
            return edited
        found = await self.decode_in_child(what, raw, dialect.name, *arguments)
        return raw if found is None else str(found).encode()

    async def decode_in_child(self, what: str, raw: bytes, *arguments: Any) -> Any:
        """Return what one of FUNCTIONS returns, in JSON's types; None if the child failed."""
        async with self.turn:
            out = await run_decode_child(json.dumps([what, *arguments]).encode() + b"\n" + raw)
        return json.loads(out) if out else None


async def run_decode_child(order: bytes) -> bytes:
    """Return the child's answer; empty if it failed or was too slow."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", CHILD_PROGRAM, str(ROOT)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"LC_ALL": "C.UTF-8"},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(CHILD_SECONDS):
            out, _ = await child.communicate(order)
        return b"" if child.returncode else out
    except TimeoutError:
        return b""
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()


def serve_decode_child() -> None:
    """Run as the child: read one line that names the function, then the bytes; write the answer to stdout."""
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (CHILD_MEMORY, CHILD_MEMORY))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (CHILD_SECONDS, CHILD_SECONDS))
    what, dialect, *arguments = json.loads(sys.stdin.buffer.readline())
    found = FUNCTIONS[what](DIALECTS[dialect], *arguments, sys.stdin.buffer.read())
    sys.stdout.write(json.dumps(found, default=lambda each: each.decode() if isinstance(each, bytes) else asdict(each)))
