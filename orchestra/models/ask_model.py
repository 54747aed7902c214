"""Ask any model of the catalogue for an answer of a given shape, through the run's gateway: money, pace, journal and
tape are its business. What comes is checked, and mended once by the model itself, which is told what was wrong."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from orchestra import dialects
from orchestra.answers import shape
from orchestra.answers.shape import MisshapenAnswer
from orchestra.dialects import DIALECTS
from orchestra.errors import ProviderError
from orchestra.providers import catalogue

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

TIMEOUT = 1800.0  # the gateway's patience ends before ours
CUT_OFF_MESSAGE = "it was cut off because it was too long: answer more briefly"
RETRY_PROMPT = "That answer cannot be used: {wrong}.\n\nAnswer once more, completely and in the right form.\n\n{form}"


class UnusableAnswer(ProviderError):
    """A model has answered, but twice not as it was asked."""


async def ask_model(
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

    form = shape.shape_instructions(kind)
    turns = [("user", f"{question}\n\n{form}")]
    cap = catalogue.reply_token_cap(model, expected)
    async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
        for _ in range(2):
            said, cut_off = await request_reply(client, base, key, model, system, turns, cap)
            try:
                return read_checked_answer(kind, said, cut_off, check)
            except MisshapenAnswer as error:
                wrong = str(error)
            # An empty turn is refused by some.
            turns += [("assistant", said.strip() or "(nothing)"), ("user", RETRY_PROMPT.format(wrong=wrong, form=form))]
    raise UnusableAnswer(f"{model.name} has answered twice, but not as it was asked: {wrong}.")


async def request_reply(
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

    dialect = DIALECTS[model.provider.dialect]
    path, body = dialect.compose_request(model.upstream_name, system, turns)
    if cap is not None:
        body = dialect.with_cap(model.provider.name, body, cap)
    headers = dialects.upstream_headers(dialect, key, dict(dialect.fixed_headers))
    try:
        answer = await client.post(f"{base}/{path}", headers=headers, json=body)
    except httpx.HTTPError as error:
        raise ProviderError(f"{model.name} cannot be asked: {error or type(error).__name__}.") from None
    found = dialects.parse_json_or_none(answer.content)
    if answer.status_code != 200 or not dialect.is_reply(found):
        raise ProviderError(f"{model.name} answered {answer.status_code}: {dialects.error_message(answer.content)}")
    return dialect.reply_text(found), dialect.end_reason(found) in dialects.CUT_OFF_FINISHES


def read_checked_answer(kind: type[T], said: str, cut_off: bool, check: Callable[[T], str]) -> T:
    try:
        answer = shape.parse_answer(kind, said)
    except MisshapenAnswer:
        if cut_off:
            raise MisshapenAnswer(CUT_OFF_MESSAGE) from None
        raise
    if wrong := check(answer):
        raise MisshapenAnswer(wrong.rstrip("."))
    return answer
