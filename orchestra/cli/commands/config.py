"""`config show`: every value with the place it came from."""

import shlex

from orchestra.cli.load import settings_of
from orchestra.conduct.core.secrets import Secrets
from orchestra.errors import UsageError
from orchestra.plan.roles import known
from orchestra.providers import catalogue
from orchestra.settings import REPOSITORY_ENV, Settings, key_of, masked, options

LONGEST = 60

USAGE = """usage: aider-orchestrator config show [FLAGS...]

Print every setting with its value and the place it came from; keys are masked.
"""


def config(argv: list[str]) -> int:
    if "--help" in argv or "-h" in argv:
        print(USAGE, end="")
        return 0
    if argv[:1] != ["show"]:
        raise UsageError("config has one command: config show.")
    settings = settings_of(argv[1:])
    secrets = Secrets.of(settings)
    rows = [(key_of(f), shown(f.name, getattr(settings, f.name), secrets), settings.sources[f.name]) for f in options()]
    rows += role_rows(settings, secrets)
    rows += [row for provider in catalogue.PROVIDERS.values() for row in provider_rows(settings, provider)]
    if settings.committed is not None:
        marked = {
            key: f"{settings.committed.place} (not used: {why})" for key, why in settings.committed.refused.items()
        }
        rows = [(name, value, marked.get(name, source)) for name, value, source in rows]
    widths = [max(len(row[n]) for row in rows) for n in (0, 1)]
    for name, value, source in rows:
        print(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {source}")
    return 0


def shown(name: str, value: object, secrets: Secrets) -> str:
    text = without_secrets(name, value, secrets)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def without_secrets(name: str, value: object, secrets: Secrets) -> str:
    """In one line. A key may also stand inside a value, say in a command."""
    if isinstance(value, bool):
        return str(value).lower()
    text = shlex.join(value) if isinstance(value, tuple) else str(value or "-")
    return " ".join(secrets.scrub(masked(name, text)).split()) or "-"


def role_rows(settings: Settings, secrets: Secrets) -> list[tuple[str, str, str]]:
    """Each role with what sets it apart from the others, besides its prompt."""
    rows = []
    for name, role in known(settings.roles).items():
        told = {"model": role.model, "edit-format": role.edit_format, "gates": ",".join(role.gates)}
        words = " ".join(f"{key}={value}" for key, value in told.items() if value)
        rows.append((f"roles.{name}", shown(f"roles.{name}", words, secrets), settings.source(f"roles.{name}")))
    return rows


def provider_rows(settings: Settings, provider: catalogue.Provider) -> list[tuple[str, str, str]]:
    """Keys and addresses as they stand in the environment and the .env files, and whether they count."""
    used = settings.base_url(provider.base_vars, settings.key(provider.key_vars)[1])
    rows = []
    for name in (*provider.key_vars, *provider.base_vars):
        if name in settings.variables:
            value, source = settings.variables[name]
            unused = name in provider.base_vars and value.rstrip("/") != used
            remark = " (not used: the key is from elsewhere)" if unused and source == REPOSITORY_ENV else ""
            rows.append((name, masked(name, value), source + remark))
    return rows
