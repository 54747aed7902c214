"""The tasks' commits put together, and the search for those that break the whole."""
