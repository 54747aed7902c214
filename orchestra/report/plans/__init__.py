"""How a plan looks, and what it will take. Pure."""
