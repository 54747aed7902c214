"""Stands at the root so that a bare `pytest` finds the package, too."""
