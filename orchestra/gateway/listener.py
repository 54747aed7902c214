"""Callbacks for the model traffic of a run."""

from typing import Protocol

from orchestra.gateway.billing import ClientPass, Exchange
from orchestra.gateway.budget import Amount


class GatewayListener(Protocol):
    """Called in the gateway's own task, which waits for it."""

    def on_reservation(self, ticket: ClientPass, number: int, most: Amount) -> None:
        """A request is about to be sent, and may cost this much. The record must survive a crash."""

    def on_exchange(self, ticket: ClientPass, exchange: Exchange) -> None:
        """A request has ended. Its reply is handed on after this returns, so that every paid reply is recorded."""

    def on_wait(self, ticket: ClientPass, whom: str, why: str) -> None:
        """The client waits for a provider or the budget, and why; both are empty when it goes on."""

    def on_note(self, ticket: ClientPass, text: str) -> None:
        """Something for the user that is not an exchange: a refused request, a strange usage."""
