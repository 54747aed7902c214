"""Set branches in batches: however many attempts end at once, one git process sets the branches of all."""

import asyncio
from dataclasses import dataclass, field

from orchestra.errors import OrchestraError
from orchestra.workspace.git import Git
from orchestra.workspace.merge import set_branch


@dataclass(frozen=True)
class BranchUpdate:
    """A branch to be pointed at a commit. `done` is resolved when git has done it, or could not."""

    branch: str
    commit: str
    done: "asyncio.Future[None]"


@dataclass(eq=False)
class BranchWriter:
    """What comes while git is at work waits for the next batch."""

    git: Git
    pending: list[BranchUpdate] = field(default_factory=list)
    writing: "asyncio.Task[None] | None" = None

    async def set_branch(self, branch: str, commit: str) -> None:
        """Point a branch at a commit. Return when git has done it."""
        update = BranchUpdate(branch, commit, asyncio.get_running_loop().create_future())
        self.pending.append(update)
        if self.writing is None or self.writing.done():
            self.writing = asyncio.create_task(self.write_pending())
        await update.done

    async def write_pending(self) -> None:
        while self.pending:
            batch, self.pending = self.pending, []
            for update in batch if not await self.write_batch(batch) else ():
                await self.write_alone(update)

    async def write_batch(self, batch: list[BranchUpdate]) -> bool:
        """Set all branches, or none of them. Return whether it was done."""
        orders = "".join(f"update refs/heads/{one.branch} {one.commit}\n" for one in batch).encode()
        try:
            if (await self.git.attempt("update-ref", "--stdin", input=orders))[0]:
                return False
        except (OrchestraError, OSError):
            return False
        for update in batch:
            if not update.done.done():
                update.done.set_result(None)
        return True

    async def write_alone(self, update: BranchUpdate) -> None:
        """Set one branch. A failure is raised only for its own caller."""
        try:
            await set_branch(self.git, update.branch, update.commit)
        except (OrchestraError, OSError) as error:
            if not update.done.done():
                update.done.set_exception(error)
        else:
            if not update.done.done():
                update.done.set_result(None)
