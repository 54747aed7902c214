"""The gateway: every model request of a run passes through it, so it knows what was said, paid and refused."""
