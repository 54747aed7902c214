"""Connect to a store's database: from its URL to an engine, from a driver's error to a sentence."""

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from orchestra.errors import StoreError

POSTGRES, MYSQL = "postgresql+psycopg", "mysql+pymysql"
DRIVERS = {
    "sqlite": "sqlite",
    **dict.fromkeys(("postgres", "postgresql", POSTGRES), POSTGRES),
    **dict.fromkeys(("mysql", "mariadb", MYSQL, "mariadb+pymysql"), MYSQL),
}
DRIVER_EXTRAS = {"postgresql": "postgres", "mysql": "mysql"}
SERVER_OPTIONS = {"pool_pre_ping": True, "isolation_level": "READ COMMITTED"}
# Every call has a timeout, for the server as well as for locks.
ENGINE_OPTIONS: dict[str, dict[str, Any]] = {
    "sqlite": {"connect_args": {"timeout": 10, "check_same_thread": False}},
    "postgresql": SERVER_OPTIONS
    | {"connect_args": {"connect_timeout": 10, "keepalives_idle": 10, "tcp_user_timeout": 30_000}},
    "mysql": SERVER_OPTIONS | {"connect_args": {"connect_timeout": 10, "read_timeout": 60, "write_timeout": 60}},
}
IN_MEMORY = "memory://"
# One connection shared by all threads: another one would open a new, empty database.
IN_MEMORY_OPTIONS = {"poolclass": sa.QueuePool, "pool_size": 1, "max_overflow": 0}
LOCK_SECONDS = 10.0
CONNECT_STATEMENTS = {
    "sqlite": ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL"),
    "postgresql": ("SET lock_timeout = '10s'", "SET idle_in_transaction_session_timeout = '30s'"),
    # Strict, otherwise it truncates values; UTC, because a local time occurs twice when summer time ends.
    "mysql": (
        "SET SESSION innodb_lock_wait_timeout = 10",
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES'",
        "SET SESSION time_zone = '+00:00'",
    ),
}


def parse_store_url(where: str | Path) -> sa.URL:
    """The URL with its driver. Messages do not quote a wrong URL: it may have a password at any place."""
    if isinstance(where, Path):
        return sa.URL.create("sqlite", database=str(where.absolute()))
    if where == IN_MEMORY:
        return sa.URL.create("sqlite", database=":memory:")
    try:
        url = sa.make_url(where)
    except (sa.exc.ArgumentError, ValueError):
        raise StoreError("The store's URL is wrong: it looks like postgresql://user:password@host/name.") from None
    if url.drivername not in DRIVERS:
        known = "sqlite:///file, postgresql://..., mysql://... or mariadb://..."
        raise StoreError(f"A store cannot be {url.drivername}: give {known}.")
    if url.drivername == "sqlite":
        if url.host or url.database in (None, "", ":memory:"):
            raise StoreError("A SQLite store is a file: sqlite:///relative.db or sqlite:////absolute.db.")
        return parse_store_url(Path(str(url.database)))
    if "@" in (url.host or ""):
        raise StoreError("The store's URL has more than one @: write %40 for those in the password.")
    if not url.database:
        raise StoreError(f"The store's URL names no database: {store_label(url)}NAME.")
    return url.set(drivername=DRIVERS[url.drivername])


def store_label(url: sa.URL) -> str:
    """The store's name in messages: without user, password and options."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    port = f":{url.port}" if url.port else ""
    return f"{url.get_backend_name()}://{url.host or ''}{port}/{url.database or ''}"


def open_engine(url: sa.URL) -> sa.Engine:
    """An engine whose connection was tested."""
    dialect = url.get_backend_name()
    options = ENGINE_OPTIONS[dialect]
    if url.database == ":memory:":
        options = options | IN_MEMORY_OPTIONS
    elif dialect == "sqlite":
        create_private_file(Path(str(url.database)))
    try:
        # hide_parameters: events must not appear in tracebacks.
        engine = sa.create_engine(url, hide_parameters=True, **options)
        add_engine_hooks(engine)
        engine.connect().close()
    except ImportError:
        command = f"pip install 'aider-orchestrator[{DRIVER_EXTRAS[dialect]}]'"
        raise StoreError(f"The store {store_label(url)} needs a driver that is not installed: {command}.") from None
    except sa.exc.DBAPIError as error:
        raise store_error(url, error) from error
    except (TypeError, ValueError, RuntimeError) as error:
        # PyMySQL raises these for an unknown option, a wrong host name, or a missing package.
        raise StoreError(f"The store {store_label(url)} cannot be used: {hide_password(url, str(error))}.") from error
    return engine


def create_private_file(file: Path) -> None:
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreError(f"The store {file} cannot be used: {error.strerror}.") from error


def execute_when_unlocked(cursor: Any, statement: str) -> None:
    """SQLite has no timeout for processes that set a new file's journal mode at the same time."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            cursor.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def add_engine_hooks(engine: sa.Engine) -> None:
    dialect = engine.dialect.name

    @sa.event.listens_for(engine, "connect")
    def prepare_connection(connection: Any, _: Any) -> None:
        if dialect == "sqlite":
            # Python begins transactions late, with a lock that cannot be upgraded while others write.
            connection.isolation_level = None
            # Damaged text is decoded too, so that the other events can be read.
            connection.text_factory = lambda text: text.decode("utf-8", "replace")
        cursor = connection.cursor()
        for statement in CONNECT_STATEMENTS[dialect]:
            execute_when_unlocked(cursor, statement)
        cursor.close()
        connection.commit()

    if dialect == "sqlite":

        @sa.event.listens_for(engine, "begin")
        def begin_transaction(connection: sa.Connection) -> None:
            if statement := connection.get_execution_options().get("begin", "BEGIN"):
                connection.exec_driver_sql(statement)


def is_deadlock(error: sa.exc.DBAPIError) -> bool:
    """Whether the database rolled back because two transactions waited for each other."""
    return getattr(error.orig, "sqlstate", None) in ("40P01", "40001") or (error.orig or error).args[:1] == (1213,)


def store_error(url: sa.URL, error: sa.exc.DBAPIError) -> StoreError:
    words = [str(word) for word in (error.orig or error).args] or [str(error.orig)]
    reason = hide_password(url, words[-1].strip().splitlines()[0] if words[-1].strip() else type(error.orig).__name__)
    is_damaged = "malformed" in reason and url.get_backend_name() == "sqlite"
    hint = "`store migrate` rebuilds a repository's own store from its logs." if is_damaged else ""
    return StoreError(f"The store {store_label(url)} cannot be used: {reason.rstrip('.')}.", hint=hint)


def hide_password(url: sa.URL, text: str) -> str:
    for secret in (url.password, url.query.get("password")):
        if secret:
            text = text.replace(str(secret), "***")
    return text
