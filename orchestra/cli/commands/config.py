"""`config show`: every value with the place it came from."""

from orchestra.cli.load import read_settings
from orchestra.cli.masked import mask_setting
from orchestra.conduct.core.secrets import Secrets
from orchestra.errors import UsageError
from orchestra.plan.roles import known_roles
from orchestra.providers import catalogue
from orchestra.settings import REPOSITORY_ENV, Settings, key_of, mask_value, option_fields

LONGEST = 60

USAGE = """usage: aider-orchestrator config show [FLAGS...]

Print every setting with its value and the place it came from; keys are masked.
"""


def cmd_config(argv: list[str]) -> int:
    if "--help" in argv or "-h" in argv:
        print(USAGE, end="")
        return 0
    if argv[:1] != ["show"]:
        raise UsageError("config has one command: config show.")
    settings = read_settings(argv[1:])
    secrets = Secrets.from_settings(settings)
    rows = [
        (key_of(f), shorten_value(f.name, getattr(settings, f.name), secrets), settings.sources[f.name])
        for f in option_fields()
    ]
    rows += role_rows(settings, secrets)
    rows += [row for provider in catalogue.PROVIDERS.values() for row in provider_rows(settings, provider)]
    if settings.committed is not None:
        marked = {
            key: f"{settings.committed.origin} (not used: {why})" for key, why in settings.committed.refused.items()
        }
        rows = [(name, value, marked.get(name, source)) for name, value, source in rows]
    widths = [max(len(row[n]) for row in rows) for n in (0, 1)]
    for name, value, source in rows:
        print(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {source}")
    return 0


def shorten_value(name: str, value: object, secrets: Secrets) -> str:
    text = mask_setting(name, value, secrets)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def role_rows(settings: Settings, secrets: Secrets) -> list[tuple[str, str, str]]:
    """Each role with what sets it apart from the others, besides its prompt."""
    rows = []
    for name, role in known_roles(settings.roles).items():
        told = {"model": role.model, "edit-format": role.edit_format, "gates": ",".join(role.gates)}
        words = " ".join(f"{key}={value}" for key, value in told.items() if value)
        rows.append(
            (f"roles.{name}", shorten_value(f"roles.{name}", words, secrets), settings.source_of(f"roles.{name}"))
        )
    return rows


def provider_rows(settings: Settings, provider: catalogue.Provider) -> list[tuple[str, str, str]]:
    """Keys and addresses as they stand in the environment and the .env files, and whether they count."""
    used = settings.base_url(provider.base_vars, settings.strongest_variable(provider.key_vars)[1])
    rows = []
    for name in (*provider.key_vars, *provider.base_vars):
        if name in settings.variables:
            value, source = settings.variables[name]
            unused = name in provider.base_vars and value.rstrip("/") != used
            remark = " (not used: the key is from elsewhere)" if unused and source == REPOSITORY_ENV else ""
            rows.append((name, mask_value(name, value), source + remark))
    return rows
