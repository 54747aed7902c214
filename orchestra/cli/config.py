"""`config show`: every value with the place it came from."""

from orchestra import catalogue
from orchestra.cli.load import settings_of
from orchestra.errors import UsageError
from orchestra.settings import masked, options

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
    rows = [
        (f.name.replace("_", "-"), shown(f.name, getattr(settings, f.name)), settings.sources[f.name])
        for f in options()
    ]
    names = [name for provider in catalogue.PROVIDERS.values() for name in (*provider.key_vars, *provider.base_vars)]
    rows += [
        (name, masked(name, settings.variables[name][0]), settings.variables[name][1])
        for name in names
        if name in settings.variables
    ]
    widths = [max(len(row[n]) for row in rows) for n in (0, 1)]
    for name, value, source in rows:
        print(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {source}")
    return 0


def shown(name: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = " ".join(value) if isinstance(value, tuple) else str(value)
    return masked(name, " ".join(text.split())[:60]) or "-"
