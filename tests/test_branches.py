"""Branches are set in batches by one git process, and one that cannot be set keeps no other from it."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestra.errors import GitFailed
from orchestra.workspace.branches import BranchWriter
from orchestra.workspace.git import Git
from orchestra.workspace.repository import open_repository
from tests.support.seating import plant


@dataclass(frozen=True)
class CountedGit(Git):
    """Real git, whose commands are noted."""

    calls: list[str] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)

    async def attempt(self, *arguments: str, input: bytes | None = None) -> tuple[int, bytes, bytes]:
        self.calls.append(arguments[0])
        self.called.set()
        return await super().attempt(*arguments, input=input)


def open_counted(folder: Path) -> tuple[CountedGit, str]:
    plant(folder, {"a.py": "x = 1\n"})
    repository = asyncio.run(open_repository(folder))
    return CountedGit(repository.git.folder, repository.git.extra), repository.base


def test_branches_of_many_callers_are_set_by_two_processes(tmp_path: Path) -> None:
    git, base = open_counted(tmp_path)

    async def scene() -> str:
        writer = BranchWriter(git)
        first = asyncio.create_task(writer.set_branch("first", base))
        await git.called.wait()  # one batch is at work, and all others wait for the next
        await asyncio.gather(first, *(writer.set_branch(f"tasks/{number}", base) for number in range(50)))
        assert git.calls == ["update-ref", "update-ref"]
        return await git.text("for-each-ref", "--format=%(objectname)", "refs/heads/first", "refs/heads/tasks")

    assert asyncio.run(scene()).split() == [base] * 51


def test_branch_that_cannot_be_set_keeps_no_other_from_it(tmp_path: Path) -> None:
    git, base = open_counted(tmp_path)

    async def scene() -> None:
        writer = BranchWriter(git)
        asked = [("good", base), ("good/below", base), ("bad", "f" * 40), ("also-good", base)]
        results = await asyncio.gather(*(writer.set_branch(*each) for each in asked), return_exceptions=True)
        assert [type(result) for result in results] == [type(None), GitFailed, GitFailed, type(None)]
        assert await git.text("rev-parse", "also-good") == base == await git.text("rev-parse", "good")

    asyncio.run(scene())


def test_caller_that_is_cancelled_keeps_no_other_waiting(tmp_path: Path) -> None:
    git, base = open_counted(tmp_path)

    async def scene() -> None:
        writer = BranchWriter(git)
        leaving = asyncio.create_task(writer.set_branch("one", base))
        staying = asyncio.create_task(writer.set_branch("two", base))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        await staying
        assert await git.text("rev-parse", "two") == base

    asyncio.run(scene())
