"""Aider Orchestrator: many Aider agents, one repository, one honest result."""

__version__ = "0.2.0"
