"""Writes events to the store in a thread, so that a run never waits for a database."""

import threading
import time
from collections import deque
from itertools import chain, islice, repeat

from orchestra.errors import StoreError
from orchestra.events import Event
from orchestra.journal.store import Store

BATCH_SIZE = 500
RETRY_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)  # seconds between tries; the last one repeats


class StoreWriter:
    """Keeps every event until the store has it, in order, through any outage. An outage longer than `patience` seconds
    is a `problem`, but the tries go on."""

    def __init__(self, store: Store, repository: str, patience: float = 30.0) -> None:
        self.store = store
        self.repository = repository
        self.patience = patience
        self.waiting: deque[Event] = deque()
        self.changed = threading.Condition()
        self.closing = False
        self.trying_since = 0.0
        self.error = ""
        self.thread = threading.Thread(target=self.write_batches, name="store writer", daemon=True)
        self.thread.start()

    def add_event(self, event: Event) -> None:
        """Queue an event. A handler for the bus."""
        with self.changed:
            self.waiting.append(event)
            self.changed.notify_all()

    @property
    def problem(self) -> str | None:
        """A sentence while the store takes no events, or if some were never stored."""
        with self.changed:
            late = self.trying_since and time.monotonic() - self.trying_since >= self.patience
            if not self.waiting or not (late or self.closing or not self.thread.is_alive()):
                return None
            return f"{self.error or 'The store does not answer.'} Only the JSONL files have {len(self.waiting)} events."

    def flush(self, timeout: float) -> bool:
        """Wait until the store has all events; False after the timeout."""
        with self.changed:
            return self.changed.wait_for(lambda: not self.waiting, timeout)

    def close(self) -> bool:
        """Flush for at most `patience` seconds, and end. False if events are left; `problem` says why."""
        done = self.flush(0 if self.problem else self.patience)
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        self.thread.join(1)
        return done

    def write_batches(self) -> None:
        while batch := self.next_batch():
            for pause in chain(RETRY_PAUSES, repeat(RETRY_PAUSES[-1])):
                if self.try_append(batch):
                    break
                with self.changed:
                    if self.changed.wait_for(lambda: self.closing, pause):
                        return

    def next_batch(self) -> list[Event]:
        """The next events; empty when the writer closes."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.closing)
            self.trying_since = time.monotonic()
            return list(islice(self.waiting, BATCH_SIZE)) if not self.closing else []

    def try_append(self, batch: list[Event]) -> bool:
        try:
            self.store.append_events(self.repository, batch)
        except StoreError as error:
            self.error = str(error)
            return False
        with self.changed:
            for _ in batch:
                self.waiting.popleft()
            self.trying_since, self.error = 0.0, ""
            self.changed.notify_all()
        return True
