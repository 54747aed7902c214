"""All tasks of a run: attempts, retries, decisions of people, integration."""
