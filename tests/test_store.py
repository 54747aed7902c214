"""The store's contract, over every database and the twin in memory alike; then what only databases have, and faults."""

import multiprocessing
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestra.errors import StoreError
from orchestra.events import Event, Note, make_event
from orchestra.journal import database as connections
from orchestra.journal import jsonl, schema
from orchestra.journal.open_store import open_store
from orchestra.journal.sql import SqlStore
from orchestra.journal.store import Command, GateRun, Store
from orchestra.journal.writer import StoreWriter
from orchestra.report.fold import fold_events
from tests.support import written
from tests.support.databases import Database, Relay, database
from tests.support.load import NEVER, holds_soon, wait_until, within
from tests.support.written import ENDED, started

HERE = "/home/you/project"
SERVERS = [pytest.param(kind, marks=pytest.mark.thorough) for kind in ("postgresql", "mariadb")]
DATABASES = ["sqlite", *SERVERS]
ROOT = Path(__file__).resolve().parent.parent
LONG = 3_600_000  # milliseconds: no test takes as long
NEWEST = len(schema.SCHEMA_STEPS)
CLOCK_STEP = 1000  # milliseconds by which a database may round
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.test_store"])


@pytest.fixture(params=["memory", *DATABASES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with database(request.param, tmp_path) as found:
        opened = open_store(found.where)
        yield opened
        opened.close()


@pytest.fixture(params=DATABASES)
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with database(request.param, tmp_path) as found:
        yield found


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with database(request.param, tmp_path) as found:
        yield found


def event(seq: int, kind: str = "note", run: str = "r1", **data: Any) -> Event:
    return written.event(kind, run=run, seq=seq, time=1_795_197_922_000 + seq, **data)


def notes(first: int, last: int, run: str = "r1") -> list[Event]:
    return [event(seq, run=run, text=f"the {seq}th") for seq in range(first, last + 1)]


def seqs(store: Store, run: str = "r1") -> list[int]:
    return [event.seq for event in store.read_events(HERE, run)]


def unreadable(store: Store) -> list[int]:
    """As a report counts them."""
    found = store.read_events(HERE, "r1")
    assert fold_events(found).unreadable == sum(bool(event.read_problem) for event in found)
    return [event.seq for event in found if event.read_problem]


def own(store: Store, owner: str, ttl_ms: int = LONG, run: str = "r1") -> str | None:
    """Who has it, when it is somebody else."""
    holder = store.acquire_run(HERE, run, owner, f"host of {owner}", 4711, ttl_ms)
    return holder.owner if holder else None


# --- events ---------------------------------------------------------------------------------------------------------


def test_events_come_back_as_they_were(store: Store) -> None:
    run = "20260101_101010"
    kept = [
        make_event(run, 1, 1_795_197_922_520, "run_started", None, None, {"change": "ä 🦊 \0 \ud800 'quoted' %s :x"}),
        make_event(run, 2, 1_795_197_922_521, "of_a_newer_version", 3, 2, {"deep": {"list": [1, None, 0.1]}}),
        make_event(run, 3, 9_007_199_254_740_993, "request", 12, 1, {}),
        make_event(run, 4, 1_795_197_922_520, "note", 12, 1, {"text": "x" * 3_000_000, "newer": [1]}),
    ]
    store.append_events(HERE, kept)
    assert store.read_events(HERE, "20260101_101010") == kept


def test_an_event_that_is_there_stays_as_it_is(store: Store) -> None:
    store.append_events(HERE, notes(1, 3))
    store.append_events(HERE, [event(2, "other"), event(4)])
    store.append_events(HERE, [])
    assert [(event.seq, event.kind) for event in store.read_events(HERE, "r1")] == [
        (1, "note"),
        (2, "note"),
        (3, "note"),
        (4, "note"),
    ]
    assert store.read_events(HERE, "r1")[1].data == {"text": "the 2th"}


def test_read_goes_in_order_from_where_one_is_and_by_kind(store: Store) -> None:
    store.append_events(HERE, [event(3, "c"), event(1, "a")])
    store.append_events(HERE, [event(2, "b"), event(4, "a"), event(1, "a", run="r2")])
    assert seqs(store) == [1, 2, 3, 4]
    assert [event.seq for event in store.read_events(HERE, "r1", after=2)] == [3, 4]
    assert [event.seq for event in store.read_events(HERE, "r1", kinds=("a", "c"))] == [1, 3, 4]
    assert [event.seq for event in store.read_events(HERE, "r1", after=1, kinds=["a"])] == [4]
    assert [event.seq for event in store.read_events(HERE, "r1", after=1, limit=2)] == [2, 3]
    assert store.read_events(HERE, "none") == []


def test_read_events_are_copies(store: Store) -> None:
    mine = event(1, files=["a"])
    store.append_events(HERE, [mine])
    mine.data["files"].append("b")
    store.read_events(HERE, "r1")[0].data["files"].append("c")
    assert store.read_events(HERE, "r1")[0].data == {"files": ["a"]}


def test_runs_tells_how_each_began_and_ended(store: Store) -> None:
    store.append_events(HERE, [event(20, "run_started", "late"), event(21, "note", "late")])
    store.append_events(
        HERE, [event(1, "run_started", "done"), event(2, "note", "done"), event(3, "run_ended", "done", code=0)]
    )
    resumed = ["run_started", "run_ended", "run_resumed", "note"]
    store.append_events(HERE, [event(seq, kind, "again") for seq, kind in enumerate(resumed, 5)])
    store.append_events("/elsewhere", [event(1, "run_started", "theirs")])
    assert [(run.name, run.first.seq, run.last and run.last.data) for run in store.list_runs(HERE)] == [
        ("done", 1, {"code": 0}),
        ("again", 5, None),
        ("late", 20, None),
    ]
    store.append_events(HERE, [event(9, "run_ended", "again", code=1)])
    assert [run.last.data for run in store.list_runs(HERE) if run.last] == [{"code": 0}, {"code": 1}]
    assert store.list_runs("/nowhere") == []


def test_repositories_and_runs_of_similar_names_are_kept_apart(store: Store) -> None:
    names = [
        "/a",
        "/A",
        "/a ",
        "/a\t",
        "/á",
        "/a\u0301",
        "/" + "long/" * 1000,
        "/" + "long/" * 1000 + "x",
        "/\udcff",
        "/\udcfe",
        "\0",
    ]
    for number, name in enumerate(names, 1):
        store.append_events(name, [event(1, "run_started", number=number)])
        store.post_command(name, "r1", "hello", number)
        assert own_in(store, name, "me") is None
        assert store.lease_files(name, "r1", [name], LONG) == {}
    for number, name in enumerate(names, 1):
        assert [event.data["number"] for event in store.read_events(name, "r1")] == [number]
        assert [run.first.data["number"] for run in store.list_runs(name)] == [number]
        assert [command.task for command in store.take_commands(name, "r1")] == [number]
        assert store.lease_files(name, "r2", ["other", name], LONG) == {name: "r1"}
    store.append_events("/a", [event(7, run="R1"), event(8, run="r1")])
    assert seqs_of(store, "/a", "R1") == [7]


def own_in(store: Store, repository: str, owner: str) -> object:
    return store.acquire_run(repository, "r1", owner, "host", 1, LONG)


def seqs_of(store: Store, repository: str, run: str) -> list[int]:
    return [event.seq for event in store.read_events(repository, run)]


def test_repositories_are_those_that_have_runs(store: Store) -> None:
    far = "/" + "long/" * 1000
    for name in ("b", "a", far):
        store.append_events(name, [event(1, "run_started", name[:1])])
    [same] = set(store.list_repositories()) - {"a", "b"}
    assert [run.name for run in store.list_runs(same)] == ["/"]
    store.delete_run("a", "a")
    assert set(store.list_repositories()) == {"b", same}


def test_delete_forgets_one_run_and_no_other(store: Store) -> None:
    for run in ("r1", "r2"):
        store.append_events(HERE, [event(1, "run_started", run)])
        store.post_command(HERE, run, "cancel")
        assert own(store, "me", run=run) is None
        assert store.lease_files(HERE, run, [f"{run}.py"], LONG) == {}
    store.delete_run(HERE, "r1")
    store.compact()
    assert [run.name for run in store.list_runs(HERE)] == ["r2"]
    assert (seqs(store), seqs(store, "r2")) == ([], [1])
    assert store.lease_files(HERE, "r3", ["r1.py", "new.py"], LONG) == {}
    assert store.lease_files(HERE, "r3", ["r2.py"], LONG) == {"r2.py": "r2"}
    assert (own(store, "you"), own(store, "you", run="r2")) == (None, "me")
    assert [len(store.take_commands(HERE, run)) for run in ("r1", "r2")] == [0, 1]


def test_check_finds_what_is_missing(store: Store) -> None:
    store.append_events(HERE, notes(1, 5))
    assert store.find_problems() == []
    store.append_events(HERE, [event(9), *notes(3, 3, "late"), event(1, run="one")])
    assert sorted(store.find_problems()) == [
        f"Run late of {HERE}: 2 of its events are missing, the first is 1.",
        f"Run r1 of {HERE}: 3 of its events are missing, the first is 6.",
    ]


# --- commands, owners, leases ---------------------------------------------------------------------------------------


def test_commands_are_taken_once_and_in_order(store: Store) -> None:
    before = time.time_ns() // 1_000_000
    store.post_command(HERE, "r1", "cancel", 3, {"why": "ä"})
    store.post_command(HERE, "r1", "unheard_of")
    store.post_command(HERE, "r2", "cancel")
    first, second = store.take_commands(HERE, "r1")
    assert first == Command(first.id, "r1", first.time, "cancel", 3, {"why": "ä"})
    assert before - CLOCK_STEP <= first.time <= time.time_ns() // 1_000_000 + CLOCK_STEP and first.id < second.id
    assert (second.kind, second.task, second.data) == ("unheard_of", None, {})
    assert store.take_commands(HERE, "r1") == []
    assert len(store.take_commands(HERE, "r2")) == 1


def test_many_takers_at_once_get_each_command_once(store: Store) -> None:
    def work(number: int) -> list[int | None]:
        taken = []
        for turn in range(5):
            store.post_command(HERE, "r1", "note", number * 100 + turn)
            taken += [command.task for command in store.take_commands(HERE, "r1")]
        return taken

    with ThreadPoolExecutor(6) as threads:
        taken = [task for found in threads.map(work, range(6)) for task in found]
    taken += [command.task for command in store.take_commands(HERE, "r1")]
    assert sorted(task for task in taken if task is not None) == [n * 100 + turn for n in range(6) for turn in range(5)]


def test_a_run_has_one_owner(store: Store) -> None:
    before = time.time() * 1000
    assert own(store, "me") is None
    after = time.time() * 1000
    holder = store.acquire_run(HERE, "r1", "you", "there", 1, LONG)
    assert holder and (holder.owner, holder.host, holder.pid) == ("me", "host of me", 4711)
    assert before - CLOCK_STEP <= holder.expires - LONG <= after + CLOCK_STEP
    assert own(store, "me") is None
    assert own(store, "you", run="r2") is None
    store.release_run(HERE, "r1", "you")
    assert own(store, "you") == "me"
    store.release_run(HERE, "r1", "me")
    assert own(store, "you") is None
    assert own(store, "you") is None
    assert own(store, "me") == "you"


def test_store_names_the_run_owner(store: Store) -> None:
    assert store.run_owner(HERE, "r1") is None
    before = time.time() * 1000
    assert own(store, "me") is None
    after = time.time() * 1000
    found = store.run_owner(HERE, "r1")
    assert found and (found.owner, found.host, found.pid) == ("me", "host of me", 4711)
    assert before - CLOCK_STEP <= found.expires - LONG <= after + CLOCK_STEP
    assert (store.run_owner(HERE, "r2"), store.run_owner("/elsewhere", "r1")) == (None, None)
    store.release_run(HERE, "r1", "me")
    assert store.run_owner(HERE, "r1") is None
    assert own(store, "me", ttl_ms=300) is None
    assert holds_soon(lambda: store.run_owner(HERE, "r1") is None)
    assert own(store, "you") is None


def test_store_replaces_an_owner_that_does_not_renew(store: Store) -> None:
    assert own(store, "me", ttl_ms=400) is None
    assert own(store, "me") is None
    time.sleep(0.5)
    assert own(store, "you") == "me", "it was renewed, so the first term does not count"
    assert own(store, "me", ttl_ms=1) is None
    assert holds_soon(lambda: own(store, "you") is None)
    assert own(store, "me") == "you"


def test_one_of_many_claimants_gets_the_run(store: Store) -> None:
    with ThreadPoolExecutor(6) as threads:
        for run in ("a", "b", "c"):
            holders = list(threads.map(own, [store] * 6, "123456", [LONG] * 6, [run] * 6))
            [winner] = {holder for holder in holders if holder}
            assert holders[int(winner) - 1] is None and holders.count(None) == 1


def test_target_files_are_leased_all_or_none(store: Store) -> None:
    assert store.lease_files(HERE, "r1", ["b.py", "a.py"], LONG) == {}
    assert store.lease_files(HERE, "r2", ["c.py", "a.py", "d.py", "b.py"], LONG) == {"a.py": "r1", "b.py": "r1"}
    assert store.lease_files(HERE, "r3", ["c.py", "d.py"], LONG) == {}
    assert store.lease_files("/elsewhere", "r2", ["a.py"], LONG) == {}
    assert store.lease_files(HERE, "r1", ["a.py", "e.py"], LONG) == {}
    store.release_files(HERE, "r1")
    assert store.lease_files(HERE, "r2", ["a.py", "b.py", "e.py"], LONG) == {}
    assert store.lease_files(HERE, "r2", [], LONG) == {}
    assert store.lease_files("/elsewhere", "r1", ["a.py"], LONG) == {"a.py": "r2"}


def test_store_lists_the_leased_files(store: Store) -> None:
    assert store.list_leases(HERE) == []
    before = time.time() * 1000
    store.lease_files(HERE, "r1", ["b.py", "ä.py"], LONG)
    store.lease_files(HERE, "r2", ["a.py"], LONG)
    store.lease_files("/elsewhere", "r3", ["c.py"], LONG)
    after = time.time() * 1000
    found = store.list_leases(HERE)
    assert sorted(lease[:2] for lease in found) == [("a.py", "r2"), ("b.py", "r1"), ("ä.py", "r1")]
    assert all(before - CLOCK_STEP <= lease.expires - LONG <= after + CLOCK_STEP for lease in found)
    store.release_files(HERE, "r1")
    store.lease_files(HERE, "r2", [], 1)
    assert holds_soon(lambda: store.list_leases(HERE) == [])


def test_store_keeps_runs_of_gates_by_digest_until_they_expire(store: Store) -> None:
    one, other = GateRun("a" * 64, "r1", "tests", True, (), 0, "x" * 70_000), GateRun("b" * 64, "r1", "ä", True, ())
    again = GateRun("a" * 64, "r2", "tests", False, ("test_a.py::test[ü]", "b"), 0, "y")
    for repository, gate_run in ((HERE, one), (HERE, other), (HERE, again), ("/elsewhere", one)):
        time.sleep(0.002)  # they are ordered by the ms
        store.add_gate_run(repository, gate_run)
    found = store.find_gate_runs(HERE, "a" * 64)
    assert [each._replace(age=0) for each in found] == [again, one]
    assert all(each.age + CLOCK_STEP >= 0 for each in found) and store.find_gate_runs(HERE, "c" * 64) == []
    assert [(each.run, each.gate, each.data) for each in store.list_gate_runs(HERE)] == [
        *(("r1", "tests", ""), ("r1", "ä", ""), ("r2", "tests", ""))
    ]
    store.expire_gate_runs(HERE, -CLOCK_STEP, LONG)
    assert [each.data for each in store.find_gate_runs(HERE, "a" * 64)] == ["", ""]
    store.delete_run(HERE, "r2")
    assert [each.run for each in store.find_gate_runs(HERE, "a" * 64)] == ["r1"]
    store.expire_gate_runs(HERE, LONG, -CLOCK_STEP)
    assert store.list_gate_runs(HERE) == [] and store.find_gate_runs("/elsewhere", "a" * 64)[0].data == one.data


def test_store_ends_leases_that_are_not_renewed(store: Store) -> None:
    assert store.lease_files(HERE, "r1", ["a.py", "b.py"], 400) == {}
    assert store.lease_files(HERE, "r1", [], LONG) == {}
    time.sleep(0.5)
    assert store.lease_files(HERE, "r2", ["b.py"], LONG) == {"b.py": "r1"}, "they were renewed"
    assert store.lease_files(HERE, "r1", [], 1) == {}
    assert holds_soon(lambda: store.lease_files(HERE, "r2", ["b.py"], LONG) == {})
    assert store.lease_files(HERE, "r1", ["a.py", "b.py"], LONG) == {"b.py": "r2"}


def test_many_files_and_long_names_are_leased(store: Store) -> None:
    paths = [f"src/{'deep/' * 60}{number}.py" for number in range(3000)]
    assert store.lease_files(HERE, "r1", paths, LONG) == {}
    assert store.lease_files(HERE, "r2", [*paths[-2:], "free.py"], LONG) == dict.fromkeys(paths[-2:], "r1")


def test_runs_that_want_overlapping_files_at_once_do_not_share_any(store: Store) -> None:
    paths = [f"{number}.py" for number in range(12)]

    def work(number: int) -> set[str]:
        wanted = paths[number * 2 : number * 2 + 4]
        wanted = wanted if number % 2 else wanted[::-1]
        return set(wanted) if not store.lease_files(HERE, f"run{number}", wanted, LONG) else set()

    with ThreadPoolExecutor(6) as threads:
        got = list(threads.map(work, range(5)))
    assert sum(map(len, got)) == len(set().union(*got)) > 0


@pytest.mark.thorough
def test_what_is_given_back_while_another_asks_for_it_is_not_lost(tmp_path: Path) -> None:
    """Between two statements of one transaction, where PostgreSQL lets others through."""
    with database("postgresql", tmp_path) as found:
        asker, giver = SqlStore(found.where), open_store(found.where)

        @sa.event.listens_for(asker.engine, "after_cursor_execute")
        def give_back(_1: object, _2: object, statement: str, *_: object) -> None:
            if statement.startswith(("INSERT INTO leases", "INSERT INTO owners")):
                giver.delete_run(HERE, "r1")

        assert giver.lease_files(HERE, "r1", ["a.py", "b.py"], LONG) == {} and own(giver, "giver") is None
        assert asker.lease_files(HERE, "r2", ["a.py", "b.py"], LONG) == {} and own(asker, "asker") is None
        assert giver.lease_files(HERE, "r3", ["b.py"], LONG) == {"b.py": "r2"}
        assert own(giver, "giver") == "asker"
        for one in (asker, giver):
            one.close()


# --- what only databases have: files, schemas, damage ---------------------------------------------------------------


def test_it_is_still_there_when_opened_again(db: Database) -> None:
    first = open_store(db.where)
    first.append_events(HERE, notes(1, 3))
    first.post_command(HERE, "r1", "cancel")
    first.close()
    second = open_store(db.where)
    assert seqs(second) == [1, 2, 3] and len(second.take_commands(HERE, "r1")) == 1
    second.close()


def test_a_relative_file_stays_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///my store.db")
    monkeypatch.chdir("/")
    store.close()
    store.append_events(HERE, notes(1, 2))
    assert seqs(store) == [1, 2] and (tmp_path / "my store.db").stat().st_size
    store.close()


def written_by_step_one(db: Database) -> None:
    """As the first version of this program left it, and in plain SQL."""
    engine = connections.open_engine(connections.parse_store_url(db.where))
    with engine.connect().execution_options(begin="BEGIN IMMEDIATE") as connection, connection.begin():
        schema.upgrade_schema(connection, target=1)
    with engine.begin() as connection:
        for seq, kind in enumerate(("run_started", "note", "run_ended"), 1):
            connection.exec_driver_sql(
                "INSERT INTO events (repository, run, seq, time, kind, task, attempt, data) "
                f"VALUES ('{HERE}', 'old', {seq}, 1795197922000, '{kind}', NULL, NULL, '{{\"n\":{seq}}}')"
            )
        tables = set(sa.inspect(connection).get_table_names())
    engine.dispose()
    assert tables == {"events", "schema_version"}


def test_an_older_store_is_brought_up_to_date_and_keeps_its_runs(db: Database) -> None:
    written_by_step_one(db)
    if db.kind != "sqlite":
        with pytest.raises(StoreError, match=rf"has schema 1, and this program needs {NEWEST}: run `store migrate`"):
            open_store(db.where)
    store = open_store(db.where, migrate=db.kind != "sqlite")
    [run] = store.list_runs(HERE)
    assert (run.name, run.first.data, run.last and run.last.data) == ("old", {"n": 1}, {"n": 3})
    assert len(store.read_events(HERE, "old")) == 3
    assert own(store, "me", run="old") is None
    store.close()
    open_store(db.where).close()
    open_store(db.where, migrate=True).close()


def test_one_that_was_killed_between_two_steps_is_finished(db: Database) -> None:
    written_by_step_one(db)
    change(db, "DELETE FROM events")
    store = open_store(db.where)
    store.append_events(HERE, notes(1, 1))
    assert seqs(store) == [1] and own(store, "me", run="new") is None
    store.close()


def test_a_newer_store_is_left_alone(db: Database) -> None:
    open_store(db.where).close()
    change(db, "UPDATE schema_version SET version = 77")
    for migrate in (False, True):
        with pytest.raises(StoreError, match=f"has schema 77, and this program knows only {NEWEST}") as caught:
            open_store(db.where, migrate=migrate)
        assert caught.value.exit_code == 2


def test_another_programs_tables_are_left_alone(db: Database) -> None:
    change(db, "CREATE TABLE events (id INTEGER)")
    for migrate in (False, True):
        with pytest.raises(StoreError, match=r"tables of another program \(events\)"):
            open_store(db.where, migrate=migrate)


def test_a_database_with_other_tables_on_a_server_is_set_up_only_when_asked(server: Database) -> None:
    change(server, "CREATE TABLE invoices (id INTEGER)")
    with pytest.raises(StoreError, match="run `store migrate` to create"):
        open_store(server.where)
    store = open_store(server.where, migrate=True)
    store.append_events(HERE, notes(1, 1))
    assert seqs(store) == [1]
    store.close()


def change(db: Database, statement: str) -> None:
    engine = connections.open_engine(connections.parse_store_url(db.where))
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def test_damaged_data_is_named_and_the_rest_is_read(db: Database) -> None:
    store = open_store(db.where)
    store.append_events(HERE, notes(1, 4))
    change(db, "UPDATE events SET data = '{\"torn\":' WHERE seq = 2")
    change(db, "UPDATE events SET data = '[1]' WHERE seq = 3")
    assert unreadable(store) == [2, 3] and seqs(store) == [1, 2, 3, 4]
    assert sorted(store.find_problems()) == [f"Event {seq} of run r1 of {HERE} cannot be decoded." for seq in (2, 3)]
    store.close()


def test_damaged_store_file_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "orchestra.db"
    store = open_store(file)
    store.append_events(HERE, [event(seq, text="x" * 3000) for seq in range(1, 200)])
    store.close()
    with file.open("r+b") as raw:
        raw.seek(200 * 1024)
        raw.write(b"\xff" * 64 * 1024)
    damaged = open_store(file)
    problems = damaged.find_problems()
    assert problems and any("damaged" in problem or "malformed" in problem for problem in problems)
    damaged.close()


def test_bytes_that_are_no_text_hide_no_other_event(tmp_path: Path) -> None:
    store = open_store(tmp_path / "orchestra.db")
    store.append_events(HERE, notes(1, 3))
    with sqlite3.connect(tmp_path / "orchestra.db") as raw:
        raw.execute("UPDATE events SET data = CAST(x'7bff' AS TEXT) WHERE seq = 2")
    assert unreadable(store) == [2] and seqs(store) == [1, 2, 3]
    assert store.find_problems() == [f"Event 2 of run r1 of {HERE} cannot be decoded."]
    store.close()


def test_the_file_is_private_and_gives_space_back(tmp_path: Path) -> None:
    file = tmp_path / "what? #1 100%.db"
    store = open_store(file)
    for run in ("r1", "r2"):
        store.append_events(HERE, [event(seq, run=run, text="x" * 2000) for seq in range(1, 500)])
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    reader = open_store(file)
    full = file.stat().st_size
    store.delete_run(HERE, "r1")
    store.compact()
    assert file.stat().st_size < 0.6 * full
    assert len(seqs(reader, "r2")) == 499
    store.close()
    reader.close()


WRONG = {
    "sqlite://": "A SQLite store is a file",
    "sqlite:///:memory:": "A SQLite store is a file",
    "sqlite:////no/such/folder/x.db": "/no/such/folder/x.db cannot be used: No such file or directory",
    "orchestra.db": "The store's URL is wrong",
    "": "The store's URL is wrong",
    "oracle://u:secret@h/x": "A store cannot be oracle",
    "postgresql+asyncpg://u:secret@h/x": r"A store cannot be postgresql\+asyncpg",
    "postgresql://u:sec@ret@h/x": "more than one @",
    "postgresql://u:secret@h:port/x": "The store's URL is wrong",
    "mysql://u:secret@h": "names no database: mysql://h/",
    "postgres://u:secret@127.0.0.1:1/x": "postgresql://127.0.0.1:1/x cannot be used: .*refused",
    "mysql://u:secret@127.0.0.1:1/x": "mysql://127.0.0.1:1/x cannot be used: .*refused",
    "mariadb://u:secret@a..b/x": "a..b/x cannot be used: ",
    "postgresql://u@127.0.0.1:1/x?password=secret": "refused",
    "postgresql://u@127.0.0.1:1/x?secret=1": "cannot be used",
    "mysql://u:secret@127.0.0.1:1/x?colour=secret": "colour",
}


@pytest.mark.parametrize("where", WRONG)
def test_a_wrong_url_gets_one_sentence_without_its_password(where: str) -> None:
    with pytest.raises(StoreError, match=WRONG[where]) as caught:
        open_store(where)
    said = str(caught.value)
    assert caught.value.exit_code == 2
    assert "\n" not in said and said.endswith(".")
    assert "ret@" not in said and ("secret" not in said or "?secret" in where)


def test_a_rejected_login_does_not_show_the_password(server: Database) -> None:
    where = str(server.where).replace("postgres@", "stranger:pa55word@").replace("root@", "stranger:pa55word@")
    with pytest.raises(StoreError, match="stranger") as caught:
        open_store(where)
    assert "pa55word" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("Buy milk.\n" * 1000, encoding="utf-8")
    with pytest.raises(StoreError, match="file is not a database"):
        open_store(file)
    assert file.read_text(encoding="utf-8") == "Buy milk.\n" * 1000


@pytest.mark.parametrize(("driver", "url"), [("psycopg", "postgresql://h/x"), ("pymysql", "mysql://h/x")])
def test_missing_driver_is_reported_with_its_remedy(driver: str, url: str) -> None:
    program = (
        f"import sys; sys.modules[{driver!r}] = None\n"
        "from orchestra.errors import StoreError\nfrom orchestra.journal.open_store import open_store\n"
        f"try: open_store({url!r})\nexcept StoreError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    extra = {"psycopg": "postgres", "pymysql": "mysql"}[driver]
    assert f"pip install 'aider-orchestrator[{extra}]'" in done.stdout, done.stderr


def test_sqlalchemy_is_loaded_only_when_a_database_is_opened() -> None:
    program = "import sys, orchestra.journal.open_store, orchestra.journal.writer\nprint('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- the writer -----------------------------------------------------------------------------------------------------


def test_the_store_gets_what_the_files_get(store: Store, tmp_path: Path) -> None:
    journal = jsonl.Journal(tmp_path / "logs", lambda text: text.replace("sk-secret", "***"))
    writer = StoreWriter(store, HERE)
    journal.bus.subscribe("The store", writer.add_event)
    journal.emit(started("ä sk-secret"))
    for number in range(60):
        journal.emit(Note(f"{number}"), number % 4 or None, 1)
    journal.emit(ENDED)
    journal.close()
    assert writer.close() and writer.problem is None
    assert store.read_events(HERE, journal.stamp) == list(jsonl.read_run_log(tmp_path / "logs", journal.stamp).events)
    assert len(seqs(store, journal.stamp)) == 62 and "***" in store.list_runs(HERE)[0].first.data["change"]


def test_flush_waits_until_all_is_there(store: Store) -> None:
    writer = StoreWriter(store, HERE)
    assert writer.flush(0)
    for one in notes(1, 1200):
        writer.add_event(one)
    assert writer.flush(within())
    assert seqs(store) == list(range(1, 1201))
    assert writer.close()
    assert not writer.thread.is_alive()


# --- faults ---------------------------------------------------------------------------------------------------------


def test_a_locked_database_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.ENGINE_OPTIONS["sqlite"]["connect_args"], "timeout", 0.2)
    store = open_store(tmp_path / "orchestra.db")
    writer = StoreWriter(store, HERE, patience=NEVER)
    holder = sqlite3.connect(tmp_path / "orchestra.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    # Who emits an event does not wait: the database is locked until all are emitted.
    for one in notes(1, 700):
        writer.add_event(one)
    assert not writer.flush(0.5) and writer.problem is None
    writer.patience = 0.1
    with pytest.raises(StoreError, match="database is locked"):
        store.append_events(HERE, [event(1, run="r2")])
    assert holds_soon(lambda: writer.problem)
    assert writer.problem == f"The store {tmp_path}/orchestra.db cannot be used: database is locked. " + (
        "Only the JSONL files have 700 events."
    )
    holder.execute("ROLLBACK")
    assert writer.flush(within()) and writer.problem is None
    writer.add_event(event(701))
    assert writer.close()
    assert seqs(store) == list(range(1, 702))
    store.close()


def killed_soon(server: Database) -> int:
    """The writer may be between two connections."""
    return wait_until(server.kill, "a connection to cut")


def test_connections_that_are_killed_lose_nothing(server: Database) -> None:
    store = open_store(server.where)
    writer = StoreWriter(store, HERE)
    killed = 0
    for one in notes(1, 400):
        writer.add_event(one)
        if one.seq % 40 == 0:
            killed += killed_soon(server)
        time.sleep(0.001)
    assert writer.close(), writer.problem
    assert killed > 3
    assert seqs(store) == list(range(1, 401)) and store.find_problems() == []
    store.close()


def test_an_idle_connection_that_was_killed_is_not_noticed(server: Database) -> None:
    store = open_store(server.where)
    for seq in range(1, 4):
        assert server.kill() > 0
        store.append_events(HERE, [event(seq)])
        assert server.kill() > 0
        assert store.take_commands(HERE, "r1") == [] and own(store, "me") is None
    assert seqs(store) == [1, 2, 3]
    store.close()


def test_lost_server_is_awaited_and_reported(server: Database) -> None:
    with Relay(server.port) as relay:
        store = open_store(server.by(relay.port))
        writer = StoreWriter(store, HERE, patience=NEVER)
        writer.add_event(event(1))
        assert writer.flush(within())
        relay.cut()
        for one in notes(2, 50):
            writer.add_event(one)
        assert writer.problem is None
        writer.patience = 0.1
        assert holds_soon(lambda: "cannot be used" in str(writer.problem))
        assert "have 49 events" in str(writer.problem)
        with pytest.raises(StoreError):
            store.read_events(HERE, "r1")
        relay.mend()
        assert writer.flush(within()) and writer.problem is None
        assert seqs(store) == list(range(1, 51))
        writer.close()
        store.close()


def test_a_server_that_stays_away_leaves_a_problem_and_the_files_heal_it(server: Database, tmp_path: Path) -> None:
    journal = jsonl.Journal(tmp_path, str)
    with Relay(server.port) as relay:
        store = open_store(server.by(relay.port))
        writer = StoreWriter(store, HERE, patience=0.3)
        journal.bus.subscribe("The store", writer.add_event)
        journal.emit(started())
        assert writer.flush(within())
        relay.cut()
        journal.emit(Note("one"), 1)
        journal.emit(ENDED)
        assert not writer.close()
        assert "Only the JSONL files have 2 events." in str(writer.problem)
        store.close()
    journal.close()
    healed = open_store(server.where)
    assert seqs(healed, journal.stamp) == [1]
    healed.append_events(HERE, jsonl.read_run_log(tmp_path, journal.stamp).events)
    assert healed.read_events(HERE, journal.stamp) == list(jsonl.read_run_log(tmp_path, journal.stamp).events)
    healed.close()


@pytest.mark.thorough
def test_full_disk_is_reported_and_overcome(tmp_path: Path) -> None:
    """In a process of its own: a small tmpfs where one may be mounted, else a limit on the size of files."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    try:
        fill = PROCESSES.Process(target=write_until_full, args=(folder, mounted.returncode == 0))
        fill.start()
        fill.join(within())
        assert fill.exitcode == 0
        store = open_store(folder / "orchestra.db")
        assert seqs(store) == list(range(1, 41)) and store.find_problems() == []
        store.close()
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", str(folder)], check=True)


def write_until_full(folder: Path, small_disk: bool) -> None:
    store = open_store(folder / "orchestra.db")
    writer = StoreWriter(store, HERE, patience=0.3)
    ballast = folder / "ballast"
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    if small_disk:
        ballast.write_bytes(b"x" * 800_000)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (800_000, hard))
    for seq in range(1, 41):
        writer.add_event(event(seq, text="x" * 50_000))
        writer.flush(0.05)
    assert holds_soon(lambda: writer.problem), "2 MB fitted"
    assert "cannot be used" in str(writer.problem)
    stored = seqs(store)
    assert stored == list(range(1, len(stored) + 1))
    if small_disk:
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=20m", str(folder)], check=True)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert writer.flush(within()), writer.problem
    assert writer.close()


@pytest.mark.thorough
def test_what_was_reported_as_written_survives_a_kill(db: Database) -> None:
    program = (
        "import sys\nfrom tests.test_store import *\nfrom pathlib import Path\n"
        "where = sys.argv[2]\nstore = open_store(Path(where) if sys.argv[1] == 'sqlite' else where)\n"
        "writer = StoreWriter(store, HERE)\n"
        "for one in notes(1, 100000):\n    writer.add_event(one)\n"
        "    if one.seq % 7 == 0 and writer.flush(within()): print(one.seq, flush=True)\n"
    )
    command = [sys.executable, "-c", program, db.kind, str(db.where)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [int(child.stdout.readline()) for _ in range(20)]
        child.send_signal(signal.SIGKILL)
        said += [int(line) for line in child.stdout.read().splitlines() if line]
    store = open_store(db.where)
    kept = seqs(store)
    assert kept == list(range(1, len(kept) + 1)) and len(kept) >= said[-1] >= 140
    assert own(store, "me") is None
    store.close()


# --- twenty at once -------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_twenty_processes_on_one_store(db: Database) -> None:
    """They come to an empty database together; each writes a run of its own, and all want the same things."""
    gate = PROCESSES.Barrier(20)
    writers = [PROCESSES.Process(target=one_of_twenty, args=(db.where, number, gate)) for number in range(20)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(within())
    assert [writer.exitcode for writer in writers] == [0] * 20
    store = open_store(db.where)
    found = [store.read_events(HERE, f"run{number}") for number in range(20)]
    assert [[event.seq for event in events] for events in found] == [list(range(1, 43))] * 20
    report = [events[-1].data for events in found]
    assert [one["owns"] for one in report].count(True) == 1
    assert [one["leases"] for one in report].count(True) == 1
    left = [command.task for command in store.take_commands(HERE, "shared")]
    assert sorted(left + [task for one in report for task in one["taken"]]) == list(range(60))
    assert len(store.list_runs(HERE)) == 20 and store.find_problems() == []
    store.close()


def one_of_twenty(where: str | Path, number: int, gate: Any) -> None:
    gate.wait(within())
    store = open_store(where)
    run, taken = f"run{number}", []
    writer = StoreWriter(store, HERE)
    writer.add_event(event(1, "run_started", run))
    for seq in range(2, 42):
        writer.add_event(event(seq, run=run))
        if seq % 15 == 0:
            writer.flush(within())
    for turn in range(3):
        store.post_command(HERE, "shared", "note", number * 3 + turn)
        taken += [command.task for command in store.take_commands(HERE, "shared")]
    owns = own(store, f"process {number}", run="shared") is None
    leases = not store.lease_files(HERE, run, [f"own{number}.py", "shared.py"], LONG)
    writer.add_event(event(42, "report", run, owns=owns, leases=leases, taken=taken))
    os._exit(0 if writer.close() else 1)
