"""Journal events for gateway traffic."""

from dataclasses import dataclass

from orchestra import events
from orchestra.gateway.billing import AGENT, ClientPass, Exchange, GatewayListener
from orchestra.gateway.budget import Amount
from orchestra.gateway.recording import text_digest
from orchestra.journal.jsonl import Journal

# Fields of an exchange that its event has too.
COPIED = (
    *("provider", "model", "status", "failure", "message", "usage", "identity"),
    *("replayed", "recalled", "number", "drifted", "remark"),
)


@dataclass
class JournalListener(GatewayListener):
    """Writes the run's model traffic to its journal."""

    journal: Journal

    def on_exchange(self, ticket: ClientPass, exchange: Exchange) -> None:
        ended = events.RequestEnded(
            role=ticket.role,
            seconds=round(exchange.seconds, 3),
            type=exchange.kind,
            body=exchange.raw,
            # Of the original reply, so that a reply with a redacted secret is known to be incomplete.
            digest=text_digest(exchange.raw),
            **{name: getattr(exchange, name) for name in COPIED},
        )
        self.journal.emit(ended, ticket.task, ticket.attempt)
        if ticket.role == AGENT and not exchange.failure and not exchange.recalled:
            reply = events.AssistantResponse(exchange.reply, exchange.finish)
            self.journal.emit(reply, ticket.task, ticket.attempt)

    def on_reservation(self, ticket: ClientPass, number: int, most: Amount) -> None:
        """Record a reservation before the request is sent: if the run dies, the request may still be billed."""
        claim = events.MoneyReserved(role=ticket.role, number=number, dollars=most.dollars, tokens=most.tokens)
        self.journal.emit(claim, ticket.task, ticket.attempt)

    def on_wait(self, ticket: ClientPass, whom: str, why: str) -> None:
        """Record why an agent waits, for the display."""
        self.journal.emit(events.AgentWaiting(ticket.role, whom, why), ticket.task, ticket.attempt)

    def on_note(self, ticket: ClientPass, text: str) -> None:
        self.journal.emit(events.Note(text))
