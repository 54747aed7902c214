"""Ask any model for an answer of a given shape, through the run's gateway.

The gateway handles cost, pace, journal and recording. The answer is checked; an invalid one is corrected once by the
model, which is told what was wrong.
"""

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

TIMEOUT = 1800.0  # the gateway gives up earlier
CUT_OFF_MESSAGE = "it was cut off because it was too long: answer more briefly"
RETRY_PROMPT = "That answer cannot be used: {wrong}.\n\nAnswer once more, completely and in the right form.\n\n{form}"


class UnusableAnswer(ProviderError):
    """The model's answer was unusable twice."""


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
    """Return the answer as a `kind`. `base` and `key` are the gateway's; `check` returns what is wrong with an answer
    of the right shape; `expected`: tokens that the answer may have, if more than a few thousand."""
    import httpx

    form = shape.shape_instructions(kind)
    turns = [("user", f"{question}\n\n{form}")]
    cap = catalogue.reply_token_cap(model, expected)
    async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
        for _ in range(2):
            text, cut_off = await request_reply(client, base, key, model, system, turns, cap)
            try:
                answer = shape.parse_answer(kind, text)
            except MisshapenAnswer as error:
                wrong = CUT_OFF_MESSAGE if cut_off else str(error)
            else:
                if not (wrong := check(answer).rstrip(".")):
                    return answer
            # Some providers refuse an empty turn.
            turns += [("assistant", text.strip() or "(nothing)"), ("user", RETRY_PROMPT.format(wrong=wrong, form=form))]
    raise UnusableAnswer(f"{model.name} gave an unusable answer twice: {wrong}.")


async def request_reply(
    client: "httpx.AsyncClient",
    base: str,
    key: str,
    model: catalogue.Model,
    system: str,
    turns: list[tuple[str, str]],
    cap: int | None,
) -> tuple[str, bool]:
    """Return the model's text, and whether it was cut off."""
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
