"""Where a run finds its repository, logs, store and branches. Cheap to import, for commands that only read."""

import socket
from pathlib import Path

from orchestra.settings import Settings
from orchestra.workspace.repository import (
    Repository,
    clone_repository,
    init_repository,
    is_empty_folder,
    open_repository,
    path_exists,
)

BRANCHES = "aider-orchestrator"
LOGS = ".aider_logs"
DATABASE = "orchestra.db"


def store_key(settings: Settings, root: Path) -> str:
    """Return the repository's name in a store: fixed in its own database, unique across machines in a shared one."""
    return f"{socket.gethostname()}:{root}" if settings.store else "."


async def find_repository(settings: Settings, *, begin: bool = False) -> Repository:
    """Find the repository: here, or of --repo (a path, or a URL to clone). With `begin` an empty folder becomes one."""
    start = Path(settings.repo).absolute() if settings.repo else Path.cwd()
    if begin and is_empty_folder(start):
        await init_repository(start)
    if ":" in settings.repo and not path_exists(Path(settings.repo)):
        return await open_repository(await clone_repository(settings.repo, Path.cwd()))
    return await open_repository(start)
