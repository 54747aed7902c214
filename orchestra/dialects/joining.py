"""Streams of the three dialects, read event by event as they come, and the one body that each amounts to."""

import math
from typing import Any

from orchestra.dialects.values import Body, parse, record, records, string

LARGEST_EVENT = 1 << 20  # bytes
LEAST = 32  # bytes that each line counts for: a stream of empty lines takes as much time as a large one


class TooLarge(ValueError):
    """More has come than a reply may have."""


def later(usage: Any, told: Any) -> Any:
    """The usage that counts: the last one that is told. One that is no object counts too, so that it is seen."""
    return usage if told is None or told == {} else told


class OpenAiJoiner:
    """The chunks of a chat completion; or the last event of a response, which holds all of it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.finish = ""
        self.usage: Any = None
        self.begun = False
        self.response: Body = {}

    def add(self, chunk: Body) -> None:
        for choice in records(chunk.get("choices")):
            self.begun = True
            part = record(choice.get("delta")) or record(choice.get("message"))
            self.said.append(string(part.get("content")))
            self.finish = string(choice.get("finish_reason")) or self.finish
        self.usage = later(self.usage, chunk.get("usage"))
        self.response = record(chunk.get("response")) or self.response

    def body(self) -> Body:
        if not self.begun:
            return self.response
        choice = {"message": {"content": "".join(self.said)}, "finish_reason": self.finish}
        return {"choices": [choice], "usage": {} if self.usage is None else self.usage}


class AnthropicJoiner:
    """The events of a message. Usage comes in two of them, the later one counts."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.stop = ""
        self.usage: Body = {}
        self.odd: Any = None  # a usage that is no object
        self.begun = False

    def add(self, chunk: Body) -> None:
        message, delta = record(chunk.get("message")), record(chunk.get("delta"))
        self.begun = self.begun or bool(message) or chunk.get("type") == "content_block_delta"
        for used in (message.get("usage"), chunk.get("usage")):
            if isinstance(used, dict):
                self.usage |= {name: value for name, value in used.items() if value is not None}
            else:
                self.odd = later(self.odd, used)
        self.stop = string(delta.get("stop_reason")) or self.stop
        if chunk.get("type") == "content_block_delta":
            self.said.append(string(delta.get("text")))

    def body(self) -> Body:
        if not self.begun:
            return {}
        content = [{"type": "text", "text": "".join(self.said)}]
        usage = self.usage if self.odd is None else self.odd
        return {"type": "message", "content": content, "usage": usage, "stop_reason": self.stop}


class GeminiJoiner:
    """Each chunk is a reply of its own, with a piece of the text and the usage so far."""

    def __init__(self) -> None:
        self.parts: list[Body] = []
        self.finish = ""
        self.usage: Any = None
        self.begun = False
        self.first: Body = {}

    def add(self, chunk: Body) -> None:
        self.first = self.first or chunk
        self.usage = later(self.usage, chunk.get("usageMetadata"))
        for candidate in records(chunk.get("candidates"))[:1]:
            self.begun = True
            self.parts += records(record(candidate.get("content")).get("parts"))
            self.finish = string(candidate.get("finishReason")) or self.finish

    def body(self) -> Body:
        if not self.begun:
            return self.first
        candidate = {"content": {"role": "model", "parts": self.parts}, "finishReason": self.finish}
        return {"candidates": [candidate], "usageMetadata": {} if self.usage is None else self.usage}


Joiner = OpenAiJoiner | AnthropicJoiner | GeminiJoiner
JOINERS: dict[str, type[Joiner]] = {"openai": OpenAiJoiner, "anthropic": AnthropicJoiner, "gemini": GeminiJoiner}


class StreamReader:
    """Takes the bytes of a stream in any pieces, up to `most`. What is no stream of events is kept for its end."""

    def __init__(self, dialect: str, most: float = math.inf) -> None:
        self.most = most
        self.size = 0
        self.joiner = JOINERS[dialect]()
        self.error: Body = {}
        self.events = 0
        self.line: list[bytes] = []  # the pieces of one that has not ended yet
        self.length = 0
        self.plain: list[bytes] = []

    def feed(self, piece: bytes) -> None:
        *whole, rest = piece.split(b"\n")
        for end in whole:
            self.take(b"".join([*self.line, end]))
            self.line, self.length = [], 0
        if rest:
            self.line.append(rest)
            self.length += len(rest)
        if self.length > LARGEST_EVENT and (self.events or self.line[0].startswith(b"data:")):
            raise TooLarge("an event of the stream is larger than 1 MB")

    def take(self, line: bytes) -> None:
        self.size += max(len(line), LEAST)
        if self.size > self.most:
            raise TooLarge("the stream is larger than it may be")
        if not line.startswith(b"data:"):
            if not self.events:
                self.plain.append(line)
            return
        if len(line) > LARGEST_EVENT:
            raise TooLarge("an event of the stream is larger than 1 MB")
        self.events += 1
        self.plain = []
        said = line[5:].lstrip()
        chunk = parse(said) if said.startswith(b"{") else None
        if isinstance(chunk, dict):
            self.add(chunk)

    def add(self, chunk: Body) -> None:
        if chunk.get("error"):
            self.error = chunk
        self.joiner.add(chunk)

    def end(self) -> bytes:
        """The last line may lack its end. Returns what has come when it was no stream of events."""
        if self.line:
            self.take(b"".join(self.line))
            self.line = []
        return b"" if self.events else b"\n".join(self.plain)

    @property
    def body(self) -> Body:
        """What the stream amounts to; an error in it makes all of it one."""
        return self.error or self.joiner.body()


def join_stream(dialect: str, raw: bytes) -> Body:
    """The one body that a finished stream amounts to, also one that is a JSON array, or no stream at all."""
    reader = StreamReader(dialect)
    for at in range(0, len(raw), 1 << 16):
        reader.feed(raw[at : at + (1 << 16)])
    plain = reader.end()
    return join_whole(dialect, parse(plain)) if plain else reader.body


def join_whole(dialect: str, value: Any) -> Body:
    """A body that came at once: the array of a stream's chunks, or the reply itself."""
    if not isinstance(value, list):
        return record(value)
    reader = StreamReader(dialect)
    for chunk in records(value):
        reader.add(chunk)
    return reader.body
