"""The coding agents, and how their processes are run."""
