"""The runs that the server shows: those of the repositories that it was given when it started."""

import contextlib
import dataclasses
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from orchestra.cli.commands.runs import run_record
from orchestra.cli.find import KnownRun, RunIndex, match_run_name, open_run_index
from orchestra.errors import AmbiguousRun, UsageError
from orchestra.web.envelope import ApiError

FoundRun = tuple[RunIndex, KnownRun]


class Repositories:
    """The runs of each repository, with the stores, which stay open. The methods read the disk: call them in a
    thread."""

    def __init__(self, paths: Sequence[str], store: str) -> None:
        self.store, self.stack = store, contextlib.ExitStack()
        contexts = [open_run_index(Namespace(repo=path, store=store), new=True) for path in paths or ("",)]
        self.indexes = [self.stack.enter_context(context) for context in contexts]

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

    def list_runs(self) -> list[tuple[RunIndex, KnownRun]]:
        """List all runs, the latest first."""
        found = [(index, run) for index in map(self.refresh, self.indexes) for run in index.runs]
        return sorted(found, key=lambda each: (each[1].run.first.time, each[1].name), reverse=True)

    def records(self) -> list[dict[str, Any]]:
        return [run_record(index, run) | {"repository": str(index.root)} for index, run in self.list_runs()]

    def find(self, name: str) -> FoundRun:
        """Find a run by its name, or enough of it."""
        runs = self.list_runs()
        if not runs:
            raise ApiError(404, f"There is no run {name!r}.")
        try:
            full_name = runs[0][1].name if name == "latest" else match_run_name(name, [run.name for _, run in runs])
        except AmbiguousRun as error:
            raise ApiError(409, str(error), "AMBIGUOUS_RUN") from None
        except UsageError as error:
            raise ApiError(404, str(error)) from None
        matches = [each for each in runs if each[1].name == full_name]
        matches = [each for each in matches if not each[1].elsewhere] or matches
        if len({index.root for index, _ in matches}) > 1:
            raise ApiError(409, f"Several repositories have a run {full_name}.", "AMBIGUOUS_RUN")
        return matches[0]
