"""Whether a model server is there, and whether it answers: the cheapest question that a provider can be asked."""

import asyncio
from contextlib import suppress
from typing import Literal
from urllib.parse import urlsplit

from orchestra import dialects
from orchestra.conduct.core.models import chosen_model, user_base_url
from orchestra.dialects import DIALECTS
from orchestra.errors import SettingsError
from orchestra.gateway.wire import LOOPBACK_ADDRESSES
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
ProbeResult = tuple[Literal["ok", "warning", "error"], str, str]


async def probe_address(base: str) -> str:
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


async def probe_provider(settings: Settings, provider: Provider) -> ProbeResult:
    """Ask it for a word of the chosen model, or of its cheap one."""
    import httpx

    model = model_to_probe(settings, provider)
    if model is None:
        return "warning", "not asked: no model of this provider is chosen", "Give --model to have it asked."
    base = catalogue.provider_base_url(provider, user_base_url(settings, provider))
    dialect = DIALECTS[provider.dialect]
    path, body = dialect.compose_request(model.upstream_name, "", [("user", "Say ok.")])
    body = dialect.with_cap(provider.name, body, LONGEST_ANSWER)
    headers = dialects.upstream_headers(
        dialect, settings.strongest_variable(provider.key_vars)[0], dict(dialect.fixed_headers)
    )
    try:
        async with httpx.AsyncClient(timeout=ANSWER_TIMEOUT, mounts=dict.fromkeys(LOOPBACK_ADDRESSES)) as client:
            url = dialects.upstream_url(dialect, base, path)
            answer = await client.post(url, headers=headers, json=body)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeEncodeError) as error:
        words = str(error) or type(error).__name__
        return "error", f"{model.name} cannot be asked: {words}", REMEDIES["unreachable"]
    if answer.status_code == 200 and dialect.is_reply(dialects.parse_json_or_none(answer.content)):
        return "ok", f"{model.name} answers", ""
    failure = dialects.classify_failure(answer.status_code, answer.content)
    told = f"{model.name}: {failure} ({answer.status_code}): {dialects.error_message(answer.content)}"
    return ("warning" if failure == "rate_limit" else "error"), told, REMEDIES.get(failure, "Try again later.")


def model_to_probe(settings: Settings, provider: Provider) -> Model | None:
    with suppress(SettingsError):
        if (chosen := chosen_model(settings)).provider is provider:
            return chosen
    if provider.name == "gemini":
        return catalogue.resolve_model(settings.gemini_name)
    known = catalogue.WEAK_MODELS.get(provider.name)
    return catalogue.resolve_model(known) if known else None
