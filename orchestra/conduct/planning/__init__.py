"""From the change request to the plan of a run."""
