"""The state of a run by its events: what the page shows now, and what it shows of any earlier moment.

An earlier moment is folded from the nearest checkpoint before it: a packed copy of the state at every 5,000th event.
"""

import io
import pickle
import threading
import zlib
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from orchestra import events
from orchestra.events import Event, UnreadableEvent
from orchestra.model import TaskState
from orchestra.report.detail import RunDetail, detail_event
from orchestra.report.fold import fold_event
from orchestra.report.page.graph_layout import lay_out_graph
from orchestra.report.state import Report
from orchestra.web.event_pages import PAGE_EVENTS
from orchestra.web.gate_runs import GateRuns
from orchestra.web.rows import Row, run_row, task_row

# Events of the run itself that change no task's row.
ROWLESS = (
    *(events.Note, events.GateStarted, events.GateEnded, events.RequestEnded, events.MoneyReserved),
    *(events.AgentWaiting, events.CommandAnswered, events.RunPaused, events.BudgetChanged),
)
MOST_CHECKPOINTS = 256  # of a run


class RunFold:
    """The state after some events."""

    def __init__(self, name: str) -> None:
        self.report, self.detail = Report(run=name), RunDetail(keeps_texts=False)
        self.gates = GateRuns()
        self.seq = 0
        self.time = 0
        self.common_seq = 0  # of the last event that may have changed all rows
        self.work_seq = 0  # of the last event with which agents began to work, or none did any more
        self.task_seqs: dict[int, int] = {}

    def fold(self, event: Event) -> None:
        if isinstance(event.payload, UnreadableEvent):
            self.report.unreadable += 1
        worked = bool(self.report.running_attempts)
        fold_event(self.report, event)
        if worked != bool(self.report.running_attempts):
            self.work_seq = event.seq
        detail_event(self.detail, event)
        self.gates.apply(event)
        self.seq, self.time = max(self.seq, event.seq), event.time
        if event.task is None:
            self.common_seq = self.common_seq if isinstance(event.payload, ROWLESS) else event.seq
        else:
            self.task_seqs[event.task] = event.seq

    def row_seq(self, task: int) -> int:
        """Return the number of the event that changed the task's row last. Accepted tasks are combined as soon as no
        agent works."""
        is_accepted = self.report.tasks[task].state == TaskState.AWAITING_QA
        return max(self.task_seqs.get(task, 0), self.common_seq, self.work_seq if is_accepted else 0)

    def run_row(self, *, has_owner: bool) -> Row:
        return run_row(self.report, self.detail, has_owner=has_owner, seq=self.seq)

    def task_rows(self, tasks: set[int] | None = None) -> list[Row]:
        return [
            task_row(self.report, self.detail, task, self.row_seq(task.id))
            for task in self.report.tasks.values()
            if tasks is None or task.id in tasks
        ]

    def graph(self) -> dict[str, Any] | None:
        tasks = self.report.tasks
        graph = lay_out_graph({task.id: [need for need in task.needs if need in tasks] for task in tasks.values()})
        return graph._asdict() if graph else None

    def pack(self) -> bytes:
        """Return a copy of what the rows are made of."""
        state = {name: value for name, value in vars(self).items() if name in PACKED}
        state["detail"] = replace(self.detail, spans=[], gates=[])
        packed = io.BytesIO()
        pickler = pickle.Pickler(packed, pickle.HIGHEST_PROTOCOL)
        pickler.dispatch_table = {MappingProxyType: reduce_mapping}
        pickler.dump(state)
        return zlib.compress(packed.getbuffer(), 1)

    @classmethod
    def unpack(cls, packed: bytes) -> "RunFold":
        """Return the state of a checkpoint. It is of this process's memory: nothing from a file is ever unpickled."""
        state = cls("")
        vars(state).update(pickle.loads(zlib.decompress(packed)))
        return state


def reduce_mapping(mapping: MappingProxyType[Any, Any]) -> tuple[Any, ...]:
    return freeze_mapping, (dict(mapping),)


def freeze_mapping(content: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(content)


PACKED = ("report", "detail", "seq", "time", "common_seq", "work_seq", "task_seqs")


class Checkpoints:
    """The packed states of one run, by the number of their last event. Several threads use them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.seqs: list[int] = []
        self.packed: dict[int, bytes] = {}

    def offer(self, state: RunFold) -> None:
        """Keep a copy of the state if none is near. When there are too many, every second is dropped."""
        place = bisect_right(self.seqs, state.seq)
        near = [abs(state.seq - seq) for seq in (0, *self.seqs[max(0, place - 1) : place + 1])]
        if min(near) < PAGE_EVENTS:
            return
        packed = state.pack()
        with self.lock:
            self.packed[state.seq] = packed
            seqs = sorted(self.packed)
            self.seqs = seqs if len(seqs) <= MOST_CHECKPOINTS else seqs[1::2]
            self.packed = {seq: self.packed[seq] for seq in self.seqs}

    def nearest(self, name: str, at: int) -> RunFold:
        """Return a copy of the last kept state that is not later."""
        with self.lock:
            place = bisect_right(self.seqs, at)
            packed = self.packed[self.seqs[place - 1]] if place else b""
        return RunFold.unpack(packed) if packed else RunFold(name)


def fold_until(state: RunFold, pages: Iterable[Iterable[Event]], at: int, checkpoints: Checkpoints) -> RunFold:
    """Fold events up to this one."""
    for page in pages:
        for event in page:
            if event.seq > at:
                return state
            state.fold(event)
            checkpoints.offer(state)
    return state
