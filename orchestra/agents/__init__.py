"""The coding agents, and how their processes are run."""

from orchestra.agents.aider import Aider
from orchestra.agents.base import Agent

AGENTS: dict[str, Agent] = {"aider": Aider()}
DEFAULT_AGENT = "aider"  # the agent of a task that names none
