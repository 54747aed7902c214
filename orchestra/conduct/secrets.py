"""The keys of this run: kept out of everything that is written and out of every child's environment."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestra import catalogue
from orchestra.process import base_environment
from orchestra.settings import SECRET_WORDS, Settings

SHORTEST = 8
SHORTEST_GUESS = 12
HIDDEN = "[redacted]"


@dataclass(frozen=True)
class Secrets:
    values: tuple[str, ...] = field(repr=False, default=())

    @classmethod
    def of(cls, settings: Settings) -> "Secrets":
        """The providers' keys, and what else looks like a secret; longest first, so that none is half replaced."""
        names = {name for provider in catalogue.PROVIDERS.values() for name in provider.key_vars}
        keys = {value for name, (value, _) in settings.variables.items() if name in names} | {settings.api_key}
        others = {value for name, (value, _) in settings.variables.items() if is_secret(name, value)}
        found = {value for value in keys if len(value) >= SHORTEST} | others
        return cls(tuple(sorted(found, key=len, reverse=True)))

    def scrub(self, text: str) -> str:
        for value in self.values:
            for form in (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
                text = text.replace(form, HIDDEN)
        return text

    def free(self, environ: Mapping[str, str]) -> dict[str, str]:
        """An environment for a child that runs the repository's code: no variable that holds a key under any name."""
        return {
            name: v for name, v in base_environment(environ).items() if not any(secret in v for secret in self.values)
        }


def is_secret(name: str, value: str) -> bool:
    """A guess. Hiding POSTGRES_PASSWORD=postgres would hide the word wherever a file or a sentence has it."""
    named = any(word in name.upper() for word in SECRET_WORDS)
    mixed = any(sign.isdigit() for sign in value) and any(sign.isalpha() for sign in value)
    return named and len(value) >= SHORTEST_GUESS and mixed and "/" not in value and not any(map(str.isspace, value))
