"""What every step of a run uses: its context and state, models, limits, slots, keys."""
