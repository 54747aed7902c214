"""Whether a model server is there, and whether it answers: the cheapest question that a provider can be asked."""

import asyncio
from contextlib import suppress
from typing import Any, Literal
from urllib.parse import urlsplit

from orchestra import dialects
from orchestra.conduct.core.models import chosen_model, own_base
from orchestra.errors import SettingsError
from orchestra.gateway.wire import LOOPBACK
from orchestra.providers import catalogue
from orchestra.providers.catalogue import Model, Provider
from orchestra.settings import Settings

CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 60.0
LONGEST_ANSWER = 16
PORTS = {"http": 80, "https": 443}
REMEDIES = {
    "auth": "Check the key, and that it may use this model.",
    "quota": "Add credit, or raise the quota.",
    "unreachable": "Check the address, the network and the proxy.",
    "bad_request": "Check the model's name and the address.",
}
Answer = tuple[Literal["ok", "warning", "error"], str, str]


async def reached(base: str) -> str:
    """Nothing when somebody listens at this address, else why not."""
    try:
        parts = urlsplit(base)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme)
    except ValueError:
        host = port = None
    if not host or not port:
        return "is no address of a server"
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"does not answer within {CONNECT_TIMEOUT:.0f} s"
    except OSError as error:
        return f"cannot be reached: {error.strerror or error}"
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return ""


async def answers(settings: Settings, provider: Provider) -> Answer:
    """Ask it for a word of the chosen model, or of its cheap one."""
    import httpx

    model = model_of(settings, provider)
    if model is None:
        return "warning", "not asked: no model of this provider is chosen", "Give --model to have it asked."
    base = catalogue.base_url(provider, own_base(settings, provider))
    path, body = question(model)
    headers = dialects.upstream_headers(provider.dialect, settings.key(provider.key_vars)[0], VERSIONS)
    try:
        async with httpx.AsyncClient(timeout=ANSWER_TIMEOUT, mounts=dict.fromkeys(LOOPBACK)) as client:
            url = dialects.upstream_url(provider.dialect, base, path)
            answer = await client.post(url, headers=headers, json=body)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeEncodeError) as error:
        words = str(error) or type(error).__name__
        return "error", f"{model.name} cannot be asked: {words}", REMEDIES["unreachable"]
    if answer.status_code == 200 and dialects.is_reply(provider.dialect, dialects.parse(answer.content)):
        return "ok", f"{model.name} answers", ""
    failure = dialects.failure(answer.status_code, answer.content)
    told = f"{model.name}: {failure} ({answer.status_code}): {dialects.message(answer.content)}"
    return ("warning" if failure == "rate_limit" else "error"), told, REMEDIES.get(failure, "Try again later.")


VERSIONS = {"anthropic-version": "2023-06-01"}


def model_of(settings: Settings, provider: Provider) -> Model | None:
    with suppress(SettingsError):
        if (chosen := chosen_model(settings)).provider is provider:
            return chosen
    if provider.name == "gemini":
        return catalogue.resolve(settings.gemini_name)
    known = catalogue.WEAK_MODELS.get(provider.name)
    return catalogue.resolve(known) if known else None


def question(model: Model) -> tuple[str, dict[str, Any]]:
    name, words = model.upstream_name, "Say ok."
    if model.provider.dialect == "gemini":
        config = {"maxOutputTokens": LONGEST_ANSWER}
        said = [{"role": "user", "parts": [{"text": words}]}]
        return f"models/{name}:generateContent", {"contents": said, "generationConfig": config}
    body = {"model": name, "messages": [{"role": "user", "content": words}]}
    if model.provider.dialect == "anthropic":
        return "messages", body | {"max_tokens": LONGEST_ANSWER}
    limit = "max_completion_tokens" if model.provider.name == "openai" else "max_tokens"
    return "chat/completions", body | {limit: LONGEST_ANSWER}
