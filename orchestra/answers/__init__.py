"""How models' answers are read and checked. Pure."""
