"""A pocket lighthouse: one keeper, one lamp, one kettle, and the ships that pass."""
