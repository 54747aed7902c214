"""Any moment of a long run is that which its events make, from checkpoints and pages of the store."""

import asyncio
import json
import random
import re
import resource
import time
from pathlib import Path

import pytest

from orchestra.web.event_pages import PAGE_EVENTS, last_number, read_pages
from orchestra.web.live import LiveRun, LiveRuns
from orchestra.web.metrics import Metrics
from orchestra.web.repositories import Repositories
from orchestra.web.routes.earlier_states import state_record
from orchestra.web.routes.runs import EventFilter, event_page, find_event
from orchestra.web.run_fold import MOST_CHECKPOINTS, Checkpoints, RunFold, fold_until
from tests.support import corpus
from tests.support.long_run import long_run, store_long_run
from tests.support.runs import make_place


async def open_whole(live: LiveRun, runs: LiveRuns | None = None) -> LiveRun:
    """Read all events, as the poller does."""
    await live.refresh()
    while live.is_behind:
        await live.refresh()
    return live


def fold_from_nothing(count: int, tasks: int, requests: int, at: int) -> RunFold:
    state = RunFold("20260101_120000")
    for event in long_run(tasks, count, requests):
        if event.seq > at:
            break
        state.fold(event)
    return state


def test_moments_of_a_long_run_are_those_of_its_events(tmp_path: Path) -> None:
    tasks, count = 30, 4 * PAGE_EVENTS
    index, run = store_long_run(make_place(tmp_path, {"a.py": "a = 1\n"}), tasks, count)
    live = asyncio.run(open_whole(LiveRun(index, run)))
    assert live.seq == count and len(live.checkpoints.seqs) == 4
    assert state_record(live, count)["rows"] == live.task_rows(), "the last moment is now"
    chosen = sorted(random.Random(1).sample(range(1, count), 12))
    expected = RunFold(run.name)
    events = long_run(tasks, count)
    for at in chosen:
        while expected.seq < at:
            expected.fold(next(events))
        found = state_record(live, at)
        assert found["rows"] == expected.task_rows() and found["graph"] == expected.graph()
        assert {**found["run"], "problem": 0, "elsewhere": 0, "reading": 0} == {
            **expected.run_row(has_owner=True), "problem": 0, "elsewhere": 0, "reading": 0,
        }  # fmt: skip
    wanted = EventFilter(7, frozenset(["attempt_ended"]), "")
    page, told = event_page(live, 0, 5, wanted)
    assert [event["seq"] for event in page] == [e.seq for e in long_run(tasks, count) if wanted.matches(e)][:5]
    assert told["next"] == page[-1]["seq"] and told["total"] is None
    assert find_event(live, 12_345) is not None and find_event(live, count + 1) is None
    # A look at a moment leaves the checkpoints as they are: the fold never writes into what was packed.
    assert [state_record(live, at)["rows"] == state_record(live, at)["rows"] for at in chosen[:2]] == [True, True]
    index.store.close()


@pytest.mark.parametrize("scenario", ["person_retries", "tests_bent", "killed_with_requests_on_their_way"])
def test_every_state_of_a_run_can_be_packed(tmp_path: Path, scenario: str) -> None:
    """All kinds of records: what is unpacked goes on as the state that was packed."""
    root = corpus.unpack(scenario, tmp_path / "repo")
    opened = Repositories([str(root)], "")
    index, run = opened.find("latest")
    events = index.read_log(run).events
    whole = RunFold(run.name)
    for event in events:
        whole.fold(event)
    for cut in range(0, len(events), 7):
        state = fold_until(RunFold(run.name), [events], cut, Checkpoints())
        rest = [event for event in events if event.seq > state.seq]
        again = fold_until(RunFold.unpack(state.pack()), [rest], events[-1].seq, Checkpoints())
        assert json.dumps(again.task_rows(), default=str) == json.dumps(whole.task_rows(), default=str)
        assert again.run_row(has_owner=False) == whole.run_row(has_owner=False)
    opened.close()


def test_checkpoints_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestra.web.run_fold.PAGE_EVENTS", 1)
    checkpoints, state = Checkpoints(), RunFold("r")
    for event in long_run(2, 3 * MOST_CHECKPOINTS):
        state.fold(event)
        checkpoints.offer(state)
    assert len(checkpoints.seqs) == len(checkpoints.packed) <= MOST_CHECKPOINTS
    assert checkpoints.nearest("r", state.seq).seq <= state.seq and checkpoints.nearest("r", 0).seq == 0


def test_last_number_of_a_log_is_read_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    for content, number in (
        (b"", 0),
        (b'{"seq": 7}\n', 7),
        (b'{"seq": 7}\n{"seq": 8}\ntorn {', 8),
        (b'{"seq": 7}\nnoise\n', 7),
        (b'{"seq": 7}\n"x"\n', 0),
        (b"x" * 200_000 + b'\n{"seq": 9}\n', 9),
    ):
        path.write_bytes(content)
        assert last_number(path) == number


@pytest.mark.soak
def test_run_of_a_million_events_is_opened_and_looked_at(tmp_path: Path) -> None:
    """The seconds are printed: `-s` shows them."""
    tasks, count, requests = 1_000, 1_000_000, 100
    index, run = store_long_run(make_place(tmp_path, {"a.py": "a = 1\n"}), tasks, count, requests)
    live = LiveRun(index, run)
    began = time.monotonic()
    asyncio.run(live.refresh())
    first = time.monotonic() - began
    asyncio.run(open_whole(live))
    whole = time.monotonic() - began
    looks = []
    for at in random.Random(2).sample(range(1, count), 20):
        began = time.monotonic()
        found = state_record(live, at)
        looks.append(time.monotonic() - began)
        assert found["run"]["seq"] == at
    for at in random.Random(3).sample(range(1, 100_000), 2):
        assert state_record(live, at)["rows"] == fold_from_nothing(count, tasks, requests, at).task_rows()
    assert state_record(live, count)["rows"] == live.task_rows()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"first look {first:.2f} s, whole {whole:.1f} s, a moment {sorted(looks)[10]:.3f} s, {memory} MB")
    assert sum(map(len, read_pages(index, run, count - 10))) == 10
    assert memory < 700
    index.store.close()


def test_log_whose_numbers_do_not_grow_is_read_once(tmp_path: Path) -> None:
    opened = Repositories([str(corpus.unpack("all_applied", tmp_path / "repo"))], "")
    index, run = opened.find("latest")
    for path in index.logs.glob(f"*{run.name}.jsonl"):
        path.write_text(re.sub(r'"seq": \d+', '"seq": 0', path.read_text("utf-8")), "utf-8")
    index.store.delete_run(run.key, run.name)
    assert len(list(read_pages(index, run))) == 1
    assert b"aider_orchestrator_runs" in Metrics(opened).render()
    opened.close()
