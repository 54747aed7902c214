"""The coding agents, and how their processes are run."""

from orchestra.agents.aider import Aider
from orchestra.agents.base import Agent
from orchestra.agents.claude import CLAUDE
from orchestra.agents.codex import CODEX
from orchestra.agents.exec import EXEC

AGENTS: dict[str, Agent] = {"aider": Aider(), "claude": CLAUDE, "codex": CODEX, "exec": EXEC}
DEFAULT_AGENT = "aider"  # the agent of a task that names none
