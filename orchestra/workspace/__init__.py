"""All of git: worktrees for the agents, their work collected, combined in the object database, and delivered."""
