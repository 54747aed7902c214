"""Paths of a run's logs, store and branches. Cheap to import, for commands that only read."""

import socket
from pathlib import Path

from orchestra.settings import Settings

BRANCHES = "aider-orchestrator"
LOGS = ".aider_logs"
DATABASE = "orchestra.db"


def store_key(settings: Settings, root: Path) -> str:
    """The name of the repository in a store: fixed in the repository's own database, unique across machines in a shared
    one."""
    return f"{socket.gethostname()}:{root}" if settings.store else "."
