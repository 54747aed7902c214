"""Bill prompts as providers publish it: what was cached of a beginning is read at a fraction, caching it costs more.

Anthropic caches up to marks only; a mark reads what was cached at it or up to 20 blocks before it. OpenAI (since
GPT-5.6) caches up to the last message by itself, and reads at the end of any message; in explicit mode it does both at
marks alone. Both need a minimum length, forget after a while, and give back what was cached once its reply has begun.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

from orchestra.gateway.recording import with_files_last
from orchestra.providers import catalogue
from tests.support.modelserver import Reply, Request, Usage

LOOK_BACK = 20  # blocks
MOST_MARKS = 4
LEAST = 1024  # tokens


@dataclass(frozen=True)
class Bill:
    """The tokens of a request, and the prefixes that are cached from its reply on."""

    input: int
    cached: int
    written: int
    prefixes: tuple[str, ...]


@dataclass
class PrefixBilling:
    """`as_aider`: bill the messages in Aider's own order, as they were sent before files stood first."""

    as_aider: bool = False
    clock: Callable[[], float] = time.monotonic
    cached: dict[tuple[str, str], float] = field(default_factory=dict)  # until when
    dollars: float = 0.0  # of input
    tokens: int = 0
    marks: int = 0

    def bill(self, request: Request) -> Bill:
        """Bill a request when it arrives."""
        body = request.body | {"messages": with_files_last(request.body["messages"])} if self.as_aider else request.body
        blocks = list(blocks_of(body))
        ends = list(accumulate(len(text.encode()) // 4 for text, _, _ in blocks))
        prefixes = ["".join(text for text, _, _ in blocks[: n + 1]) for n in range(len(blocks))]
        marks = [n for n, (_, marked, _) in enumerate(blocks) if marked]
        assert len(marks) <= MOST_MARKS, f"{len(marks)} marks"
        self.marks += len(marks)
        reads = writes = marks
        if request.dialect == "anthropic":
            reads = [n for mark in marks for n in range(max(0, mark - LOOK_BACK), mark + 1)]
        elif body.get("prompt_cache_options") == {"mode": "explicit"}:
            assert bool(body.get("prompt_cache_key")) == bool(marks)
        else:  # up to the last message, and at each one before it
            reads = writes = [n for n, (_, _, ends_message) in enumerate(blocks) if ends_message]
        hit = max((n for n in reads if self.is_cached(request.model, prefixes[n])), default=-1)
        new = [n for n in writes if n > hit and ends[n] >= LEAST]
        cached = ends[hit] if hit >= 0 else 0
        if hit >= 0:
            self.keep(request, prefixes[hit])
        written = ends[new[-1]] - cached if new else 0
        return Bill(ends[-1], cached, written, tuple(prefixes[n] for n in new))

    def is_cached(self, model: str, prefix: str) -> bool:
        return self.cached.get((model, prefix), 0.0) > self.clock()

    def keep(self, request: Request, prefix: str) -> None:
        seconds = {"anthropic": 300, "openai": 1800}[request.dialect]
        self.cached[request.model, prefix] = self.clock() + seconds

    def answer(self, request: Request, reply: Reply) -> Reply:
        """Say the reply with its bill. What it caches can be read from the moment at which it is sent."""
        bill = self.bill(request)
        prices = catalogue.resolve_model(f"{request.dialect}/{request.model}")
        self.dollars += catalogue.request_cost(prices, bill.input, bill.cached, bill.written, 0) or 0.0
        self.tokens += bill.input

        def cache() -> bool:
            for prefix in bill.prefixes:
                self.keep(request, prefix)
            return True

        usage = Usage(bill.input, len(reply.text.encode()) // 4 + 1, bill.cached, written=bill.written)
        return replace(reply, usage=usage, until=cache)


def blocks_of(body: dict[str, Any]) -> Iterator[tuple[str, bool, bool]]:
    """Each block's text, whether it is marked, and whether it ends a message."""
    system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
    for message in [*system, *body["messages"]]:
        content = message["content"]
        parts = [{"text": content}] if isinstance(content, str) else content
        for part in parts:
            marked = "cache_control" in part or "prompt_cache_breakpoint" in part
            yield json.dumps([message["role"], part["text"]]), marked, part is parts[-1]
