"""Which prompts share their beginning, and where cache marks pay off.

A provider bills the beginning of a prompt at a fraction if it has cached it, and caching it costs a quarter more. So a
beginning is marked if it has been sent before within the cache's lifetime, or if others are about to send it too. Of
those that start together the first one goes ahead, because nothing can be read before it is answered.

Pure bookkeeping with a clock that is passed in: only `CacheUse.ended` can be awaited.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from orchestra.dialects import Dialect
from orchestra.model import Usage
from orchestra.providers.catalogue import CacheRules

BYTES_PER_TOKEN = 4  # of a prompt
MOST_MARKS = 4
MOST_PLACES = 40  # of a prompt, the last ones
LONGEST_WAIT = 120.0  # seconds
NO_USAGE = Usage()


class CachePlace(NamedTuple):
    """The end of a message, where a mark may stand: its number, and the digest and size of the prompt up to there."""

    number: int
    digest: str
    tokens: int


@dataclass(eq=False)
class CacheUse:
    """The marks of one request. `is_possible`: its prompt is long enough to be cached, whether it is marked or not.
    `wait_for`: it should wait for this request, and then choose anew."""

    marked: tuple[CachePlace, ...] = ()
    is_possible: bool = False
    began: float = 0.0
    wait_for: "CacheUse | None" = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class PromptCache:
    """What one model's provider is believed to have cached. `rules`: None if no marks are set."""

    rules: CacheRules | None
    clock: Callable[[], float] = time.monotonic
    is_refused: bool = False
    least: int = 0  # tokens of the longest beginning that was not cached although it was marked
    cached: dict[str, float] = field(default_factory=dict)  # until when, by digest
    seen: dict[str, float] = field(default_factory=dict)
    written_by: dict[str, CacheUse] = field(default_factory=dict)  # in flight

    def begin_use(self, places: Sequence[CachePlace], *, is_agent: bool, is_shared: bool) -> CacheUse:
        """Decide about a request's marks. `is_shared`: others send the same request at the same time."""
        if self.rules is None or self.is_refused:
            return CacheUse()
        now, least = self.clock(), max(self.rules.from_tokens, self.least + 1)
        fitting = [place for place in places if place.tokens >= least]
        if not fitting or not is_agent:
            return CacheUse(is_possible=bool(fitting))
        self.forget_expired(now)
        known = [place for place in fitting if place.digest in self.cached]
        again = [place for place in fitting if place.digest in self.seen]
        fresh = fitting[-1].tokens - (known[-1].tokens if known else 0)
        wanted = {*known[-2:], *again[-1:]}  # reading renews what is marked
        if is_shared and self.rules.is_worth_waiting(fresh):
            # The last message is another one in a retry and in a next turn.
            wanted |= set(fitting[-2:])
            others = [self.written_by[place.digest] for place in fitting[-2:] if place.digest in self.written_by]
            if others:
                return CacheUse(wait_for=others[-1])
        marked = tuple(place for place in fitting if place in wanted and place.digest not in self.written_by)
        use = CacheUse(marked[-MOST_MARKS:], is_possible=True, began=now)
        self.written_by |= {place.digest: use for place in use.marked if place.digest not in self.cached}
        self.seen |= {place.digest: now + self.rules.seconds for place in fitting}
        return use

    def end_use(self, use: CacheUse, usage: Usage = NO_USAGE) -> None:
        """Record the usage of an ended request. A second call has no effect."""
        if use.ended.is_set():
            return
        use.ended.set()
        self.written_by = {digest: other for digest, other in self.written_by.items() if other is not use}
        if self.rules is None or not usage.replies or not use.marked:
            return
        if usage.cached or usage.cache_write:
            self.cached |= {place.digest: use.began + self.rules.seconds for place in use.marked}
        else:
            self.least = max(self.least, use.marked[-1].tokens)

    def forget_expired(self, now: float) -> None:
        for known in (self.cached, self.seen):
            for digest in [digest for digest, until in known.items() if until <= now]:
                del known[digest]


def find_cache_places(dialect: Dialect, body: dict[str, Any]) -> tuple[CachePlace, ...]:
    """Return where marks may stand in a request; nowhere in one that has marks of its own."""
    messages = dialect.prompt_messages(body)
    if not dialect.cache_mark or has_marks(dialect, body, messages):
        return ()
    digest, size = hashlib.sha256(), 0
    places: list[CachePlace] = []
    for text in [json.dumps(body.get("tools"))] + [json.dumps(message, sort_keys=True) for message in messages]:
        digest.update(text.encode())
        size += len(text)
        places.append(CachePlace(len(places) - 1, digest.hexdigest()[:32], size // BYTES_PER_TOKEN))
    return tuple(place for place in places[1:] if is_markable(messages[place.number]))[-MOST_PLACES:]


def has_marks(dialect: Dialect, body: dict[str, Any], messages: Sequence[dict[str, Any]]) -> bool:
    parts = [part for message in messages if isinstance(content := message.get("content"), list) for part in content]
    own = {*dialect.cache_mark, "prompt_cache_options", "prompt_cache_key"}
    return any(isinstance(each, dict) and not own.isdisjoint(each) for each in (body, *messages, *parts))


def is_markable(message: dict[str, Any]) -> bool:
    """Whether a message ends with a text. What a model said bears no mark in the OpenAI format."""
    content = message.get("content")
    last = content[-1] if isinstance(content, list) and content else {"type": "text", "text": content}
    return message.get("role") != "assistant" and isinstance(last, dict) and bool(last.get("text"))
