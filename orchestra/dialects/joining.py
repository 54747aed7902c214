"""Streams read event by event as they come, and the one body that each amounts to."""

import math
from typing import Any

from orchestra.dialects.base import Dialect, Joiner
from orchestra.dialects.values import Body, parse, record, records

LARGEST_EVENT = 1 << 20  # bytes
LEAST = 32  # bytes that each line counts for: a stream of empty lines takes as much time as a large one


class TooLarge(ValueError):
    """More has come than a reply may have."""


class StreamReader:
    """Takes the bytes of a stream in any pieces, up to `most`. What is no stream of events is kept for its end."""

    def __init__(self, joiner: Joiner, most: float = math.inf) -> None:
        self.most = most
        self.size = 0
        self.joiner = joiner
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


def join_stream(dialect: Dialect, raw: bytes) -> Body:
    """The one body that a finished stream amounts to, also one that is a JSON array, or no stream at all."""
    reader = StreamReader(dialect.joiner())
    for at in range(0, len(raw), 1 << 16):
        reader.feed(raw[at : at + (1 << 16)])
    plain = reader.end()
    return join_whole(dialect, parse(plain)) if plain else reader.body


def join_whole(dialect: Dialect, value: Any) -> Body:
    """A body that came at once: the array of a stream's chunks, or the reply itself."""
    if not isinstance(value, list):
        return record(value)
    reader = StreamReader(dialect.joiner())
    for chunk in records(value):
        reader.add(chunk)
    return reader.body
