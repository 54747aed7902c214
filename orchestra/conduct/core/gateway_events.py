"""What passes the gateway, as events."""

from typing import Any

from orchestra import events
from orchestra.gateway.budget import Amount
from orchestra.gateway.door import Gateway
from orchestra.gateway.ledger import Exchange, Pass
from orchestra.gateway.tape import digest
from orchestra.journal.jsonl import Journal

AGENT = "agent"  # the role of which replies are iterations


def write_down(gateway: Gateway, journal: Journal) -> None:
    """All that passes the gateway, from here on."""
    gateway.heard = hear(journal)
    gateway.told = tell_waits(journal)
    gateway.noted = tell_notes(journal)
    gateway.limits.aside = tell_aside(journal)


def hear(journal: Journal) -> Any:
    """Write down each exchange before its reply is handed on: what was paid for is never unknown."""

    def heard(ticket: Pass, exchange: Exchange) -> None:
        ended = events.Request(
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
            digest=digest(exchange.raw),
        )
        journal.emit(ended, ticket.task, ticket.attempt)
        if ticket.role == AGENT and not exchange.failure and not exchange.recalled:
            reply = events.AssistantResponse(exchange.reply, exchange.finish)
            journal.emit(reply, ticket.task, ticket.attempt)

    return heard


def tell_aside(journal: Journal) -> Any:
    """So that a run that dies knows what was on its way, and may be billed."""

    def aside(ticket: Pass, number: int, most: Amount) -> None:
        claim = events.SetAside(role=ticket.role, number=number, dollars=most.dollars, tokens=most.tokens)
        journal.emit(claim, ticket.task, ticket.attempt)

    return aside


def tell_waits(journal: Journal) -> Any:
    """So that whoever looks sees why an agent does nothing."""

    def told(ticket: Pass, whom: str, why: str) -> None:
        journal.emit(events.Waiting(ticket.role, whom, why), ticket.task, ticket.attempt)

    return told


def tell_notes(journal: Journal) -> Any:
    """What was refused at the door, and what is odd about a usage: one of the run's notes."""

    def noted(ticket: Pass, text: str) -> None:
        journal.emit(events.Note(text))

    return noted
