"""Questions of the run's own, to any model, beside those of the agents: through the gateway, under a role's name."""

from typing import Any, TypeVar

from orchestra.conduct.core.context import Run
from orchestra.conduct.core.models import names
from orchestra.conduct.core.money import REMEDY
from orchestra.errors import LimitReached, OrchestraError, ProviderError
from orchestra.gateway.ledger import Pass
from orchestra.models.ask import Unusable, ask
from orchestra.providers import catalogue

T = TypeVar("T")


class NotAnswered(ProviderError):
    """A model could not be asked; `failure` is the gateway's word for it."""

    def __init__(self, detail: str, *, hint: str = "", failure: str = "") -> None:
        super().__init__(detail, hint=hint)
        self.failure = failure


async def ask_as(
    role: str,
    run: Run,
    model: catalogue.Model,
    question: str,
    kind: type[T],
    *,
    about: tuple[int | None, int | None] = (None, None),
    **how: Any,
) -> T:
    """The checked answer, asked, paid and remembered under `role`; `about` is a task and its attempt."""
    ticket = run.services.gateway.admit(Pass(role, *about, models=names(model)))
    base = run.services.gateway.url(ticket, model.provider.name)
    try:
        return await ask(model, question, kind, base=base, key=ticket.token, **how)
    except Unusable:
        raise
    except ProviderError as error:
        raise why_not(ticket, f"The {role} ({model.name})", "answer", error) from None
    finally:
        run.services.gateway.dismiss(ticket)


def why_not(ticket: Pass, who: str, what: str, error: ProviderError, hint: str = "") -> OrchestraError:
    """The gateway answers neutrally; what the provider really said is in its record."""
    last = ticket.exchanges[-1] if ticket.exchanges else None
    if last is None or not last.failure:
        return error
    if last.failure == "budget":
        return LimitReached(f"{who} was not asked to {what}: {last.message}.", hint=REMEDY)
    status = f" ({last.status})" if last.status else ""
    detail = f"{who} could not {what}: {last.failure}{status}, {last.message}."
    return NotAnswered(detail, hint=hint, failure=last.failure)
