"""How files are divided among agents: what belongs together, and how it is kept together. Pure."""
