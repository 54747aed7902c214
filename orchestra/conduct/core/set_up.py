"""What the settings say of making a worktree ready."""

from orchestra.agents.base import SetUp
from orchestra.settings import Settings


def set_up_of(settings: Settings) -> SetUp:
    """It is false if nothing is done, so that a worktree has just what git tracks."""
    return SetUp(settings.worktree_copy, settings.worktree_link, settings.setup_cmd, settings.gate_timeout)
