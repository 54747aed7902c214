"""What the settings say about preparing a worktree."""

from orchestra.agents.base import WorktreeSetup
from orchestra.settings import Settings


def setup_from_settings(settings: Settings) -> WorktreeSetup:
    """Return the set-up of worktrees.

    It is false if nothing is to be done: the worktree then has only what git tracks.
    """
    return WorktreeSetup(settings.worktree_copy, settings.worktree_link, settings.setup_cmd, settings.gate_timeout)
