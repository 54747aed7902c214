"""The plan: which files change, who owns which, and how many agents that is worth. Pure rules."""
