"""Journal events for what passes the gateway."""

from orchestra import events
from orchestra.gateway.billing import ClientPass, Exchange
from orchestra.gateway.budget import Amount
from orchestra.gateway.listener import GatewayListener
from orchestra.gateway.recording import text_digest
from orchestra.journal.jsonl import Journal

AGENT = "agent"  # the role of which replies are iterations


class JournalListener(GatewayListener):
    """Writes the run's model traffic to its journal."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def on_exchange(self, ticket: ClientPass, exchange: Exchange) -> None:
        ended = events.RequestEnded(
            role=ticket.role,
            provider=exchange.provider,
            model=exchange.model,
            status=exchange.status,
            failure=exchange.failure,
            message=exchange.message,
            usage=exchange.usage,
            seconds=round(exchange.seconds, 3),
            identity=exchange.identity,
            replayed=exchange.replayed,
            recalled=exchange.recalled,
            number=exchange.number,
            drifted=exchange.drifted,
            remark=exchange.remark,
            type=exchange.kind,
            body=exchange.raw,
            # Of the reply as it came: when a secret is taken out of it, it is known that it is not whole.
            digest=text_digest(exchange.raw),
        )
        self.journal.emit(ended, ticket.task, ticket.attempt)
        if ticket.role == AGENT and not exchange.failure and not exchange.recalled:
            reply = events.AssistantResponse(exchange.reply, exchange.finish)
            self.journal.emit(reply, ticket.task, ticket.attempt)

    def on_reservation(self, ticket: ClientPass, number: int, most: Amount) -> None:
        """A run that dies then knows what was on its way, and may be billed."""
        claim = events.MoneyReserved(role=ticket.role, number=number, dollars=most.dollars, tokens=most.tokens)
        self.journal.emit(claim, ticket.task, ticket.attempt)

    def on_wait(self, ticket: ClientPass, whom: str, why: str) -> None:
        """It is shown why an agent does nothing."""
        self.journal.emit(events.AgentWaiting(ticket.role, whom, why), ticket.task, ticket.attempt)

    def on_note(self, ticket: ClientPass, text: str) -> None:
        self.journal.emit(events.Note(text))
