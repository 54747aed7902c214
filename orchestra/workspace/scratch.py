"""A run's own temporary folder, locked while its orchestrator lives; what was left by one that was killed is swept."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from orchestra.errors import UsageError

PREFIX = "aider-orchestrator-"
LOCK = "lock"


def make_scratch() -> tuple[Path, int]:
    """The folder, and the lock that lasts as long as it is open. It gets its name only when it is locked."""
    try:
        return make_locked_folder()
    except OSError as error:
        place = Path(error.filename).parent if error.filename else "the temporary folder"
        hint = "Free some space, or set TMPDIR to another disk."
        raise UsageError(f"No folder can be made in {place}: {error.strerror or error}.", hint=hint) from None


def make_locked_folder() -> tuple[Path, int]:
    for old in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if is_left_behind(old):
            shutil.rmtree(old, ignore_errors=True)
    nameless = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
    lock = os.open(nameless / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return nameless.rename(nameless.with_name(nameless.name.removeprefix("."))), lock


def is_left_behind(folder: Path) -> bool:
    """Ours, of nobody alive, and without a worktree: those with one belong to a run that can be resumed, or cleaned."""
    with contextlib.suppress(OSError):
        if folder.lstat().st_uid != os.getuid() or any(folder.glob("*/tree")):
            return False
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        finally:
            os.close(lock)
    return False
