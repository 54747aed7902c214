"""Open a store by its URL or path."""

from pathlib import Path

from orchestra.journal.store import Store


def open_store(where: str | Path, *, migrate: bool = False) -> Store:
    """An empty database is set up, and an older SQLite file upgraded. An older database on a server is upgraded only
    with `migrate`, because others may use it. SQLAlchemy is imported only here."""
    from orchestra.journal.sql import SqlStore

    return SqlStore(where, migrate=migrate)
