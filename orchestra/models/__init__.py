"""Models that the program itself asks."""
