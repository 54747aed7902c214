"""Merges that git leaves to a person: pure functions from three texts to proposals."""
