"""The runs that the server shows: those of the repositories that it was given when it started, and of those that a
person adds below a root of `serve --root`."""

import asyncio
import contextlib
import dataclasses
import hashlib
import re
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from orchestra.cli.commands.runs import describe_run, run_record
from orchestra.cli.find import KnownRun, RunIndex, match_run_name, open_run_index
from orchestra.conduct.core.locations import LOGS
from orchestra.errors import AmbiguousRun, RepositoryError, StoreError, UsageError
from orchestra.web.envelope import ApiError
from orchestra.workspace.git import top_level
from orchestra.workspace.repository import clone_repository, init_repository, is_empty_folder, path_exists

FoundRun = tuple[RunIndex, KnownRun]
MARK_LENGTH = 8
REMOTE = re.compile(r"(?:https?|ssh)://[^\s'\"\\]+|[\w.-]+@[\w.-]+:[^\s'\"\\]+")
NOT_ALLOWED = "This server adds no repositories: `serve --root FOLDER` allows those below a folder."


class Repositories:
    """The runs of each repository, with the stores, which stay open. The methods read the disk: call them in a
    thread. While a store does not answer, its runs are those that were listed last."""

    def __init__(self, paths: Sequence[str], store: str, roots: Sequence[Path] = ()) -> None:
        """`roots`: the folders below which a person may add others."""
        self.store, self.stack, self.roots = store, contextlib.ExitStack(), roots
        self.indexes: list[RunIndex] = []
        self.listed: dict[str, list[KnownRun]] = {}  # by repository, the runs that were listed last
        self.problems: dict[str, str] = {}  # by repository, why its store does not answer
        for path in paths:
            self.add(path)

    def add(self, path: str) -> None:
        """Add a repository, unless it is known."""
        context = open_run_index(Namespace(repo=path, store=self.store), new=True)
        index = context.__enter__()
        if index.root in roots(self.indexes):
            context.__exit__(None, None, None)
            return
        self.stack.push(context)
        self.indexes.append(index)

    def close(self) -> None:
        self.stack.close()

    def find_index(self, path: str) -> RunIndex:
        """Return the index of a repository of this server; the only one if no path is given."""
        if not path and len(self.indexes) == 1:
            return self.indexes[0]
        for index in self.indexes:
            if path == str(index.root):
                return index
        known = ", ".join(str(index.root) for index in self.indexes)
        raise ApiError(404, f"`repository` must be one that this server was started with: {known}.")

    def refresh(self, index: RunIndex) -> RunIndex:
        """Return an index that has not listed its runs yet, because it remembers them."""
        return dataclasses.replace(index)

    def list_index(self, index: RunIndex) -> list[FoundRun]:
        """List the runs of a repository, or if its store does not answer, those that were listed last."""
        key, fresh = str(index.root), self.refresh(index)
        try:
            self.listed[key] = fresh.runs
            self.problems.pop(key, None)
        except StoreError as error:
            if key not in self.listed:
                raise
            self.problems[key] = str(error)
        return [(fresh, run) for run in self.listed[key]]

    def list_runs(self) -> list[FoundRun]:
        """List all runs, the latest first."""
        found = [each for index in self.indexes for each in self.list_index(index)]
        return sorted(found, key=lambda each: (each[1].run.first.time, each[1].name), reverse=True)

    def records(self) -> list[dict[str, Any]]:
        runs = self.list_runs()
        names = Counter(run.name for _, run in runs)
        refs = [run_ref(index, run, unique=names[run.name] < 2) for index, run in runs]
        return [
            record_of(index, run) | {"repository": str(index.root), "ref": ref}
            for (index, run), ref in zip(runs, refs, strict=True)
        ]

    def ref(self, index: RunIndex, run: KnownRun) -> str:
        """Return how the API names the run."""
        roots_with_it = [root for root, runs in self.listed.items() if any(each.name == run.name for each in runs)]
        return run_ref(index, run, unique=len(roots_with_it) < 2)

    def find(self, name: str) -> FoundRun:
        """Find a run by its name, enough of it, or MARK.NAME with the mark of its repository. The whole name of a run
        that was listed before is found without a look at all runs."""
        mark, _, stamp = name.rpartition(".")
        indexes = [index for index in self.indexes if mark in ("", repository_mark(index))]
        known = [(index, run) for index in indexes for run in self.listed.get(str(index.root), []) if run.name == stamp]
        if not known or stamp == "latest":
            known = match_runs(name, stamp, [each for each in self.list_runs() if each[0].root in roots(indexes)])
        matches = [each for each in known if not each[1].elsewhere] or known
        if len(roots(index for index, _ in matches)) > 1:
            refs = [run_ref(index, run, unique=False) for index, run in matches]
            message = f"Several repositories have a run {stamp}: {', '.join(refs)}."
            raise ApiError(409, message, "AMBIGUOUS_RUN", {"candidates": refs})
        if not exists(*matches[0]):
            raise ApiError(410, f"Run {stamp} was deleted.")
        return matches[0]


def match_runs(name: str, stamp: str, runs: Sequence[FoundRun]) -> list[FoundRun]:
    """Return the runs that a name, or enough of it, can mean. Raise 404 or 409 unless it is one name."""
    if not runs:
        raise ApiError(404, f"There is no run {name!r}.")
    try:
        full_name = runs[0][1].name if stamp == "latest" else match_run_name(stamp, [run.name for _, run in runs])
    except AmbiguousRun as error:
        raise ApiError(409, str(error), "AMBIGUOUS_RUN") from None
    except UsageError as error:
        raise ApiError(404, str(error)) from None
    return [each for each in runs if each[1].name == full_name]


def roots(indexes: Iterable[RunIndex]) -> set[Path]:
    return {index.root for index in indexes}


def exists(index: RunIndex, run: KnownRun) -> bool:
    """Whether a run was not deleted since it was listed. A store that does not answer tells nothing."""
    if index.has_files(run):
        return True
    try:
        return bool(index.store.read_events(run.key, run.name, kinds=(run.run.first.kind,)))
    except StoreError:
        return True


def repository_mark(index: RunIndex) -> str:
    return hashlib.sha256(str(index.root).encode("utf-8", "surrogateescape")).hexdigest()[:MARK_LENGTH]


def run_ref(index: RunIndex, run: KnownRun, *, unique: bool) -> str:
    """Return how the API names a run: by its name, or if another repository has that name too, with the mark."""
    return run.name if unique else f"{repository_mark(index)}.{run.name}"


def record_of(index: RunIndex, run: KnownRun) -> dict[str, Any]:
    """Describe a run. While the store does not answer, no process counts as at work on it."""
    try:
        return run_record(index, run)
    except StoreError:
        return describe_run(run, None)


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
