"""Streams read event by event as they come, and the one body that each amounts to."""

import math
from typing import Any

from orchestra.dialects.base import Dialect, Joiner
from orchestra.dialects.values import Body, as_object, object_items, parse_json_or_none

LARGEST_EVENT = 1 << 20  # bytes
MIN_LINE_COST = 32  # bytes that each line counts for: a stream of empty lines takes as much time as a large one


class ReplyTooLarge(ValueError):
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
            self.handle_line(b"".join([*self.line, end]))
            self.line, self.length = [], 0
        if rest:
            self.line.append(rest)
            self.length += len(rest)
        if self.length > LARGEST_EVENT and (self.events or self.line[0].startswith(b"data:")):
            raise ReplyTooLarge("an event of the stream is larger than 1 MB")

    def handle_line(self, line: bytes) -> None:
        self.size += max(len(line), MIN_LINE_COST)
        if self.size > self.most:
            raise ReplyTooLarge("the stream is larger than it may be")
        if not line.startswith(b"data:"):
            if not self.events:
                self.plain.append(line)
            return
        if len(line) > LARGEST_EVENT:
            raise ReplyTooLarge("an event of the stream is larger than 1 MB")
        self.events += 1
        self.plain = []
        said = line[5:].lstrip()
        chunk = parse_json_or_none(said) if said.startswith(b"{") else None
        if isinstance(chunk, dict):
            self.add_chunk(chunk)

    def add_chunk(self, chunk: Body) -> None:
        if chunk.get("error"):
            self.error = chunk
        self.joiner.add_chunk(chunk)

    def finish_stream(self) -> bytes:
        """The last line may lack its end. Returns what has come when it was no stream of events."""
        if self.line:
            self.handle_line(b"".join(self.line))
            self.line = []
        return b"" if self.events else b"\n".join(self.plain)

    @property
    def joined_body(self) -> Body:
        """What the stream amounts to; an error in it makes all of it one."""
        return self.error or self.joiner.joined_body()


def join_stream(dialect: Dialect, raw: bytes) -> Body:
    """The one body that a finished stream amounts to, also one that is a JSON array, or no stream at all."""
    reader = StreamReader(dialect.new_joiner())
    for at in range(0, len(raw), 1 << 16):
        reader.feed(raw[at : at + (1 << 16)])
    plain = reader.finish_stream()
    return join_whole(dialect, parse_json_or_none(plain)) if plain else reader.joined_body


def join_whole(dialect: Dialect, value: Any) -> Body:
    """A body that came at once: the array of a stream's chunks, or the reply itself."""
    if not isinstance(value, list):
        return as_object(value)
    reader = StreamReader(dialect.new_joiner())
    for chunk in object_items(value):
        reader.add_chunk(chunk)
    return reader.joined_body
