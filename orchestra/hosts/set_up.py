"""Make a worktree ready for whoever works or checks in it: what git does not track, and the user's set-up command."""

import os

from orchestra.conduct.core.context import Run

from orchestra.errors import SetUpFailed
from orchestra.hosts.isolation import without_sockets
from orchestra.process import run as run_command
from orchestra.process import tail
from orchestra.settings import Settings
from orchestra.workspace.trees import Tree, furnish


def sets_up(settings: Settings) -> bool:
    """Whether anything is done at all, so that a worktree is more than what git tracks."""
    return bool(settings.setup_cmd or settings.worktree_copy or settings.worktree_link)


async def set_up(run: Run, tree: Tree, name: str) -> None:
    """A stranger's command is not run where no sandbox holds."""
    settings = run.settings
    await furnish(tree, run.repository, settings.worktree_copy, settings.worktree_link)
    if settings.setup_cmd and await run.isolation.is_trusted():
        output = run.logs / f"setup_{name}_{run.stamp}.txt"
        ended = await run_command(
            ["/bin/sh", "-c", settings.setup_cmd],
            cwd=tree.path,
            env=without_sockets(run.secrets.free(os.environ)),
            output=output,
            timeout=settings.gate_timeout,
            scrub=run.secrets.scrub,
            sandbox=(await run.isolation.sandbox()).order(tree.path),
        )
        if ended.code:
            how = "did not end in time" if ended.timed_out else f"failed with exit code {ended.code}"
            last = tail(output).strip().splitlines()[-1:] or [""]
            raise SetUpFailed(f"the set-up command {how}: {last[0]} (see {output})", str(output))
        if not (tree.path / ".git").exists():
            raise SetUpFailed(
                f"the set-up command deleted or replaced .git of its worktree (see {output})", str(output)
            )
