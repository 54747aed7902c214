"""Open a store, and repair a repository's own: the damaged file gets a new name, and a new one is built from the JSONL
logs. Only the SQLite file in the log folder is repaired, because the logs have all of it. A store of --store may have
runs of other machines."""

import contextlib
import fcntl
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from orchestra.errors import StoreError
from orchestra.events import RunResumed, RunStarted, has_ended
from orchestra.journal import jsonl
from orchestra.journal.ownership import is_process_alive
from orchestra.journal.store import Store

OWN_REPOSITORY = "."  # the repository's name in its own store
# The tables of the schema, and the step that makes each; a test compares them.
STORE_TABLES = {
    "schema_version": {"version"},
    "events": {"repository", "run", "seq", "time", "kind", "task", "attempt", "data"},
    "commands": {"id", "repository", "run", "time", "kind", "task", "data", "taken"},
    "owners": {"repository", "run", "owner", "host", "pid", "expires"},
    "leases": {"repository", "path", "run", "expires"},
    "gate_runs": {"repository", "digest", "id", "run", "time", "gate", "passed", "failing", "data"},
}
TABLE_STEPS = {"events": 1, "commands": 2, "owners": 2, "leases": 2, "gate_runs": 3}
FRESH_SECONDS = 10.0
SIDECARS = ("-wal", "-shm", "-journal")
WHOLE_CHECK_LIMIT = 8 << 20  # bytes, checked in about 20 ms; only `store migrate` reads all of a larger file
FOREIGN_TABLES = "tables of another program"
DAMAGE_PHRASES = ("file is not a database", "malformed", "file is damaged", FOREIGN_TABLES)


def open_store(where: str | Path, *, migrate: bool = False) -> Store:
    """Open a store by its URL or path. An empty database is set up, an older SQLite file upgraded. An older database
    on a server is upgraded only with `migrate`, because others may use it. SQLAlchemy is imported only here."""
    from orchestra.journal.sql import SqlStore

    return SqlStore(where, migrate=migrate)


def open_own_store(path: Path, *, whole: bool = False) -> tuple[Store, str]:
    """The store, and a sentence if it was rebuilt. `whole`: check all of the file, of any size."""
    damage = find_damage(path, whole=whole)
    if not damage:
        # Another process may be rebuilding the store, which is sound before it is complete.
        with contextlib.suppress(OSError), repair_lock_path(path).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            return open_store(path), ""
        except StoreError as error:
            damage = match_damage(str(error))
            if not damage:
                raise
    with repair_lock(path):
        if find_damage(path, whole=whole) or not can_open(path):
            return replace_store(path, damage)
        return open_store(path), ""  # another process repaired it


def match_damage(message: str) -> str:
    return next((words for words in DAMAGE_PHRASES if words in message), "")


def find_damage(path: Path, *, whole: bool = False) -> str:
    """What is wrong with the file; empty if it is sound, missing, or temporarily unreadable."""
    try:
        status = path.stat()
    except OSError:
        return ""
    if not stat.S_ISREG(status.st_mode):
        return "it is not a file"
    if not status.st_size:
        is_new = abs(time.time() - status.st_mtime) <= FRESH_SECONDS  # another process may be creating it
        return "" if is_new or not jsonl.list_run_stamps(path.parent) else "it is empty"
    if status.st_size > WHOLE_CHECK_LIMIT and not whole:
        return "it is cut short" if is_truncated(path) else ""
    return check_sqlite_file(path)


def check_sqlite_file(path: Path) -> str:
    """Check the file with SQLite, and its tables."""
    where = f"{path.absolute().as_uri()}?mode=rw"
    try:
        with contextlib.closing(sqlite3.connect(where, uri=True, timeout=10)) as database:
            result = database.execute("PRAGMA quick_check(1)").fetchone()
            if not result or result[0] != "ok":
                return "the file is damaged"
            return "" if has_store_tables(database) else f"it has {FOREIGN_TABLES}"
    except sqlite3.OperationalError:
        return ""  # locked or not accessible: opening the store reports that
    except sqlite3.DatabaseError as error:
        return match_damage(str(error)) or "the file is damaged"


def has_store_tables(database: sqlite3.Connection) -> bool:
    """Whether the tables are those of a store. A newer store may have more columns."""
    names = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    names = {name for name in names if not name.startswith("sqlite_")}
    columns = {
        name: {row[1] for row in database.execute(f'PRAGMA table_info("{name}")')}
        for name in STORE_TABLES
        if name in names
    }
    if any(not STORE_TABLES[name] <= columns[name] for name in columns):
        return False
    if not names:
        return True
    if "schema_version" not in names:
        return False
    (version,) = database.execute("SELECT max(version) FROM schema_version").fetchone()
    return {name for name, step in TABLE_STEPS.items() if step <= (version or 0)} <= names


def is_truncated(path: Path) -> bool:
    """Whether the file is shorter than its header says, and has no WAL that may hold the rest."""
    try:
        with path.open("rb") as file:
            head = file.read(100)
        log = path.with_name(f"{path.name}-wal")
        if head[:16] != b"SQLite format 3\0" or (log.exists() and log.stat().st_size):
            return False
        page = int.from_bytes(head[16:18], "big")
        size = int.from_bytes(head[28:32], "big") * (65536 if page == 1 else page)
        return path.stat().st_size < size
    except OSError:
        return False


def can_open(path: Path) -> bool:
    try:
        open_store(path).close()
    except StoreError as error:
        if match_damage(str(error)):
            return False
        raise
    return True


def repair_lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


@contextlib.contextmanager
def repair_lock(path: Path) -> Iterator[None]:
    lock = os.open(repair_lock_path(path), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def replace_store(path: Path, damage: str) -> tuple[Store, str]:
    refuse_while_active(path)
    backup = move_damaged_store(path)
    store, runs = open_store(path), 0
    for stamp in jsonl.list_run_stamps(path.parent):
        with contextlib.suppress(OSError, StoreError):  # a run that cannot be read is skipped
            store.append_events(OWN_REPOSITORY, jsonl.read_run_log(path.parent, stamp).events)
            runs += 1
    count = f"{runs} run" if runs == 1 else f"{runs} runs"
    kept = f"it is kept as {backup.name}, and a new one has the {count} of the logs"
    return store, f"The store {path} could not be used ({damage}): {kept}."


def refuse_while_active(path: Path) -> None:
    """Raise while a run is active: it has the old file open, which alone names its owner."""
    for stamp in jsonl.list_run_stamps(path.parent):
        events = jsonl.read_log_file(path.parent / f"run_{stamp}.jsonl").events
        pids = [event.payload.pid for event in events if isinstance(event.payload, RunStarted | RunResumed)]
        if not pids or has_ended(events):
            continue
        pid = pids[-1]
        if pid > 0 and pid != os.getpid() and is_process_alive(pid) and is_orchestrator(pid):
            hint = f"It is rebuilt when the run {stamp} (pid {pid}) has ended; `kill {pid}` stops it."
            raise StoreError(f"The store {path} is damaged.", hint=hint)


def is_orchestrator(pid: int) -> bool:
    """Whether the pid is not another program's by now."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return not Path("/proc/self").exists()
    return b"aider_orchestrator" in words or b"aider-orchestrator" in words


def move_damaged_store(path: Path) -> Path:
    """Rename the file and its sidecars to an unused name."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = (f"{path.name}.damaged-{stamp}" + (f"-{n}" if n > 1 else "") for n in range(1, 10_000))
    backup = next(unused for name in names if not os.path.lexists(unused := path.with_name(name)))
    try:
        path.rename(backup)
        for ending in SIDECARS:
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + ending).rename(backup.with_name(backup.name + ending))
    except OSError as error:
        hint = f"Move {path} away; it is rebuilt from the logs."
        raise StoreError(f"The store {path} is damaged and cannot be renamed: {error.strerror}.", hint=hint) from None
    return backup
