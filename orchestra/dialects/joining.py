"""Read streams event by event, and join each into one body."""

import math
from typing import Any

from orchestra.dialects.base import Dialect, Joiner
from orchestra.dialects.values import Body, as_object, object_items, parse_json_or_none

LARGEST_EVENT = 1 << 20  # bytes
MIN_LINE_COST = 32  # bytes that each line counts for: empty lines cost as much time as long ones


class ReplyTooLarge(ValueError):
    """More was received than a reply may have."""


class StreamReader:
    """Takes the bytes of a stream in any pieces, up to `most`. What is not an event stream is kept until the end."""

    def __init__(self, joiner: Joiner, most: float = math.inf) -> None:
        self.most = most
        self.size = 0
        self.joiner = joiner
        self.error: Body = {}
        self.events = 0
        self.has_end_mark = False  # [DONE], which ends a stream of chat completions
        self.line: list[bytes] = []  # the pieces of an unfinished line
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
            raise ReplyTooLarge("the stream is too large")
        if not line.startswith(b"data:"):
            if not self.events:
                self.plain.append(line)
            return
        if len(line) > LARGEST_EVENT:
            raise ReplyTooLarge("an event of the stream is larger than 1 MB")
        self.events += 1
        self.plain = []
        data = line[5:].lstrip()
        self.has_end_mark = self.has_end_mark or data.strip() == b"[DONE]"
        chunk = parse_json_or_none(data) if data.startswith(b"{") else None
        if isinstance(chunk, dict):
            self.add_chunk(chunk)

    def add_chunk(self, chunk: Body) -> None:
        if chunk.get("error") or chunk.get("type") == "error":
            self.error = chunk
        self.joiner.add_chunk(chunk)

    def finish_stream(self) -> bytes:
        """End the stream; its last line may lack its end. Return what was received if it was not an event stream."""
        if self.line:
            self.handle_line(b"".join(self.line))
            self.line = []
        return b"" if self.events else b"\n".join(self.plain)

    @property
    def is_cut_off(self) -> bool:
        """Whether a reply has begun, and the stream has not said that it is complete."""
        return self.joiner.begun and not (self.error or self.has_end_mark or self.joiner.is_closed)

    @property
    def joined_body(self) -> Body:
        """The body that the stream amounts to. An error in it makes all of it an error."""
        return self.error or self.joiner.joined_body()


def join_stream(dialect: Dialect, raw: bytes) -> Body:
    """Join a finished stream into one body. It may also be a JSON array, or no stream at all."""
    reader = StreamReader(dialect.new_joiner())
    for at in range(0, len(raw), 1 << 16):
        reader.feed(raw[at : at + (1 << 16)])
    plain = reader.finish_stream()
    return join_whole(dialect, parse_json_or_none(plain)) if plain else reader.joined_body


def join_whole(dialect: Dialect, value: Any) -> Body:
    """Join a body that came at once: an array of chunks, or the reply itself."""
    if not isinstance(value, list):
        return as_object(value)
    reader = StreamReader(dialect.new_joiner())
    for chunk in object_items(value):
        reader.add_chunk(chunk)
    return reader.joined_body
