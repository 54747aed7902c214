"""Aider Orchestrator: many Aider agents, one repository, one honest result."""

__version__ = "0.1.0"
