"""Ask the providers of a run for their models before anything is paid: is the key valid, the address right, the model
known?

It is one request per provider, through the client and the proxy of all requests. An answer that says that the key is
invalid ends the run, and so does an address that cannot be reached. Everything else is a note or means nothing: a key
may be good although it may not list models, and a server may be good although it has no list.
"""

import asyncio
import os
import re
import ssl
import urllib.request
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orchestra import dialects
from orchestra.conduct.core.models import build_upstreams, chosen_model, user_base_url
from orchestra.conduct.planning.prd import NO_PRD_HINT
from orchestra.dialects import DIALECTS
from orchestra.dialects.values import as_object, object_items
from orchestra.errors import ProviderError, SettingsError
from orchestra.gateway.billing import Upstream
from orchestra.gateway.gateway import error_text
from orchestra.gateway.wire import LOOPBACK_ADDRESSES, open_client, read_body
from orchestra.providers import catalogue
from orchestra.providers.catalogue import Model
from orchestra.settings import Settings, mask_value

if TYPE_CHECKING:
    import httpx

TIMEOUT = 5.0  # seconds for the whole answer
LONGEST_LIST = {"anthropic": "?limit=1000", "gemini": "?pageSize=1000"}  # their lists come in pages
INVALID_KEY = re.compile(
    "api key not valid|api_key_invalid|invalid_api_key|incorrect api key|invalid x-api-key|invalid api key"
)
NOT_PERMITTED = re.compile("permission|scope")
SERVER_FAILED = 500
GOES_ON = "The run goes on."


async def check_providers(settings: Settings, models: Sequence[Model], *, must_answer: bool) -> list[str]:
    """Check the providers of these models, and return notes. Without `must_answer`, an address that cannot be reached
    is a note too."""
    upstreams = build_upstreams(settings, models[0], models, replayed=False)
    by_provider = {model.provider.name: [one for one in models if one.provider is model.provider] for model in models}
    async with open_client() as client:
        checks = [
            ProviderCheck(settings, upstreams[name], own, must_answer).carry_out(client)
            for name, own in by_provider.items()
        ]
        found = await asyncio.gather(*checks, return_exceptions=True)
    for failure in found:
        if isinstance(failure, BaseException):
            raise failure
    return [note for notes in found if isinstance(notes, list) for note in notes]


class ProviderCheck:
    """The check of one provider. `host` is what messages name: the address without path, login and key."""

    def __init__(self, settings: Settings, upstream: Upstream, models: Sequence[Model], must_answer: bool) -> None:
        self.settings, self.upstream, self.models, self.must_answer = settings, upstream, models, must_answer
        self.provider = catalogue.PROVIDERS[upstream.provider]

    @property
    def host(self) -> str:
        return urlsplit(self.upstream.base).netloc.rpartition("@")[2] or self.upstream.base

    async def carry_out(self, client: "httpx.AsyncClient") -> list[str]:
        import httpx

        try:
            async with asyncio.timeout(TIMEOUT):
                status, raw = await self.request_list(client)
        except (httpx.LocalProtocolError, UnicodeEncodeError):
            words = "cannot be sent: it holds a character that HTTP does not allow"
            raise ProviderError(f"{self.key_phrase} {words}.") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError):  # httpx lets errors of a host's name through
            base = mask_value("base", self.upstream.base)
            raise SettingsError(f"{self.base_variable}: {base!r} is not a server's address.") from None
        except httpx.ConnectError as error:
            return self.judge_connection(error)
        except (TimeoutError, httpx.TimeoutException):
            return [f"{self.host} has not answered within {TIMEOUT:.0f} s. {GOES_ON}"]
        except httpx.ProxyError as error:
            return [self.proxy_note(error)]
        except (httpx.HTTPError, dialects.ReplyTooLarge):
            return self.unknown_models([])
        if status >= SERVER_FAILED:
            return [f"{self.host} answered {status} when it was asked for its models. {GOES_ON}"]
        if refuses_key(status, raw):
            self.raise_refused(status)
        return self.unknown_models(listed_models(raw) if status == httpx.codes.OK else [])

    async def request_list(self, client: "httpx.AsyncClient") -> tuple[int, bytes]:
        dialect = DIALECTS[self.upstream.dialect]
        url = dialects.upstream_url(dialect, self.upstream.base, "models") + LONGEST_LIST.get(dialect.name, "")
        headers = dialects.upstream_headers(dialect, self.upstream.key, dict(dialect.fixed_headers))
        async with client.stream("GET", url, headers=headers | {"accept-encoding": "gzip"}) as answer:
            return answer.status_code, await read_body(answer, answer.headers.get("content-encoding", ""), 0)

    def judge_connection(self, error: "httpx.ConnectError") -> list[str]:
        """Raise if nothing is at the address. What a proxy or TLS has against it is a note."""
        reason = find_connection_error(error)
        if is_behind_proxy(self.upstream.base):
            return [self.proxy_note(error)]
        if reason is None:
            return [f"{self.host} could not be asked for its models: {error_text(error)}. {GOES_ON}"]
        # asyncio's own words repeat the address; those of a failed look-up have a negative number.
        number = reason.errno or 0
        sentence = f"{self.host} cannot be reached: {os.strerror(number) if number > 0 else reason.strerror or reason}."
        if not self.must_answer:
            return [f"{sentence} {GOES_ON}"]
        own = user_base_url(self.settings, self.provider)
        hint = f"Check {self.base_variable}, and that the server runs." if own else "Check the network and the proxy."
        raise ProviderError(sentence, hint=hint)

    def proxy_note(self, error: Exception) -> str:
        return f"{self.host} cannot be reached through the proxy: {error_text(error)}. {GOES_ON}"

    def raise_refused(self, status: int) -> None:
        if not self.upstream.key:
            hint = f"Set {' or '.join(self.provider.key_vars)}." if self.provider.key_vars else ""
            raise ProviderError(f"{self.host} wants a key: {status}.", hint=hint)
        is_agents = self.provider is chosen_model(self.settings).provider
        hint = (
            "Set a valid key, or choose another --model." if is_agents else f"Set a valid key. {self.way_out}".strip()
        )
        raise ProviderError(f"{self.key_phrase} was refused by {self.host}: {status}.", hint=hint)

    @property
    def way_out(self) -> str:
        """How to do without Gemini, if it only writes the PRD."""
        return NO_PRD_HINT if self.provider.name == "gemini" and self.settings.use_prd else ""

    @property
    def key_phrase(self) -> str:
        """Where the key is from, with its last two characters unless it is short."""
        variables, strongest = self.settings.variables, self.settings.strongest_variable(self.provider.key_vars)
        name = next((name for name in self.provider.key_vars if variables.get(name) == strongest), "The key")
        name = "--api-key" if strongest[1] == "flag" else name
        end = mask_value("KEY", self.upstream.key)
        return f"{name} ({end})" if len(end) > 1 else name

    @property
    def base_variable(self) -> str:
        names = self.provider.base_vars
        return next((name for name in names if name in self.settings.variables), names[0])

    def unknown_models(self, listed: Sequence[str]) -> list[str]:
        """Return a note for each model that neither the catalogue nor the provider's list has."""
        notes = []
        for model in self.models:
            if model.known or model.upstream_name in listed or f"{model.upstream_name}:latest" in listed:
                continue
            if listed or not user_base_url(self.settings, self.provider):
                notes.append(catalogue.unknown_notice(model, listed, self.host))
        return [note for note in notes if note]


def refuses_key(status: int, raw: bytes) -> bool:
    """Whether the answer says that the key is invalid, not that it may not list models."""
    words = raw[: dialects.LONGEST_ERROR].decode("utf-8", "replace").lower()
    if status == 401:
        return INVALID_KEY.search(words) is not None or NOT_PERMITTED.search(words) is None
    return status in (400, 403) and INVALID_KEY.search(words) is not None


def listed_models(raw: bytes) -> list[str]:
    body = as_object(dialects.parse_json_or_none(raw))
    items: list[Any] = [*object_items(body.get("data")), *object_items(body.get("models"))]
    return [str(item.get("id") or item.get("name") or "").removeprefix("models/") for item in items]


def find_connection_error(error: BaseException) -> OSError | None:
    """Return the system's error behind a failed connection; None if TLS failed."""
    found: OSError | None = None
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return None
        found = seen if isinstance(seen, OSError) else found
        seen = seen.exceptions[0] if isinstance(seen, BaseExceptionGroup) else seen.__cause__ or seen.__context__
    return found


def is_behind_proxy(base: str) -> bool:
    parts, proxies = urlsplit(base), urllib.request.getproxies()
    host = parts.hostname or ""
    is_loopback = f"all://[{host}]" in LOOPBACK_ADDRESSES or f"all://{host}" in LOOPBACK_ADDRESSES
    is_proxied = parts.scheme in proxies or "all" in proxies
    return is_proxied and not is_loopback and not urllib.request.proxy_bypass(host)
