"""Open a store by its URL or path."""

from pathlib import Path

from orchestra.journal.store import Store


def open_store(where: str | Path, *, migrate: bool = False) -> Store:
    """A store by its URL, or by the path of its SQLite file.

    An empty database is set up, and an older SQLite file brought up to date. An older database on a server may be in
    use by others: it is changed only when asked to by `migrate`.
    """
    from orchestra.journal.sql import SqlStore

    return SqlStore(where, migrate=migrate)
