"""The keys of this run, kept out of everything that is written and of every child's environment."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus, unquote

from orchestra.handover.code_hosts import SECRET
from orchestra.process import base_environment
from orchestra.providers import catalogue
from orchestra.providers.redact import REDACTED_MARK, redact
from orchestra.settings import SECRET_WORDS, Settings

SHORTEST = 8
SHORTEST_GUESS = 12
PASSWORD = re.compile(r"://[^/@:\s]*:([^/@\s]+)@")


@dataclass(frozen=True)
class Secrets:
    """Each key with its name, the longest first, so that no key is replaced in part."""

    known: tuple[tuple[str, str], ...] = field(repr=False, default=())
    forms: tuple[tuple[str, str], ...] = field(repr=False, default=())

    @classmethod
    def from_settings(cls, settings: Settings) -> "Secrets":
        """Collect the providers' keys, the passwords in addresses, and other values that look secret."""
        hook = {"ORCHESTRA_NOTIFY": (settings.notify, "")} if settings.notify else {}
        return cls.from_variables({**settings.variables, **hook}, settings.api_key, settings.store, settings.repo)

    @classmethod
    def from_variables(cls, variables: Mapping[str, tuple[str, str]], google: str = "", *urls: str) -> "Secrets":
        names = {name for provider in catalogue.PROVIDERS.values() for name in provider.key_vars} | {*SECRET}
        found = {google: "GOOGLE_API_KEY"} | {word: "password" for url in urls for word in PASSWORD.findall(url)}
        found |= {unquote(word): name for word, name in found.items()}
        found = {value: name for value, name in found.items() if len(value) >= SHORTEST}
        for name, (value, _) in variables.items():
            # The value from a weaker source has a longer name: "OPENAI_API_KEY of the script .env".
            plain = name.split()[0]
            if (plain in names and len(value) >= SHORTEST) or is_secret(plain, value):
                found[value] = plain
        known = tuple(sorted(found.items(), key=lambda each: len(each[0]), reverse=True))
        forms = [(form, name) for value, name in known for form in dict.fromkeys(encoded_forms(value))]
        return cls(known, tuple(sorted(forms, key=lambda each: len(each[0]), reverse=True)))

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(value for value, _ in self.known)

    def scrub(self, text: str) -> str:
        """Remove our keys in every form, and everything that looks like a key."""
        for form, name in self.forms:
            if form in text:
                text = text.replace(form, f"{REDACTED_MARK}{name}]")
        return redact(self.redact_cut_key(text))

    def redact_cut_key(self, text: str) -> str:
        """Redact the beginning of a key at the end of a text that was cut to a length."""
        for value, name in self.known:
            if value[:SHORTEST] not in text:
                continue
            for length in range(len(value) - 1, SHORTEST - 1, -1):
                if text.endswith(value[:length]):
                    return f"{text[:-length]}{REDACTED_MARK}{name}]"
        return text

    def clean_environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return an environment for a child that runs the repository's code: without any variable that holds a key."""
        variables = base_environment(environ).items()
        return {name: value for name, value in variables if not any(secret in value for secret in self.values)}


def encoded_forms(value: str) -> Iterator[str]:
    """Return the key as it is, and encoded for JSON (once and twice), an address, base64 and hexadecimal."""
    yield value
    for as_ascii in (True, False):
        once = json.dumps(value, ensure_ascii=as_ascii)[1:-1]
        yield from (once, json.dumps(once, ensure_ascii=as_ascii)[1:-1])
    yield from (quote(value, safe=""), quote(value), quote_plus(value))
    raw = value.encode("utf-8", "surrogateescape")
    yield raw.hex()
    for offset in range(3):
        for alphabet in (b"+/", b"-_"):
            coded = base64.b64encode(bytes(offset) + raw, alphabet).decode("ascii")
            # Only this part of a longer text's base64 is determined by these bytes alone.
            yield coded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]


def is_secret(name: str, value: str) -> bool:
    """Guess whether a value is secret. Hiding POSTGRES_PASSWORD=postgres would hide the word everywhere."""
    named = any(word in name.upper() for word in SECRET_WORDS)
    mixed = any(sign.isdigit() for sign in value) and any(sign.isalpha() for sign in value)
    # AWS secrets have slashes, and are otherwise unlike a path.
    no_path = "/" not in value or re.fullmatch(r"[A-Za-z0-9+][A-Za-z0-9+/=]{31,}", value) is not None
    return named and len(value) >= SHORTEST_GUESS and mixed and no_path and not any(map(str.isspace, value))
