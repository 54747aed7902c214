"""Ask a model on behalf of the run itself, through the gateway and under a role's name."""

from typing import Any, TypeVar

from orchestra.conduct.core.context import Run
from orchestra.conduct.core.models import LIMIT_REMEDY, requestable_names
from orchestra.errors import LimitReached, OrchestraError, ProviderError
from orchestra.gateway.billing import ClientPass
from orchestra.models.ask_model import UnusableAnswer, ask_model
from orchestra.providers import catalogue

T = TypeVar("T")


class QuestionFailed(ProviderError):
    """A model could not be asked; `failure` is the gateway's failure class."""

    def __init__(self, detail: str, *, hint: str = "", failure: str = "") -> None:
        super().__init__(detail, hint=hint)
        self.failure = failure


async def ask_under_role(
    role: str,
    run: Run,
    model: catalogue.Model,
    question: str,
    kind: type[T],
    *,
    about: tuple[int | None, int | None] = (None, None),
    **how: Any,
) -> T:
    """Ask a model and return the checked answer, which is paid under `role`. `about` is a task and its attempt."""
    gateway = run.services.gateway
    ticket = gateway.add_client(ClientPass(role, *about, models=requestable_names(model)))
    base = gateway.client_url(ticket, model.provider.name)
    try:
        return await ask_model(model, question, kind, base=base, key=ticket.token, **how)
    except UnusableAnswer:
        raise
    except ProviderError as error:
        raise explain_provider_error(ticket, f"The {role} ({model.name})", "answer", error) from None
    finally:
        gateway.remove_client(ticket)


def explain_provider_error(
    ticket: ClientPass, who: str, what: str, error: ProviderError, hint: str = ""
) -> OrchestraError:
    """Turn the gateway's neutral answer into what the provider said, which is in the gateway's record."""
    last = ticket.exchanges[-1] if ticket.exchanges else None
    if last is None or not last.failure:
        return error
    if last.failure == "budget":
        return LimitReached(f"{who} was not asked to {what}: {last.message}.", hint=LIMIT_REMEDY)
    status = f" ({last.status})" if last.status else ""
    detail = f"{who} could not {what}: {last.failure}{status}, {last.message}."
    return QuestionFailed(detail, hint=hint, failure=last.failure)
