"""The gateway: every model request of a run passes through it, so it knows what was said, what it cost and what failed."""
