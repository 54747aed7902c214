"""The journal: everything that happens is an event, and all else is read from them."""
