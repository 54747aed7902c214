"""Aider Orchestrator: many Aider agents, one repository, one result that is checked."""

__version__ = "0.2.0"
