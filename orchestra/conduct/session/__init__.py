"""What stands around a run: preflight, warm-up, opening, commands from other terminals."""
