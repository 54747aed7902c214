"""Gates, the critic, and what tests are worth."""
