"""Measurements with the real Aider that are too long for a test: replayed commits, and the price of an agent."""
