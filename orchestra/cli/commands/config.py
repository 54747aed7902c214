"""`config`, `trust` and `models`: every setting with its source, consent to a committed file, the catalogue."""

import sys
from argparse import Namespace
from collections.abc import Iterator
from datetime import date

from orchestra.cli.command_io import add_repository_arguments, print_plain
from orchestra.cli.consent import describe_consent, mask_setting, repository_root
from orchestra.cli.load import read_settings, read_settings_file, write_answer
from orchestra.cli.parser import CommandParser, run_options
from orchestra.conduct.core.secrets import Secrets
from orchestra.errors import UsageError
from orchestra.plan.roles import known_roles
from orchestra.providers import catalogue
from orchestra.settings import REPOSITORY_ENV, Settings, key_of, mask_value, option_fields
from orchestra.settings.option import Field
from orchestra.settings.other_tools import unused_variables
from orchestra.workspace.tracked import may_be_tracked

LONGEST = 60


def add_config_arguments(parser: CommandParser) -> None:
    parser.add_argument("action", metavar="show", choices=["show"], help="print the settings")
    parser.add_run_options()


def cmd_config(arguments: Namespace) -> None:
    """Print every setting with its value and its source; keys are masked."""
    settings = read_settings(run_options(arguments))
    secrets = Secrets.from_settings(settings)
    rows = [
        (key_of(f), shorten_value(f.name, effective_value(settings, f), secrets), settings.sources[f.name])
        for f in option_fields()
    ]
    rows += role_rows(settings, secrets)
    rows += [row for provider in catalogue.PROVIDERS.values() for row in provider_rows(settings, provider)]
    rows += [
        (name, mask_value(name, settings.variables[name][0]), f"{source} (no effect: {reason})")
        for name, source, reason in unused_variables(settings.variables)
    ]
    if settings.committed is not None:
        committed = settings.committed
        refused = {key: f"{committed.origin} (not used: {reason})" for key, reason in committed.refused.items()}
        rows = [(name, value, refused.get(name, source)) for name, value, source in rows]
    widths = [max(len(row[n]) for row in rows) for n in (0, 1)]
    for name, value, source in rows:
        print_plain(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {source}")


def effective_value(settings: Settings, f: Field) -> object:
    """Return what a run would use. Empty for a default of 0, which means that there is no limit."""
    used = {"model": settings.model_name, "gemini_model": settings.gemini_name.removeprefix("gemini/")}
    used |= {"claude_model": settings.claude_model or catalogue.DEFAULT_CLAUDE_MODEL}
    value = used.get(f.name, getattr(settings, f.name))
    return "" if value == f.default == 0 and not isinstance(value, bool) else value


def shorten_value(name: str, value: object, secrets: Secrets) -> str:
    text = mask_setting(name, value, secrets)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def role_rows(settings: Settings, secrets: Secrets) -> Iterator[tuple[str, str, str]]:
    """Describe each role, without its prompt."""
    for name, role in known_roles(settings.roles).items():
        values = {"model": role.model, "edit-format": role.edit_format, "temperature": role.temperature}
        values |= {"gates": ",".join(role.gates)}
        text = " ".join(f"{key}={value}" for key, value in values.items() if value not in ("", None))
        key = f"roles.{name}"
        yield key, shorten_value(key, text, secrets), settings.source_of(key)


def provider_rows(settings: Settings, provider: catalogue.Provider) -> Iterator[tuple[str, str, str]]:
    """List keys and addresses in the environment and the .env files, with a remark on each that is not used."""
    used = settings.base_url(provider.base_vars, settings.strongest_variable(provider.key_vars)[1])
    for name in (*provider.key_vars, *provider.base_vars):
        if name in settings.variables:
            value, source = settings.variables[name]
            unused = name in provider.base_vars and value.rstrip("/") != used
            remark = " (not used: the key is from elsewhere)" if unused and source == REPOSITORY_ENV else ""
            yield name, mask_value(name, value), source + remark


def add_models_arguments(parser: CommandParser) -> None:
    parser.add_argument("text", metavar="TEXT", nargs="?", default="", help="only models whose name has this text")


def cmd_models(arguments: Namespace) -> int:
    """List the models of the catalogue: prices in dollars per million tokens, context, retirement. Other models of the
    same providers work as PROVIDER/NAME; any OpenAI-compatible server as openai/NAME with OPENAI_API_BASE."""
    rows = [model for model in catalogue.list_models() if arguments.text.lower() in model.name.lower()]
    if not rows:
        sentence = f"no model of the catalogue has {arguments.text!r} in its name. `models` lists all of them."
        print_plain(f"aider-orchestrator: {sentence}", stream=sys.stderr)
        return 1
    width = max(len(model.name) for model in rows)
    print_plain(f"{'model':<{width}}  {'$/M in':>8}  {'$/M out':>8}  {'context':>9}  remarks")
    for model in rows:
        prices = f"{price_per_million(model.price_in):>8}  {price_per_million(model.price_out):>8}"
        print_plain(f"{model.name:<{width}}  {prices}  {model.context or '?':>9}  {catalogue_remark(model)}".rstrip())
    return 0


def price_per_million(price: float | None) -> str:
    return "?" if price is None else f"{price * 1e6:.2f}"


def catalogue_remark(model: catalogue.Model) -> str:
    defaults = {
        catalogue.DEFAULT_MODEL: "default",
        catalogue.DEFAULT_CLAUDE_MODEL: "default with --claude",
        f"gemini/{catalogue.DEFAULT_GEMINI_MODEL}": "default for the PRD",
    }
    notice = catalogue.retirement_notice(model, date.today())
    parts = (defaults.get(model.name, ""), notice.sentence.split(" ", 1)[1] if notice else "")
    return "; ".join(filter(None, parts))


def add_trust_arguments(parser: CommandParser) -> None:
    parser.add_argument("--show", action="store_true", help="list what would be allowed, and change nothing")
    parser.add_argument("--revoke", action="store_true", help="withdraw the consent")
    add_repository_arguments(parser)


def cmd_trust(arguments: Namespace) -> None:
    """Use the whole settings file of this repository although it is committed: also what writes, sends, hands over,
    spends more or chooses another model. The consent is stored in your config folder for the present content of the
    file and of the files that it names; a change of one of them ends it."""
    root = repository_root(arguments.repo)
    file, path = read_settings_file(root)
    if arguments.revoke:
        write_answer(root, file, None)
        print_plain(f"No settings file of {root} is trusted any more.")
        return
    if not file.table:
        raise UsageError(f"{root} has no settings file, so there is nothing to trust.")
    if not may_be_tracked(root, path):
        print_plain(f"{file.origin} is not committed: it is yours, and all of it is used.")
        return
    settings = read_settings({"repo": str(root)})
    for line in describe_consent(root, file, settings):
        print_plain(line)
    if not arguments.show:
        write_answer(root, file, True)
        print_plain(f"From now on all of {file.origin} in {root} is used, until it or a file that it names changes.")
