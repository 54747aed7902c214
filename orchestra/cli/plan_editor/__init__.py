"""The editor for plans at a terminal."""
