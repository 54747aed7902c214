"""A repository's own store when its file is damaged: set aside under a new name, and made anew from the JSONL logs.

Only for the SQLite file in the log folder, of which the logs are the truth. A store that was named by --store may hold
runs of other machines: that one is never touched.
"""

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
from orchestra.journal.open_store import open_store
from orchestra.journal.ownership import is_process_alive
from orchestra.journal.store import Store

OWN_REPOSITORY = "."  # what the own store calls its repository
# What the first and the second step of the schema make; a test holds it against that.
STORE_TABLES = {
    "schema_version": {"version"},
    "events": {"repository", "run", "seq", "time", "kind", "task", "attempt", "data"},
    "commands": {"id", "repository", "run", "time", "kind", "task", "data", "taken"},
    "owners": {"repository", "run", "owner", "host", "pid", "expires"},
    "leases": {"repository", "path", "run", "expires"},
}
FRESH_SECONDS = 10.0  # seconds
SIDECARS = ("-wal", "-shm", "-journal")
WHOLE_CHECK_LIMIT = 8 << 20  # bytes, in about 20 ms; of a larger file only `store migrate` reads all
FOREIGN_TABLES = "tables of another program"
DAMAGE_PHRASES = ("file is not a database", "malformed", "file is damaged", FOREIGN_TABLES)


def open_own_store(path: Path, *, whole: bool = False) -> tuple[Store, str]:
    """The store, and a sentence where it had to be made anew. `whole`: read all of the file, however large."""
    damage = find_damage(path, whole=whole)
    if not damage:
        wait_for_repair(path)
        try:
            return open_store(path), ""
        except StoreError as error:
            damage = match_damage(str(error))
            if not damage:
                raise
    with repair_lock(path):
        # Another process may have been first.
        return (
            replace_store(path, damage)
            if find_damage(path, whole=whole) or not can_open(path)
            else (open_store(path), "")
        )


def match_damage(message: str) -> str:
    return next((words for words in DAMAGE_PHRASES if words in message), "")


def find_damage(path: Path, *, whole: bool = False) -> str:
    """What is wrong with the file; nothing where it is sound, not there yet, or only cannot be read now."""
    try:
        found = path.stat()
    except OSError:
        return ""
    if not stat.S_ISREG(found.st_mode):
        return "it is not a file"
    if not found.st_size:
        # Another process may be making it at this moment.
        return (
            "it is empty"
            if abs(time.time() - found.st_mtime) > FRESH_SECONDS and jsonl.list_run_stamps(path.parent)
            else ""
        )
    if found.st_size > WHOLE_CHECK_LIMIT and not whole:
        return "it is cut short" if is_truncated(path) else ""
    return check_sqlite_file(path)


def check_sqlite_file(path: Path) -> str:
    """What SQLite says of the whole file, and whether its tables are ours."""
    where = f"{path.absolute().as_uri()}?mode=rw"
    try:
        with contextlib.closing(sqlite3.connect(where, uri=True, timeout=10)) as database:
            said = database.execute("PRAGMA quick_check(1)").fetchone()
            if not said or said[0] != "ok":
                return "the file is damaged"
            return "" if has_store_tables(database) else f"it has {FOREIGN_TABLES}"
    except sqlite3.OperationalError:
        return ""  # locked, or not to be opened: the store says it better
    except sqlite3.DatabaseError as error:
        return match_damage(str(error)) or "the file is damaged"


def has_store_tables(database: sqlite3.Connection) -> bool:
    """Whether the tables are those of a store. Of a newer one they have more columns, not fewer."""
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
    needed = {"events"} if version == 1 else set(STORE_TABLES) if version else set[str]()
    return needed <= names


def is_truncated(path: Path) -> bool:
    """By the length that its header tells, where no log beside it may hold the rest."""
    try:
        with path.open("rb") as file:
            head = file.read(100)
        log = path.with_name(f"{path.name}-wal")
        if head[:16] != b"SQLite format 3\0" or (log.exists() and log.stat().st_size):
            return False
        page = int.from_bytes(head[16:18], "big")
        told = int.from_bytes(head[28:32], "big") * (65536 if page == 1 else page)
        return path.stat().st_size < told
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


def wait_for_repair(path: Path) -> None:
    """A store that another process is just filling anew is sound before it is whole."""
    with contextlib.suppress(OSError), repair_lock_path(path).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)


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
    aside = move_damaged_store(path)
    store = open_store(path)
    runs = rebuild_store(store, path.parent)
    count = f"{runs} run" if runs == 1 else f"{runs} runs"
    said = f"The store {path} could not be used ({damage}): it is kept as {aside.name}, and a new one has the {count}"
    return store, f"{said} of the logs."


def refuse_while_active(path: Path) -> None:
    """A run that goes on holds the old file open, and who owns it is only written there."""
    for stamp in jsonl.list_run_stamps(path.parent):
        events = jsonl.read_log_file(path.parent / f"run_{stamp}.jsonl").events
        begun = [each.payload.pid for each in events if isinstance(each.payload, RunStarted | RunResumed)]
        if not begun or has_ended(events):
            continue
        pid = begun[-1]
        if pid > 0 and pid != os.getpid() and is_process_alive(pid) and is_orchestrator(pid):
            hint = f"It is made anew when the run {stamp} (pid {pid}) has ended; `kill {pid}` stops it."
            raise StoreError(f"The store {path} is damaged.", hint=hint)


def is_orchestrator(pid: int) -> bool:
    """The number may be another program's by now."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return not Path("/proc/self").exists()
    return b"aider_orchestrator" in words or b"aider-orchestrator" in words


def move_damaged_store(path: Path) -> Path:
    """The file with what belongs to it, under a name that nothing has."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = (f"{path.name}.damaged-{stamp}" + (f"-{n}" if n > 1 else "") for n in range(1, 10_000))
    aside = next(place for name in names if not os.path.lexists(place := path.with_name(name)))
    try:
        path.rename(aside)
        for ending in SIDECARS:
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    except OSError as error:
        hint = f"Move {path} away; it is made anew from the logs."
        raise StoreError(
            f"The store {path} is damaged, and cannot be set aside: {error.strerror}.", hint=hint
        ) from None
    return aside


def rebuild_store(store: Store, folder: Path) -> int:
    """All that the logs tell. One run that cannot be read keeps no other."""
    runs = 0
    for stamp in jsonl.list_run_stamps(folder):
        with contextlib.suppress(OSError, StoreError):
            store.append_events(OWN_REPOSITORY, jsonl.read_run_log(folder, stamp).events)
            runs += 1
    return runs
