"""What requests and replies say, decoded where it holds up nobody: what is large is read by a child process.

json.loads keeps the interpreter's lock, so that a thread would not help. The functions are pure and take and give plain
values, so that each can run on either side.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from orchestra import dialects
from orchestra.answers.conversation import messages
from orchestra.dialects.usage import Tokens
from orchestra.dialects.values import string
from orchestra.gateway.tape import identity

LARGE = 1 << 20  # bytes; what has more is decoded elsewhere
CHILD_MEMORY = 2 << 30
CHILD_SECONDS = 120
CHILDREN = 2  # at once
MOST_MESSAGES = 10_000
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from orchestra.gateway.decode import serve; serve()"
NO_TOKENS = Tokens()
SHORTEST_QUOTED = 10  # signs in percents, before it is looked what they stand for
UNREADABLE = "it is too large or too deeply nested to be read"


@dataclass(frozen=True)
class RequestFacts:
    """What the gateway must know of a request. `problem` says why it cannot be let through."""

    model: str = ""
    streams: bool = False
    cap: int | None = None
    identity: str = ""
    asked: tuple[tuple[str, str], ...] = ()
    keys: tuple[str, ...] = ()  # the variables whose values stand in it
    problem: str = ""


@dataclass(frozen=True)
class ReplyFacts:
    """What the gateway must know of an answer's body. `mended` is what a client can read in place of it."""

    is_reply: bool = False
    text: str = ""
    finish: str = ""
    tokens: Tokens = NO_TOKENS
    message: str = ""
    mended: bytes | None = None


Forms = Iterable[tuple[str, str]]


# --- requests -------------------------------------------------------------------------------------------------------


class Ambiguous(ValueError):
    """The same name stands twice in an object: the provider may read the other one."""


def read_request(dialect: str, path: str, model: str, root: str, forms: Forms, raw: bytes) -> RequestFacts:
    """The facts of a request. `model` is the one in the path, `forms` are the ways in which our keys may be written."""
    try:
        body = json.loads(raw.decode("utf-8"), object_pairs_hook=unambiguous)
        if not isinstance(body, dict):
            return RequestFacts(problem="its body is no JSON object")
        text = json.dumps(body, ensure_ascii=False)
        return RequestFacts(
            model=model or string(body.get("model")),
            streams=dialects.streams(path, body),
            cap=dialects.output_cap(dialect, body),
            identity=identity(dialect, path, body, root),
            asked=tuple(messages(dialect, body)[:MOST_MESSAGES]),
            keys=keys_in(text, forms),
        )
    except Ambiguous as error:
        return RequestFacts(problem=f"the name {str(error)[:40]!r} stands twice in its body")
    except (ValueError, RecursionError):
        return RequestFacts(problem="its body is no JSON object")


def unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise Ambiguous(next(name for name in names if names.count(name) > 1))
    return made


def keys_in(text: str, forms: Forms) -> tuple[str, ...]:
    """The names of the keys that stand in a text: in one of their forms, broken over lines, or written in percents."""
    joined = text.replace("\\r", "").replace("\\n", "") if "\\n" in text else text
    unquoted = unquote(joined, errors="replace") if joined.count("%") >= SHORTEST_QUOTED else ""
    found = (name for form, name in forms if form in joined or form in unquoted or (is_torn(form) and form in text))
    return tuple(dict.fromkeys(found))


def is_torn(form: str) -> bool:
    """Whether it may lose something when the ends of lines, a backslash and a letter each, are taken out."""
    return form[0] in "rn" or "\\r" in form or "\\n" in form


def lower_cap(provider: str, dialect: str, cap: int, raw: bytes) -> bytes:
    """The request with a lower cap for its reply."""
    body = dialects.parse(raw)
    return json.dumps(dialects.with_cap(provider, dialect, body if isinstance(body, dict) else {}, cap)).encode()


# --- replies --------------------------------------------------------------------------------------------------------


def read_reply(dialect: str, kind: str, raw: bytes) -> ReplyFacts:
    """The facts of an answer that has come whole; `kind` is its content type."""
    try:
        if "event-stream" in kind:
            return reply_facts(dialect, dialects.join_stream(dialect, raw), raw, mend=False)
        value = dialects.parse(raw)
        body = dialects.join_whole(dialect, value)
        return reply_facts(dialect, body, raw, mend=body is value)
    except (dialects.TooLarge, RecursionError):
        return ReplyFacts(message=UNREADABLE)


def reply_facts(dialect: str, body: dialects.Body, raw: bytes, *, mend: bool = False) -> ReplyFacts:
    if not dialects.is_reply(dialect, body):
        told = json.dumps(body)[: dialects.LONGEST_ERROR].encode() if body and not mend else raw
        return ReplyFacts(message=dialects.message(told))
    clean = dialects.readable(dialect, body) if mend else body
    return ReplyFacts(
        is_reply=True,
        text=dialects.text(dialect, body),
        finish=dialects.finish(dialect, body),
        tokens=dialects.tokens(dialect, body),
        mended=None if clean is body else json.dumps(clean).encode(),
    )


# --- here, or in a child --------------------------------------------------------------------------------------------


class Decoder:
    """Reads what is small here and now, and what is large in a child process, two at a time."""

    def __init__(self) -> None:
        self.turn = asyncio.Semaphore(CHILDREN)

    async def request(self, dialect: str, path: str, model: str, root: str, forms: Forms, raw: bytes) -> RequestFacts:
        if len(raw) <= LARGE:
            return read_request(dialect, path, model, root, forms, raw)
        found = await self.elsewhere("request", [dialect, path, model, root, list(forms)], raw)
        if found is None:
            return RequestFacts(problem=UNREADABLE)
        asked = tuple((role, text) for role, text in found.pop("asked"))
        return RequestFacts(asked=asked, keys=tuple(found.pop("keys")), **found)

    async def reply(self, dialect: str, kind: str, raw: bytes) -> ReplyFacts:
        if len(raw) <= LARGE:
            return read_reply(dialect, kind, raw)
        found = await self.elsewhere("reply", [dialect, kind], raw)
        if found is None:
            return ReplyFacts(message=UNREADABLE)
        told, mended = found.pop("tokens"), found.pop("mended")
        told["unreadable"] = tuple(told["unreadable"])
        return ReplyFacts(tokens=Tokens(**told), mended=None if mended is None else mended.encode(), **found)

    async def lower_cap(self, provider: str, dialect: str, cap: int, raw: bytes) -> bytes:
        if len(raw) <= LARGE:
            return lower_cap(provider, dialect, cap, raw)
        found = await self.elsewhere("cap", [provider, dialect, cap], raw)
        return raw if found is None else str(found["raw"]).encode()

    async def elsewhere(self, what: str, arguments: list[Any], raw: bytes) -> dict[str, Any] | None:
        async with self.turn:
            out = await ask_child(json.dumps([what, arguments]).encode() + b"\n" + raw)
        return json.loads(out) if out else None


async def ask_child(said: bytes) -> bytes:
    """What the child answers; nothing when it could not read it, or not in time."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", PROGRAM, str(ROOT)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"LC_ALL": "C.UTF-8"},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(CHILD_SECONDS):
            out, _ = await child.communicate(said)
        return b"" if child.returncode else out
    except TimeoutError:
        return b""
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()


def serve() -> None:
    """The child: one line that says what is asked, then the bytes; the answer on stdout."""
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (CHILD_MEMORY, CHILD_MEMORY))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (CHILD_SECONDS, CHILD_SECONDS))
    what, arguments = json.loads(sys.stdin.buffer.readline())
    raw = sys.stdin.buffer.read()
    sys.stdout.write(json.dumps(answer(what, arguments, raw)))


def answer(what: str, arguments: list[Any], raw: bytes) -> dict[str, Any]:
    if what == "cap":
        provider, dialect, cap = arguments
        return {"raw": lower_cap(provider, dialect, cap, raw).decode()}
    if what == "request":
        dialect, path, model, root, forms = arguments
        return asdict(read_request(dialect, path, model, root, forms, raw))
    dialect, kind = arguments
    facts = asdict(read_reply(dialect, kind, raw))
    return facts | {"mended": facts["mended"] and facts["mended"].decode()}
