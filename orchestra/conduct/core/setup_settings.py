"""What the settings say of making a worktree ready."""

from orchestra.agents.base import WorktreeSetup
from orchestra.settings import Settings


def setup_from_settings(settings: Settings) -> WorktreeSetup:
    """It is false if nothing is done, so that a worktree has just what git tracks."""
    return WorktreeSetup(settings.worktree_copy, settings.worktree_link, settings.setup_cmd, settings.gate_timeout)
