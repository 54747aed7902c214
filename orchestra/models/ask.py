"""Ask any model of the catalogue for an answer of a given shape, through the run's gateway: money, pace, journal and
tape are its business. What comes is checked, and mended once by the model itself, which is told what was wrong."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from orchestra import dialects
from orchestra.answers import shape
from orchestra.answers.shape import Misshapen
from orchestra.errors import ProviderError
from orchestra.providers import catalogue

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

TIMEOUT = 1800.0  # the gateway's patience ends before ours
CUT_OFF = "it was cut off because it was too long: answer more briefly"
AGAIN = "That answer cannot be used: {wrong}.\n\nAnswer once more, completely and in the right form.\n\n{form}"


class Unusable(ProviderError):
    """A model has answered, but twice not as it was asked."""


async def ask(
    model: catalogue.Model,
    question: str,
    kind: type[T],
    *,
    base: str,
    key: str,
    system: str = "You answer with JSON.",
    check: Callable[[T], str] = lambda answer: "",
    expected: int = 0,
) -> T:
    """The answer as a `kind`. `base` and `key` are the gateway's; `check` says what is wrong with an answer of the
    right shape; `expected` is how many tokens the answer may have, where that is more than a few thousand."""
    import httpx

    form = shape.instructions(kind)
    turns = [("user", f"{question}\n\n{form}")]
    cap = catalogue.output_cap(model, expected)
    async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
        for _ in range(2):
            said, cut_off = await reply(client, base, key, model, system, turns, cap)
            try:
                return checked(kind, said, cut_off, check)
            except Misshapen as error:
                wrong = str(error)
            # An empty turn is refused by some.
            turns += [("assistant", said.strip() or "(nothing)"), ("user", AGAIN.format(wrong=wrong, form=form))]
    raise Unusable(f"{model.name} has answered twice, but not as it was asked: {wrong}.")


async def reply(
    client: "httpx.AsyncClient",
    base: str,
    key: str,
    model: catalogue.Model,
    system: str,
    turns: list[tuple[str, str]],
    cap: int | None,
) -> tuple[str, bool]:
    """What the model says, and whether it was cut off."""
    import httpx

    provider, dialect = model.provider.name, model.provider.dialect
    path, body = dialects.question(provider, dialect, model.upstream_name, system, turns, cap)
    headers = dialects.upstream_headers(dialect, key, {})
    try:
        answer = await client.post(f"{base}/{path}", headers=headers, json=body)
    except httpx.HTTPError as error:
        raise ProviderError(f"{model.name} cannot be asked: {error or type(error).__name__}.") from None
    found = dialects.parse(answer.content)
    if answer.status_code != 200 or not dialects.is_reply(dialect, found):
        raise ProviderError(f"{model.name} answered {answer.status_code}: {dialects.message(answer.content)}")
    return dialects.text(dialect, found), dialects.finish(dialect, found) in dialects.CUT_OFF


def checked(kind: type[T], said: str, cut_off: bool, check: Callable[[T], str]) -> T:
    try:
        answer = shape.read(kind, said)
    except Misshapen:
        if cut_off:
            raise Misshapen(CUT_OFF) from None
        raise
    if wrong := check(answer):
        raise Misshapen(wrong.rstrip("."))
    return answer
