"""The keys of this run: kept out of everything that is written and out of every child's environment."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestra import catalogue
from orchestra.process import base_environment
from orchestra.settings import SECRET_WORDS, Settings

SHORTEST = 8
HIDDEN = "[redacted]"


@dataclass(frozen=True)
class Secrets:
    values: tuple[str, ...] = field(repr=False, default=())

    @classmethod
    def of(cls, settings: Settings) -> "Secrets":
        """Every value of a variable that is named like a secret, longest first, so that none is half replaced."""
        names = {name for provider in catalogue.PROVIDERS.values() for name in provider.key_vars}
        named = {
            v
            for name, (v, _) in settings.variables.items()
            if name in names or any(w in name.upper() for w in SECRET_WORDS)
        }
        found = {value for value in named | {settings.api_key} if len(value) >= SHORTEST}
        return cls(tuple(sorted(found, key=len, reverse=True)))

    def scrub(self, text: str) -> str:
        for value in self.values:
            text = text.replace(value, HIDDEN).replace(json.dumps(value)[1:-1], HIDDEN)
        return text

    def free(self, environ: Mapping[str, str]) -> dict[str, str]:
        """An environment for a child that runs the repository's code: no variable that holds a key under any name."""
        return {
            name: v for name, v in base_environment(environ).items() if not any(secret in v for secret in self.values)
        }
