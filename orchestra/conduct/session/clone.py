"""Before anything is paid: the repository, what is to be brought into worktrees, and the dry run."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from orchestra.agents.aider_args import parse_aider_args
from orchestra.conduct.core.secrets import Secrets
from orchestra.errors import UsageError
from orchestra.settings import Settings
from orchestra.workspace.repository import (
    Entry,
    Repository,
    clone_repository,
    init_repository,
    is_empty_folder,
    open_repository,
    path_exists,
)
from orchestra.workspace.trees import check_provisions

MB = 1 << 20
LEAST_ROOM = 1 << 20  # for homes, outputs, and git's own files


async def find_repository(settings: Settings, *, begin: bool = False) -> Repository:
    """The current directory's, or --repo: a path, or a URL that is cloned into the current directory first. An empty
    folder is a fine start: with `begin` it becomes a repository."""
    start = Path(settings.repo).absolute() if settings.repo else Path.cwd()
    if begin and is_empty_folder(start):
        await init_repository(start)
    if not settings.repo:
        return await open_repository(start)
    if ":" in settings.repo and not path_exists(Path(settings.repo)):
        return await open_repository(await clone_repository(settings.repo, Path.cwd()))
    return await open_repository(start)


async def check_disk_space(repository: Repository, entries: Mapping[str, Entry]) -> None:
    """Whether one worktree fits into the temporary folder, before anything is paid."""
    place = tempfile.gettempdir()
    free, needed = shutil.disk_usage(place).free, sum(entry.size for entry in entries.values()) + LEAST_ROOM
    if free < needed and not (
        free > LEAST_ROOM and await repository.git.maybe("config", "core.sparseCheckout") == "true"
    ):
        said = f"{place} has {free / MB:,.1f} MB free, and a worktree of this repository takes {needed / MB:,.1f} MB."
        raise UsageError(said, hint="Free some space there, or set TMPDIR to a larger disk.")


def check_worktree_setup(settings: Settings, repository: Repository) -> None:
    parse_aider_args(settings.aider_args)
    keys = Secrets.from_settings(settings).values
    check_provisions(repository.root, settings.worktree_copy, settings.worktree_link, keys)
