"""The settings made from the table of options: one frozen object that remembers where each value came from."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from orchestra.errors import SettingsError
from orchestra.plan.roles import Role
from orchestra.providers.redact import is_redacted
from orchestra.settings.option import flag_of
from orchestra.settings.option_checks import ADDRESS_START
from orchestra.settings.table import Options
from orchestra.settings.values import parse_price

# Where values come from, the strongest first. The settings file follows, then the defaults.
REPOSITORY_ENV, SCRIPT_ENV = "repository .env", "script .env"
SOURCE_ORDER = ("flag", "environment", REPOSITORY_ENV, SCRIPT_ENV)
PASSWORD_IN_URL = re.compile("//[^/@]*:[^/@]*@")
SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")


@dataclass(frozen=True)
class CommittedFile:
    """What became of a settings file that git tracks, so that anyone who can commit may have written it."""

    origin: str
    used: Mapping[str, Any] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)  # the setting, and why
    models: tuple[str, ...] = ()  # of the refused ones those that chose a model which this run would ask
    trusted: bool = False


@dataclass(frozen=True)
class Settings(Options):
    """The options with what belongs to them: prices, roles, where each value came from, the variables."""

    # The settings file's table of prices: a model's name, and dollars per million tokens in and out.
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    # Its tables of roles, as far as they say something else than the package's.
    roles: Mapping[str, Role] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)
    # What became of a committed settings file.
    committed: "CommittedFile | None" = None
    variables: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)

    def strongest_variable(self, names: Iterable[str]) -> tuple[str, str]:
        """The value of these variables from the strongest place, and that place; in one place the first name counts."""
        found = [self.variables[name] for name in names if name in self.variables]
        return min(found, key=lambda value: source_rank(value[1]), default=("", ""))

    def base_url(self, names: Iterable[str], key_source: str) -> str:
        """A base URL. One from a repository's .env counts only beside a key from that same file, or without any key: a
        file that came with a repository must not be able to send a key from elsewhere to a server of its choice."""
        value, source = self.strongest_variable(names)
        strange = source == REPOSITORY_ENV and key_source and not key_source.startswith(REPOSITORY_ENV)
        return "" if strange else value.rstrip("/")

    @property
    def known_prices(self) -> dict[str, tuple[float, float]]:
        """Those of the file, and those of --price, where "" is the agents' model."""
        return dict(self.prices) | dict(parse_price(text, "--price") for text in self.price)

    @property
    def model_name(self) -> str:
        """The agents' model, as the user calls it."""
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
        """Whether it is as the user has it, and not as a committed file says to which they have not consented."""
        return self.committed is None or self.committed.trusted or self.source_of(name) != self.committed.origin

    @property
    def branch_flag(self) -> str:
        """The flag by which the result is to be on a branch of its own, and the user's is left where it is."""
        return "--branch" if self.branch else "--pr" if self.pr else ""

    def recorded_values(self) -> dict[str, Any]:
        """The values that a resumed run goes on with: all but the keys, which are never written down."""
        # Who knows the address of a chat's hook may write to that chat.
        secret = {"api_key", "notify"} | ({"store"} if PASSWORD_IN_URL.search(self.store) else set())
        return {f.name: getattr(self, f.name) for f in option_fields() if f.name not in secret}

    def for_resume(self, previous_values: Mapping[str, Any]) -> "Settings":
        """The settings of a run as it was, but for what is said anew by a flag."""
        given = {name for name, source in self.sources.items() if source == "flag"}
        given |= {rival for pair in CONFLICTING_OPTIONS if given & set(pair) for rival in pair}
        kept = {
            f.name: previous_values[f.name]
            for f in option_fields()
            if f.name in previous_values and f.name not in given
        }
        for name, value in list(kept.items()):
            if is_redacted(value):
                del kept[name]
                if self.source_of(name) == "default":
                    option = next(flag_of(f) for f in option_fields() if f.name == name)
                    raise SettingsError(f"{option} held a secret, which was not written down: give it again.")
        return self.with_values(**{name: tuple(v) if isinstance(v, list) else v for name, v in kept.items()})

    def source_of(self, name: str) -> str:
        return self.sources.get(name, "default")

    def with_values(self, **values: Any) -> "Settings":
        return dataclasses.replace(self, **values)


def option_fields() -> list[dataclasses.Field[Any]]:
    return list(fields(Options))


# The pairs of options that exclude each other.
CONFLICTING_OPTIONS = tuple((f.name, other) for f in option_fields() for other in f.metadata["conflicts"])


def source_rank(source: str) -> int:
    return next((n for n, place in enumerate(SOURCE_ORDER) if source.startswith(place)), len(SOURCE_ORDER))


def mask_value(name: str, value: str) -> str:
    """A value that may be shown: keys lose everything but their last two characters, addresses who logs in there."""
    secret = any(word in name.upper() for word in SECRET_WORDS)
    if secret and value:
        return f"…{value[-2:]}" if len(value) > 8 else "…"
    if name == "notify" and (found := ADDRESS_START.match(value)):
        value = f"{found[0]}/…"
    return re.sub(r"://[^/@\s]+@", "://…@", value)
