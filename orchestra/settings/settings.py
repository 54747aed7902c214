"""The settings: the options in a frozen object, with the source of each value."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from orchestra.errors import SettingsError
from orchestra.plan.roles import Role
from orchestra.providers.redact import is_redacted
from orchestra.settings.option import ADDRESS_START, flag_of
from orchestra.settings.table import Options
from orchestra.settings.values import parse_price

# Of a program that `serve` starts: the descriptor from which it reads keys, and the launch that it is.
KEYS_PIPE, LAUNCH = "AIDER_ORCHESTRATOR_KEYS_PIPE", "AIDER_ORCHESTRATOR_LAUNCH"
# The sources of values, the strongest first. Settings files follow, then the defaults.
REPOSITORY_ENV, SCRIPT_ENV = "repository .env", "script .env"
SOURCE_ORDER = ("flag", "environment", REPOSITORY_ENV, SCRIPT_ENV)
PASSWORD_IN_URL = re.compile("//[^/@]*:[^/@]*@")
SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")


@dataclass(frozen=True)
class CommittedFile:
    """The used and refused parts of a settings file that git tracks, which anyone who can commit may have written."""

    origin: str
    used: Mapping[str, Any] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)  # the setting, and why
    models: tuple[str, ...] = ()  # the refused settings that chose a model of this run
    trusted: bool = False


@dataclass(frozen=True)
class Settings(Options):
    """The options, prices and roles, the source of each value, and the variables."""

    # From the settings file, by model: dollars per million tokens in and out.
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    # From the settings file: roles that differ from the package's.
    roles: Mapping[str, Role] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)
    committed: "CommittedFile | None" = None
    variables: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)

    def strongest_variable(self, names: Iterable[str]) -> tuple[str, str]:
        """The value of these variables, and its source: the strongest source, and of it the first name."""
        values = [self.variables[name] for name in names if name in self.variables]
        return min(values, key=lambda value: source_rank(value[1]), default=("", ""))

    def base_url(self, names: Iterable[str], key_source: str) -> str:
        """A base URL. One from a repository's .env counts only with a key from that file, or without any key: a file
        in a repository must not send a key from elsewhere to a server of its choice."""
        value, source = self.strongest_variable(names)
        is_foreign = source == REPOSITORY_ENV and key_source and not key_source.startswith(REPOSITORY_ENV)
        return "" if is_foreign else value.rstrip("/")

    @property
    def known_prices(self) -> dict[str, tuple[float, float]]:
        """The prices of the file and of --price, where "" is the agents' model."""
        return dict(self.prices) | dict(parse_price(text, "--price") for text in self.price)

    @property
    def model_name(self) -> str:
        """The agents' model, by the user's name for it."""
        from orchestra.providers import catalogue

        if self.claude:
            return self.claude_model or catalogue.DEFAULT_CLAUDE_MODEL
        return self.model or catalogue.DEFAULT_MODEL

    @property
    def gemini_name(self) -> str:
        """The model that writes the PRD, with its provider."""
        from orchestra.providers import catalogue

        name = self.gemini_model or catalogue.DEFAULT_GEMINI_MODEL
        return f"gemini/{name.removeprefix('gemini/').removeprefix('models/')}"

    def is_set_by_user(self, name: str) -> bool:
        """Whether the value is not from a committed file that the user does not trust."""
        return self.committed is None or self.committed.trusted or self.source_of(name) != self.committed.origin

    def recorded_values(self) -> dict[str, Any]:
        """The values that a resumed run continues with: all except secrets, which are never recorded."""
        # The address of a chat's webhook is a secret.
        secret = {"api_key", "notify"} | ({"store"} if PASSWORD_IN_URL.search(self.store) else set())
        return {f.name: getattr(self, f.name) for f in option_fields() if f.name not in secret}

    def for_resume(self, previous_values: Mapping[str, Any]) -> "Settings":
        """The settings of the earlier session, except those that a flag sets now. Version 0.1 knew no house rules: its
        requests would be other ones with them."""
        previous_values = {"conventions": False} | dict(previous_values)
        flags = with_conflicting(name for name, source in self.sources.items() if source == "flag")
        values = {}
        for f in option_fields():
            if f.name not in previous_values or f.name in flags:
                continue
            value = previous_values[f.name]
            if not is_redacted(value):
                values[f.name] = tuple(value) if isinstance(value, list) else value
            elif self.source_of(f.name) == "default":
                raise SettingsError(f"{flag_of(f)} held a secret, which was not recorded: give it again.")
        return self.with_values(**values)

    def source_of(self, name: str) -> str:
        return self.sources.get(name, "default")

    def with_values(self, **values: Any) -> "Settings":
        return dataclasses.replace(self, **values)


def option_fields() -> list[dataclasses.Field[Any]]:
    return list(fields(Options))


# The pairs of options that exclude each other.
CONFLICTING_OPTIONS = tuple((f.name, other) for f in option_fields() for other in f.metadata["conflicts"])


def with_conflicting(names: Iterable[str]) -> set[str]:
    """The options, and those that conflict with them."""
    names = set(names)
    return names | {other for pair in CONFLICTING_OPTIONS if names & set(pair) for other in pair}


def source_rank(source: str, order: Sequence[str] = SOURCE_ORDER) -> int:
    return next((n for n, place in enumerate(order) if source.startswith(place)), len(order))


def mask_value(name: str, value: str) -> str:
    """A value for display: of a key only the last two characters, of an address no login."""
    secret = any(word in name.upper() for word in SECRET_WORDS)
    if secret and value:
        return f"…{value[-2:]}" if len(value) > 8 else "…"
    if name == "notify" and (match := ADDRESS_START.match(value)):
        value = f"{match[0]}/…"
    return re.sub(r"://[^/@\s]+@", "://…@", value)
