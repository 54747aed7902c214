"""The store or the disk fails in the middle of a run: it goes on, or stops with a sentence; nothing written is lost."""

import resource
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from orchestra.conduct.core.locations import store_key
from orchestra.journal import jsonl
from orchestra.journal.open_store import open_store
from orchestra.report.fold import fold_events
from orchestra.settings import Settings
from tests.support.databases import Relay, database
from tests.support.edits import knows
from tests.support.load import wait_until, within
from tests.support.modelserver import ModelServer
from tests.support.runs import Place, assert_clean, make_place
from tests.support.sample import SOAK

FILES = {f"part{n}.py": f"value = {n}\n" for n in range(1, 4)}
WANTED = {path: f"{text}more = True\n" for path, text in FILES.items()}
JOB = ("--change", "Add more", "--agents", "2", "--no-prd", "--files", *FILES)
OUTAGE = 10.0 if SOAK else 3.0


def assert_store_has_all(place: Place, url: str | Path, stamp: str) -> None:
    store = open_store(url)
    key = store_key(Settings(store="" if isinstance(url, Path) else url), place.repo)
    kept, written = store.read_events(key, stamp), list(jsonl.read_run_log(place.repo / ".aider_logs", stamp).events)
    store.close()
    assert kept == written and fold_events(kept) == fold_events(written)


def through(place: Place, url: str, outage: Callable[[Callable[[], None]], None]) -> None:
    """A run whose agents get their replies once the outage has begun, which calls what it is given then."""
    words = ("--store", url) if url else ()
    good, has_begun = knows(WANTED, set()), threading.Event()
    with ModelServer(lambda request: replace(good(request), until=has_begun.is_set)) as server:
        running = place.start(*JOB, *words, server=server)
        wait_until(lambda: server.count() >= 2, what="agents at work")
        befalls = threading.Thread(target=outage, args=(has_begun.set,))
        befalls.start()
        ran = running.end()
        befalls.join()
    assert ran.code == 0, ran.out + ran.err
    assert ran.verdicts == ["applied"] * 2 and server.count() == 2
    assert {path: (place.repo / path).read_text() for path in WANTED} == WANTED
    assert_clean(ran)


def test_the_store_is_locked_for_a_while(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    file = place.repo / ".aider_logs" / "orchestra.db"

    def lock(has_begun: Callable[[], None]) -> None:
        other = sqlite3.connect(file, timeout=within(), isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        has_begun()
        time.sleep(OUTAGE)
        other.execute("ROLLBACK")
        other.close()

    through(place, "", lock)
    (log,) = file.parent.glob("run_*.jsonl")
    assert_store_has_all(place, file, log.stem.removeprefix("run_"))


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_the_connection_is_lost_for_a_while(tmp_path: Path, kind: str) -> None:
    place = make_place(tmp_path, FILES)
    with database(kind, tmp_path) as server, Relay(server.port) as relay:
        url = server.by(relay.port)

        def cut(has_begun: Callable[[], None]) -> None:
            relay.cut()
            has_begun()
            time.sleep(OUTAGE)
            relay.mend()

        through(place, url, cut)
        (log,) = (place.repo / ".aider_logs").glob("run_*.jsonl")
        assert_store_has_all(place, url, log.stem.removeprefix("run_"))


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """For this process alone: no file may grow beyond what its few printed lines need."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (2500, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        if Path(f"/proc/{pid}/limits").exists():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.thorough
def test_a_full_disk_stops_the_run_with_a_sentence_and_it_resumes(tmp_path: Path) -> None:
    place, is_full, good = make_place(tmp_path, FILES), threading.Event(), knows(WANTED, set())
    with ModelServer(lambda request: replace(good(request), until=is_full.is_set)) as server:
        running = place.start(*JOB, server=server)
        wait_until(lambda: server.count() >= 2, what="agents at work")
        with full_disk(running.child.pid):
            is_full.set()
            ran = running.end()
        assert ran.code == 6, ran.out + ran.err
        assert "cannot be written: File too large" in ran.out and "resume" in ran.out and "Traceback" not in ran.err
        assert place.processes() == {} and len(place.git("worktree", "list").splitlines()) == 1
        paid = server.count()
        again = place.run("resume", server=server)
        assert again.code == 0, again.out + again.err
        # The replies came, but could not be written down: they had to be asked for once more, and no third time.
        assert server.count() <= 2 * paid
    assert {path: (place.repo / path).read_text() for path in WANTED} == WANTED
    assert_clean(again)
    assert_store_has_all(place, place.repo / ".aider_logs" / "orchestra.db", again.summary["timestamp"])
