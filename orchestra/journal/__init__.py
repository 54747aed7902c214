"""The journal: the events of a run, from which every other state is derived."""
