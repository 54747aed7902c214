"""The WebSocket: one connection shows any number of runs, with the messages of the event stream.

A caller sends `subscribe` and `unsubscribe` with a `run_id`, and gets `snapshot`, `rows`, `toast`, `gone` and `beat`.
Without a `run_id` it is about the list of all runs, which comes as `runs`.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from orchestra.web.envelope import ApiError
from orchestra.web.live import BEAT_SECONDS, LiveRun, Viewer, server_time, take_toasts
from orchestra.web.server import RunServer

MOST_SUBSCRIPTIONS = 64
STATE_UPDATE = "state_update"  # what agent-framework calls the whole list of tasks
Send = Callable[[str], Awaitable[None]]


class Subscriber:
    """One connection. Its messages are sent by `send_messages` alone, in order; `handle` only notes what to send."""

    def __init__(self, server: RunServer, send: Send, *, compatible: bool = False) -> None:
        self.server, self.send, self.compatible = server, send, compatible
        self.woken = asyncio.Event()
        self.viewers: dict[str, tuple[LiveRun, Viewer]] = {}
        self.answers: list[str] = []  # to the caller's own messages
        self.watches_list = False
        self.list_sent = ""

    async def handle(self, text: str) -> None:
        """Obey a message of the caller. A wrong one is answered with an error."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            message = None
        kind = message.get("type") if isinstance(message, dict) else None
        run = message.get("run_id", "") if isinstance(message, dict) else ""
        try:
            if kind not in ("subscribe", "unsubscribe") or not isinstance(run, str):
                raise ApiError(400, 'Send {"type": "subscribe" or "unsubscribe", "run_id": "..."}.')
            if kind == "subscribe":
                await self.subscribe(run, message.get("after", 0))
            else:
                self.unsubscribe(run)
        except ApiError as error:
            told = {"type": "error", "code": error.code, "message": error.message, "run_id": run}
            self.answers.append(json.dumps(told))
        self.woken.set()

    async def subscribe(self, run: str, after: Any) -> None:
        if not run:
            self.watches_list = True
            await self.server.run_list.watch(self.wake)
            return
        if len(self.viewers) >= MOST_SUBSCRIPTIONS:
            raise ApiError(409, f"A connection shows at most {MOST_SUBSCRIPTIONS} runs.")
        live = await self.server.open(run)
        self.unsubscribe(live.ref)
        viewer = Viewer("websocket", woken=self.woken)
        self.server.live.add_viewer(live, viewer)
        self.viewers[live.ref] = (live, viewer)
        self.answers.append(json.dumps({"type": "subscribed", "asked": run, "run_id": live.ref}))
        if self.compatible:
            self.answers.append(state_update(live))
        else:
            start = after if type(after) is int and after >= 0 else 0
            self.answers.append(live.encode("snapshot", live.tasks_after(start)))

    def unsubscribe(self, run: str) -> None:
        if not run:
            self.watches_list = False
            self.server.run_list.wakers.discard(self.wake)
        elif run in self.viewers:
            live, viewer = self.viewers.pop(run)
            live.viewers.discard(viewer)

    def wake(self) -> None:
        self.woken.set()

    def close(self) -> None:
        self.unsubscribe("")
        for run in list(self.viewers):
            self.unsubscribe(run)

    async def send_messages(self) -> None:
        """Send what there is, and a beat while there is nothing. A slow caller gets the current rows when it reads."""
        while self.server.live.is_polling or not self.viewers:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.woken.wait(), BEAT_SECONDS)
            is_quiet = not self.woken.is_set()
            self.woken.clear()
            while self.answers:
                await self.send(self.answers.pop(0))
            if self.watches_list and self.list_sent != self.server.run_list.body:
                self.list_sent = self.server.run_list.body
                await self.send(self.list_sent)
            for live, viewer in list(self.viewers.values()):
                await self.send_news(live, viewer, beat=is_quiet)
            if is_quiet and not self.viewers:
                await self.send(json.dumps({"type": "beat", "time": server_time()}))

    async def send_news(self, live: LiveRun, viewer: Viewer, *, beat: bool) -> None:
        for toast in take_toasts(viewer):
            await self.send(live.message("toast", **toast))
        if found := self.server.live.take_body(live, viewer):
            kind, body = found
            await self.send(state_update(live) if self.compatible and kind == "rows" else body)
            if kind == "gone":
                self.unsubscribe(live.ref)
        elif beat:
            await self.send(live.message("beat"))


def state_update(live: LiveRun) -> str:
    """Return the whole list of tasks, as agent-framework sends it."""
    return live.encode(STATE_UPDATE, set(live.report.tasks))
