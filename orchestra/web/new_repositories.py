"""Repositories that a person adds while the server runs: a folder below a root of `serve --root`, cloned or new."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestra.conduct.core.locations import LOGS
from orchestra.errors import RepositoryError
from orchestra.web.envelope import ApiError
from orchestra.web.repositories import Repositories
from orchestra.workspace.git import top_level
from orchestra.workspace.repository import clone_repository, init_repository, is_empty_folder, path_exists

REMOTE = re.compile(r"(?:https?|ssh)://[^\s'\"\\]+|[\w.-]+@[\w.-]+:[^\s'\"\\]+")
NOT_ALLOWED = "This server adds no repositories: `serve --root FOLDER` allows those below a folder."


def find_repositories(roots: Sequence[Path]) -> Iterator[str]:
    """Find the repositories directly below the roots that have runs or plans of ours."""
    for root in roots:
        yield from (str(path) for path in sorted(root.iterdir()) if (path / LOGS).is_dir() and top_level(path) == path)


async def add_repository(repositories: Repositories, path: str, clone: str) -> str:
    """Add a repository, and return its path. With a URL to clone, `path` is the folder in which it will be."""
    if not repositories.roots:
        raise ApiError(403, NOT_ALLOWED)
    folder = Path(path or repositories.roots[0])
    folder = (folder if folder.is_absolute() else repositories.roots[0] / folder).resolve()
    if not any(folder.is_relative_to(root) for root in repositories.roots):
        names = ", ".join(map(str, repositories.roots))
        raise ApiError(403, f"`path` must be below {names}.")
    try:
        root = await (clone_into(folder, clone) if clone else open_folder(folder))
    except RepositoryError as error:
        raise ApiError(400, str(error)) from None
    except OSError as error:
        raise ApiError(400, f"{folder}: {error.strerror}.") from None
    await asyncio.to_thread(repositories.add, str(root))
    return str(root)


async def clone_into(folder: Path, url: str) -> Path:
    if not REMOTE.fullmatch(url):
        raise ApiError(400, "`clone` must be an address such as https://host/name.git or git@host:name.git.")
    folder.mkdir(parents=True, exist_ok=True)
    return await clone_repository(url, folder)


async def open_folder(folder: Path) -> Path:
    """Return an existing repository, or make one in a new or an empty folder."""
    if path_exists(folder) and top_level(folder) == folder:
        return folder
    if path_exists(folder) and not is_empty_folder(folder):
        raise RepositoryError(f"{folder} is no git repository, and it is not empty.")
    folder.mkdir(parents=True, exist_ok=True)
    await init_repository(folder)
    return folder
