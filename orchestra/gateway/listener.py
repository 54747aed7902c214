"""What a run is told of its model traffic while it passes the gateway."""

from typing import Protocol

from orchestra.gateway.billing import ClientPass, Exchange
from orchestra.gateway.budget import Amount


class GatewayListener(Protocol):
    """Called in the gateway's own task, which waits for it."""

    def on_reservation(self, ticket: ClientPass, number: int, most: Amount) -> None:
        """A request is about to be sent, and this is the most that it may cost. A crash must not lose that."""

    def on_exchange(self, ticket: ClientPass, exchange: Exchange) -> None:
        """A request has ended. Its reply is handed on afterwards, so that no paid reply is unknown."""

    def on_wait(self, ticket: ClientPass, whom: str, why: str) -> None:
        """The holder waits for a provider or the budget, and why; both are empty when it goes on."""

    def on_note(self, ticket: ClientPass, text: str) -> None:
        """What the user should know though it is no exchange: a refusal at the door, a strange usage."""
