"""The temporary folder of a run. It is locked while the run lives; folders of killed runs are removed."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from orchestra.errors import UsageError

PREFIX = "aider-orchestrator-"
NODE_PREFIX = f"{PREFIX}node-"
LOCK = "lock"


def make_scratch(prefix: str = PREFIX) -> tuple[Path, int]:
    """Make the folder, and a lock that lasts while it is open. It gets its final name only when it is locked."""
    try:
        return make_locked_folder(prefix)
    except OSError as error:
        folder = Path(error.filename).parent if error.filename else "the temporary folder"
        hint = "Free some space, or set TMPDIR to another disk."
        raise UsageError(f"No folder can be made in {folder}: {error.strerror or error}.", hint=hint) from None


def make_locked_folder(prefix: str) -> tuple[Path, int]:
    for old in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if is_left_behind(old):
            shutil.rmtree(old, ignore_errors=True)
    nameless = Path(tempfile.mkdtemp(prefix=f".{prefix}"))
    lock = os.open(nameless / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return nameless.rename(nameless.with_name(nameless.name.removeprefix("."))), lock


def is_left_behind(folder: Path) -> bool:
    """Whether it is a folder of a dead run without a worktree. One with a worktree may be resumed or cleaned.
    On a node of a cluster nothing is resumed."""
    with contextlib.suppress(OSError):
        is_run = not folder.name.startswith(NODE_PREFIX)
        if folder.lstat().st_uid != os.getuid() or (is_run and any(folder.glob("*/tree"))):
            return False
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        finally:
            os.close(lock)
    return False
