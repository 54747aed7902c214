"""Where a run keeps its logs, its store and its branches. Light to import, for commands that only look."""

import socket
from pathlib import Path

from orchestra.settings import Settings

BRANCHES = "aider-orchestrator"
LOGS = ".aider_logs"
DATABASE = "orchestra.db"


def store_key(settings: Settings, root: Path) -> str:
    """How the store names the repository: its own database holds one only, a shared one those of many machines."""
    return f"{socket.gethostname()}:{root}" if settings.store else "."
