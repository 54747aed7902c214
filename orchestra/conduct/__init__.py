"""The loop: one run from its first event to its last."""
