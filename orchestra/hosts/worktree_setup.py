"""Make a worktree ready: what git does not track, and the user's set-up command."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestra.agents.base import WorktreeSetup
from orchestra.errors import SetUpFailed
from orchestra.hosts.isolation import Isolation, without_sockets
from orchestra.process import read_tail, run_command
from orchestra.workspace.repository import Repository
from orchestra.workspace.trees import Tree, provision_tree


@dataclass(frozen=True)
class CommandEnvironment:
    """What the repository's commands get on this machine. `logs` is where their output goes; `keys` are the run's own,
    which no command may see."""

    repository: Repository
    isolation: Isolation
    logs: Path
    environment: Callable[[Mapping[str, str]], dict[str, str]]
    scrub: Callable[[str], str]
    keys: tuple[str, ...] = ()

    def for_commands(self) -> dict[str, str]:
        """The environment of a command, without keys and without the user's sockets."""
        return without_sockets(self.environment(os.environ))


async def set_up_worktree(
    command_environment: CommandEnvironment, tree: Tree, wanted: WorktreeSetup, output_name: str
) -> None:
    """A stranger's command is not run if no sandbox holds."""
    await provision_tree(tree, command_environment.repository, wanted.copies, wanted.links)
    if wanted.command and await command_environment.isolation.is_trusted():
        output = command_environment.logs / output_name
        ended = await run_command(
            ["/bin/sh", "-c", wanted.command],
            cwd=tree.path,
            env=command_environment.for_commands(),
            output=output,
            timeout=wanted.timeout,
            scrub=command_environment.scrub,
            sandbox=(await command_environment.isolation.sandbox()).guard_argument(tree.path),
        )
        if ended.code:
            how = "did not end in time" if ended.timed_out else f"failed with exit code {ended.code}"
            last = read_tail(output).strip().splitlines()[-1:] or [""]
            raise SetUpFailed(f"the set-up command {how}: {last[0]} (see {output})", str(output))
        if not (tree.path / ".git").exists():
            raise SetUpFailed(
                f"the set-up command deleted or replaced .git of its worktree (see {output})", str(output)
            )
