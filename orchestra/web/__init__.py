"""The dashboard and its API: a reader of runs and a post-box for their owners, imported by `serve` alone."""
