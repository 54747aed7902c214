"""The store in a SQL database: SQLite, PostgreSQL, or MySQL and MariaDB."""

import hashlib
import json
import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar, cast

import sqlalchemy as sa

from orchestra.errors import StoreError
from orchestra.events import EMPTY_OBJECT, Event, Json, UnreadableEvent, make_event
from orchestra.journal import schema
from orchestra.journal.database import is_deadlock, open_engine, parse_store_url, store_error
from orchestra.journal.schema import commands, events, gate_runs, leases, owners
from orchestra.journal.store import Command, GateRun, Lease, Owner, StoredRun, missing_events, run_from_marks

T = TypeVar("T")
# The store's own clock, in ms, because the clocks of its clients may differ.
NOW_STATEMENT = {
    "sqlite": "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    "postgresql": "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    "mysql": "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)",
}
MAX_KEY_LENGTH = 190  # characters; MySQL can index two such columns together
MAX_DEADLOCKS = 20  # retries of a transaction
MOST_GATE_RUNS = 5_000  # listed at once


class PathsTaken(Exception):
    """Raised in a transaction to roll it back: other runs hold the paths that it is made with."""


class SqlStore:
    """A store in a SQL database. `store.Store` documents the methods."""

    def __init__(self, where: str | Path, *, migrate: bool = False) -> None:
        self.url = parse_store_url(where)
        self.dialect = self.url.get_backend_name()
        self.engine = open_engine(self.url)
        try:
            if not self.transact(schema.is_current):
                self.write_transaction(lambda connection: schema.upgrade_schema(connection, migrate))
        except StoreError:
            self.close()
            raise

    def append_events(self, repository: str, events: Iterable[Event]) -> None:
        key, names = index_key(repository), ("run", "seq", "time", "kind", "task", "attempt")
        rows = [
            {"repository": key, "data": encode_data(event.data)} | {name: getattr(event, name) for name in names}
            for event in events
        ]
        if rows:
            self.write_transaction(lambda connection: connection.execute(self.insert_new(schema.events), rows))

    def read_events(
        self, repository: str, run: str, after: int = 0, kinds: Sequence[str] = (), limit: int | None = None
    ) -> list[Event]:
        query = sa.select(events).where(matches_run(events, repository, run), events.c.seq > after)
        if kinds:
            query = query.where(events.c.kind.in_(kinds))
        return list(decode_rows(self.select_rows(query.order_by(events.c.seq).limit(limit))))

    def list_runs(self, repository: str) -> list[StoredRun]:
        query = sa.select(events).where(events.c.repository == index_key(repository), sa.text(schema.MARKS_CONDITION))
        marks = decode_rows(self.select_rows(query.order_by(events.c.run, events.c.seq)))
        runs = [run_from_marks(list(run_marks)) for _, run_marks in groupby(marks, lambda event: event.run)]
        return sorted(runs, key=lambda run: (run.first.time, run.name))

    def list_repositories(self) -> list[str]:
        query = sa.select(events.c.repository).where(sa.text(schema.MARKS_CONDITION)).distinct()
        return [row.repository for row in self.select_rows(query.order_by(events.c.repository))]

    def delete_run(self, repository: str, run: str) -> None:
        def delete_rows(connection: sa.Connection) -> None:
            for table in schema.RUN_TABLES:
                connection.execute(sa.delete(table).where(matches_run(table, repository, run)))

        self.write_transaction(delete_rows)

    def post_command(
        self, repository: str, run: str, kind: str, task: int | None = None, data: Json | None = None
    ) -> None:
        row = {"repository": index_key(repository), "run": run, "kind": kind, "task": task}
        row["data"] = encode_data(data or {})
        self.write_transaction(
            lambda connection: connection.execute(sa.insert(commands), row | {"time": self.server_time(connection)})
        )

    def take_commands(self, repository: str, run: str) -> list[Command]:
        waiting = sa.select(commands).where(matches_run(commands, repository, run), commands.c.taken.is_(None))
        waiting = waiting.order_by(commands.c.id)

        def take_rows(connection: sa.Connection) -> list[Command]:
            rows = connection.execute(waiting.with_for_update()).all()
            taken = sa.update(commands).where(commands.c.id.in_([row.id for row in rows]))
            connection.execute(taken.values(taken=self.server_time(connection)))
            return [Command(row.id, row.run, row.time, row.kind, row.task, decode_data(row.data) or {}) for row in rows]

        # Owners poll several times per second, so the lock is taken only if there is a command.
        return self.write_transaction(take_rows) if self.select_rows(waiting) else []

    def acquire_run(self, repository: str, run: str, owner: str, host: str, pid: int, ttl_ms: int) -> Owner | None:
        mine = {"owner": owner, "host": host, "pid": pid}
        this = matches_run(owners, repository, run)
        free = {"repository": index_key(repository), "run": run, "expires": 0} | mine

        def update_owner(connection: sa.Connection) -> Owner | None:
            while True:
                now = self.server_time(connection)
                connection.execute(self.insert_new(owners), free)
                claim = sa.update(owners).where(this, (owners.c.owner == owner) | (owners.c.expires <= now))
                if connection.execute(claim.values(expires=now + ttl_ms, **mine)).rowcount:
                    return None
                # No row: the run was deleted between the statements.
                if row := connection.execute(sa.select(owners).where(this)).one_or_none():
                    return owner_from_row(row)

        return self.write_transaction(update_owner)

    def run_owner(self, repository: str, run: str) -> Owner | None:
        query = sa.select(owners).where(matches_run(owners, repository, run))

        def select_owner(connection: sa.Connection) -> Owner | None:
            row = connection.execute(query.where(owners.c.expires > self.server_time(connection))).one_or_none()
            return owner_from_row(row) if row else None

        return self.transact(select_owner)

    def release_run(self, repository: str, run: str, owner: str) -> None:
        mine = sa.update(owners).where(matches_run(owners, repository, run), owners.c.owner == owner)
        self.write_transaction(lambda connection: connection.execute(mine.values(expires=0)))

    def lease_files(self, repository: str, run: str, paths: Iterable[str], ttl_ms: int) -> dict[str, str]:
        wanted = {index_key(path): path for path in paths}
        here = leases.c.repository == index_key(repository)

        def insert_leases(connection: sa.Connection) -> None:
            now = self.server_time(connection)
            new = {"repository": index_key(repository), "run": run, "expires": now + ttl_ms}
            connection.execute(sa.delete(leases).where(here, leases.c.expires <= now))
            connection.execute(sa.update(leases).where(here, leases.c.run == run).values(expires=now + ttl_ms))
            # All runs insert in the same order, so that they cannot wait for each other in a circle.
            missing = sorted(wanted)
            while missing:
                connection.execute(self.insert_new(leases), [new | {"path": path} for path in missing])
                holders = {row.path: row.run for row in connection.execute(sa.select(leases).where(here))}
                if taken := {path: holders[one] for one, path in wanted.items() if holders.get(one, run) != run}:
                    raise PathsTaken(taken)
                # Leases that another run released between the INSERT and the SELECT.
                missing = sorted(wanted.keys() - holders)

        try:
            self.write_transaction(insert_leases)
        except PathsTaken as conflict:
            return dict(conflict.args[0])
        return {}

    def release_files(self, repository: str, run: str) -> None:
        self.write_transaction(
            lambda connection: connection.execute(sa.delete(leases).where(matches_run(leases, repository, run)))
        )

    def list_leases(self, repository: str) -> list[Lease]:
        query = sa.select(leases.c.path, leases.c.run, leases.c.expires).order_by(leases.c.path)
        query = query.where(leases.c.repository == index_key(repository))

        def select_leases(connection: sa.Connection) -> list[Lease]:
            rows = connection.execute(query.where(leases.c.expires > self.server_time(connection)))
            return [Lease(*row) for row in rows]

        return self.transact(select_leases)

    def add_gate_run(self, repository: str, gate_run: GateRun) -> None:
        row: dict[str, object] = {"repository": index_key(repository), "id": secrets.token_hex(16)}
        row |= {"digest": gate_run.digest, "run": gate_run.run, "gate": index_key(gate_run.gate)}
        row |= {"passed": int(gate_run.passed), "failing": encode_data({"names": gate_run.failing})}
        row["data"] = gate_run.data
        self.write_transaction(
            lambda connection: connection.execute(sa.insert(gate_runs), row | {"time": self.server_time(connection)})
        )

    def find_gate_runs(self, repository: str, digest: str) -> list[GateRun]:
        here = sa.and_(gate_runs.c.repository == index_key(repository), gate_runs.c.digest == digest)
        return self.select_gate_runs(sa.select(gate_runs).where(here))

    def list_gate_runs(self, repository: str) -> list[GateRun]:
        columns = [column for column in gate_runs.c if column.name != "data"]
        query = sa.select(*columns, sa.literal("").label("data")).where(gate_runs.c.repository == index_key(repository))
        return self.select_gate_runs(query.limit(MOST_GATE_RUNS))[::-1]

    def select_gate_runs(self, query: sa.Select[Any]) -> list[GateRun]:
        def select_rows(connection: sa.Connection) -> list[GateRun]:
            now = self.server_time(connection)
            rows = connection.execute(query.order_by(gate_runs.c.time.desc(), gate_runs.c.id))
            return [gate_run_from_row(row, now) for row in rows]

        return self.transact(select_rows)

    def expire_gate_runs(self, repository: str, data_ms: int, row_ms: int) -> None:
        here, time_column = gate_runs.c.repository == index_key(repository), gate_runs.c.time

        def expire_rows(connection: sa.Connection) -> None:
            now = self.server_time(connection)
            connection.execute(sa.delete(gate_runs).where(here, time_column < now - row_ms))
            old = sa.update(gate_runs).where(here, time_column < now - data_ms, gate_runs.c.data != "")
            connection.execute(old.values(data=""))

        self.write_transaction(expire_rows)

    def compact(self) -> None:
        if self.dialect == "sqlite":
            self.transact(lambda connection: connection.exec_driver_sql("VACUUM"), begin="")
            self.transact(lambda connection: connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)"), begin="")

    def find_problems(self) -> list[str]:
        check, lines = "PRAGMA integrity_check(20)", ["ok"]
        try:
            if self.dialect == "sqlite":
                lines = [*self.transact(lambda connection: connection.exec_driver_sql(check).scalars().all())]
            damage = [f"The file is damaged: {line}." for line in lines if line != "ok"]
            return [*damage, *self.sequence_gaps(), *self.transact(undecodable_events)]
        except StoreError as error:
            return [str(error)]

    def sequence_gaps(self) -> Iterator[str]:
        seq, whose = events.c.seq, (events.c.repository, events.c.run)
        broken = (sa.func.min(seq) != 1) | (sa.func.max(seq) != sa.func.count())
        for run in self.select_rows(sa.select(*whose).group_by(*whose).having(broken)):
            rows = self.select_rows(sa.select(seq).where(matches_run(events, run.repository, run.run)))
            yield from missing_events(run.repository, run.run, [row.seq for row in rows])

    def close(self) -> None:
        self.engine.dispose()

    def select_rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        return self.transact(lambda connection: connection.execute(query).all())

    def write_transaction(self, work: Callable[[sa.Connection], T]) -> T:
        return self.transact(work, begin="BEGIN IMMEDIATE")

    def transact(self, work: Callable[[sa.Connection], T], begin: str = "BEGIN", tries: int = MAX_DEADLOCKS) -> T:
        """Run the work in a transaction. After a deadlock, try again."""
        try:
            with self.engine.connect().execution_options(begin=begin) as connection, connection.begin():
                return work(connection)
        except sa.exc.DBAPIError as error:
            if not (tries and is_deadlock(error)):
                raise store_error(self.url, error) from error
        time.sleep(random.uniform(0, 0.05))
        return self.transact(work, begin, tries - 1)

    def server_time(self, connection: sa.Connection) -> int:
        return int(connection.exec_driver_sql(NOW_STATEMENT[self.dialect]).scalar_one())

    def insert_new(self, table: sa.TableClause) -> sa.Insert:
        """An INSERT that skips existing rows. INSERT IGNORE would also ignore errors."""
        # Only the dialect in use is imported, because each import slows down `status`.
        insert = import_module(f"sqlalchemy.dialects.{self.dialect}").insert(table)
        if self.dialect == "mysql":
            return cast(sa.Insert, insert.on_duplicate_key_update(repository=table.c.repository))
        return cast(sa.Insert, insert.on_conflict_do_nothing())


def owner_from_row(row: sa.Row[Any]) -> Owner:
    return Owner(row.owner, row.host, row.pid, row.expires)


def gate_run_from_row(row: sa.Row[Any], now: int) -> GateRun:
    # SQLite takes any value for any column, and a store may come with a repository.
    names = (decode_data(str(row.failing)) or {}).get("names")
    failing = tuple(map(str, names)) if isinstance(names, list) else ()
    age = now - row.time if isinstance(row.time, int) else -1
    return GateRun(str(row.digest), str(row.run), str(row.gate), bool(row.passed), failing, age, str(row.data))


def index_key(text: str) -> str:
    """The text as a key: itself, or its digest if it is long or databases could compare it differently."""
    if len(text) <= MAX_KEY_LENGTH and text.isprintable() and not text.endswith(" "):
        return text
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def matches_run(table: sa.TableClause, repository: str, run: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.repository == index_key(repository), table.c.run == run)


def encode_data(data: Json) -> str:
    """ASCII JSON, which every character set can hold."""
    return json.dumps(dict(data), separators=(",", ":"))


def decode_rows(rows: Iterable[sa.Row[Any]]) -> Iterator[Event]:
    for row in rows:
        data = decode_data(row.data)
        if data is None:
            lost = UnreadableEvent(row.kind, "the store holds no data of it")
            yield Event(row.run, row.seq, row.time, row.task, row.attempt, lost, EMPTY_OBJECT)
        else:
            yield make_event(row.run, row.seq, row.time, row.kind, row.task, row.attempt, data)


def decode_data(text: str) -> Json | None:
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def undecodable_events(connection: sa.Connection) -> list[str]:
    columns = sa.select(events.c.repository, events.c.run, events.c.seq, events.c.data)
    rows = connection.execution_options(yield_per=1000).execute(columns)
    return [
        f"Event {row.seq} of run {row.run} of {row.repository} cannot be decoded."
        for row in rows
        if decode_data(row.data) is None
    ]
