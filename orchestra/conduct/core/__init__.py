"""What every step of a run uses: its record, names, money, time, models, keys."""
