"""Handing a result over to others: hosts of repositories, their pull requests, and whoever wants to be notified."""
