"""The bus: every event of a run reaches every subscriber, in order, even if another subscriber fails."""

import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from orchestra.events import Event

Handler = Callable[[Event], object]


class Subscription(NamedTuple):
    """The arguments of `EventBus.subscribe`."""

    name: str
    handler: Handler
    since: int = 0


@dataclass(frozen=True, eq=False)
class Subscriber:
    name: str
    handler: Handler
    is_vital: bool


class EventBus:
    """Calls subscribers in the order of their subscription. One that raises gets no more events, and `dropped` gets a
    sentence about it; the error of a vital subscriber is raised to the publisher."""

    def __init__(self, history: Callable[[], Iterable[Event]], dropped: Callable[[str], object]) -> None:
        self.history = history
        self.dropped = dropped
        self.subscribers: list[Subscriber] = []
        self.waiting: deque[Event] = deque()
        self.busy = False
        self.latest = 0  # the number of the last published event

    def subscribe(self, name: str, handler: Handler, *, since: int = 0, is_vital: bool = False) -> None:
        """Deliver all events after number `since`: first the published ones, then each new one."""
        subscriber, was_busy, self.busy = Subscriber(name, handler, is_vital), self.busy, True
        try:
            missed = not (since and since == self.latest)
            past = [event for event in self.history() if event.seq > since] if missed else []
            self.subscribers.append(subscriber)
            for event in past:
                self.deliver(event, subscriber)
        finally:
            self.busy = was_busy
        if not self.busy:
            self.deliver_waiting()

    def publish(self, event: Event) -> None:
        """Deliver to all subscribers. An event that a subscriber publishes meanwhile comes next."""
        self.latest = event.seq
        self.waiting.append(event)
        if not self.busy:
            self.deliver_waiting()

    def deliver_waiting(self) -> None:
        self.busy = True
        try:
            while self.waiting:
                event = self.waiting.popleft()
                for subscriber in list(self.subscribers):
                    self.deliver(event, subscriber)
        finally:
            self.busy = False
            self.waiting.clear()

    def deliver(self, event: Event, subscriber: Subscriber) -> None:
        if subscriber not in self.subscribers:
            return
        try:
            subscriber.handler(event)
        except Exception as error:
            if subscriber.is_vital:
                raise
            self.subscribers.remove(subscriber)
            frames = traceback.extract_tb(error.__traceback__)
            where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
            why = f"{type(error).__name__}: {error}".rstrip(": ") + where
            self.dropped(f"{subscriber.name} failed at {event.kind} and gets no more events: {why}.")
