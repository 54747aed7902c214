"""`config show`: every setting with its source."""

from argparse import Namespace

from orchestra.cli.consent import mask_setting
from orchestra.cli.load import read_settings
from orchestra.cli.parser import CommandParser, run_options
from orchestra.conduct.core.secrets import Secrets
from orchestra.plan.roles import known_roles
from orchestra.providers import catalogue
from orchestra.settings import REPOSITORY_ENV, Settings, key_of, mask_value, option_fields

LONGEST = 60


def add_config_arguments(parser: CommandParser) -> None:
    parser.add_argument("action", metavar="show", choices=["show"], help="print the settings")
    parser.add_run_options()


def cmd_config(arguments: Namespace) -> int:
    """Print every setting with its value and its source; keys are masked."""
    settings = read_settings(run_options(arguments))
    secrets = Secrets.from_settings(settings)
    rows = [
        (key_of(f), shorten_value(f.name, getattr(settings, f.name), secrets), settings.sources[f.name])
        for f in option_fields()
    ]
    rows += role_rows(settings, secrets)
    rows += [row for provider in catalogue.PROVIDERS.values() for row in provider_rows(settings, provider)]
    if settings.committed is not None:
        committed = settings.committed
        refused = {key: f"{committed.origin} (not used: {reason})" for key, reason in committed.refused.items()}
        rows = [(name, value, refused.get(name, source)) for name, value, source in rows]
    widths = [max(len(row[n]) for row in rows) for n in (0, 1)]
    for name, value, source in rows:
        print(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {source}")
    return 0


def shorten_value(name: str, value: object, secrets: Secrets) -> str:
    text = mask_setting(name, value, secrets)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def role_rows(settings: Settings, secrets: Secrets) -> list[tuple[str, str, str]]:
    """Describe each role, without its prompt."""
    rows = []
    for name, role in known_roles(settings.roles).items():
        values = {"model": role.model, "edit-format": role.edit_format, "gates": ",".join(role.gates)}
        text = " ".join(f"{key}={value}" for key, value in values.items() if value)
        key = f"roles.{name}"
        rows.append((key, shorten_value(key, text, secrets), settings.source_of(key)))
    return rows


def provider_rows(settings: Settings, provider: catalogue.Provider) -> list[tuple[str, str, str]]:
    """List keys and addresses in the environment and the .env files, with a remark on each that is not used."""
    used = settings.base_url(provider.base_vars, settings.strongest_variable(provider.key_vars)[1])
    rows = []
    for name in (*provider.key_vars, *provider.base_vars):
        if name in settings.variables:
            value, source = settings.variables[name]
            unused = name in provider.base_vars and value.rstrip("/") != used
            remark = " (not used: the key is from elsewhere)" if unused and source == REPOSITORY_ENV else ""
            rows.append((name, mask_value(name, value), source + remark))
    return rows
