"""The flags, made from the settings' own table, so that help, environment and files can never disagree."""

import argparse
import dataclasses
import difflib
from typing import Any, NoReturn

from orchestra import __version__
from orchestra.errors import UsageError
from orchestra.settings import flag_of, option_fields

EXAMPLES = """examples:
  %(prog)s --change "Add user-password reset flow with email OTP" --max-agents 4
  %(prog)s --change @request.md --files src/auth tests/auth --claude --test-cmd "pytest -q"
  %(prog)s --change "Rename User to Account" --files "src/**/*.py" --no-prd --dry-run

other commands: plan, execute, submit, resume, retry, restart, resolve, interrupt, cancel, runs, status, logs, show,
  diff, report, clean, export, import, store, demo, doctor, config show, trust, models      (COMMAND --help tells more)
exit codes: 0 complete, 1 some task or gate failed, 2 usage, 3 a bug, 4 a provider failed, 5 a person must decide,
  6 a limit was reached, 130 and 143 signals
"""
GROUPS = {"work": "the work", "agents": "the agents", "limits": "limits", "models": "the models"}
GROUPS |= {"result": "the result", "handover": "handing it over"}


class FlagParser(argparse.ArgumentParser):
    """argparse whose complaints are our errors: one clear sentence, exit 2."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}.", hint="See --help.")


def build_parser() -> FlagParser:
    made = FlagParser(
        prog="aider-orchestrator",
        usage="%(prog)s --change TEXT [options]",
        description="Let many Aider agents change one repository at once, and say truly what came of it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--version", action="version", version=f"aider-orchestrator {__version__}")
    groups = {name: made.add_argument_group(title) for name, title in GROUPS.items()}
    for f in option_fields():
        groups[f.metadata["group"]].add_argument(*flag_names(f), **flag_keywords(f))
    return made


def flag_names(f: dataclasses.Field[Any]) -> list[str]:
    short = {"quiet": ["-q"], "verbose": ["-v"]}.get(f.name, [])
    return [*short, flag_of(f)]


def flag_keywords(f: dataclasses.Field[Any]) -> dict[str, Any]:
    common = {"dest": f.name, "default": None, "help": f.metadata["help"].replace("%", "%%") + default_in_help(f)}
    if f.type is bool or isinstance(f.default, bool):
        return common | {"action": "store_const", "const": not f.default}
    if isinstance(f.default, tuple):
        return common | {"nargs": "+", "action": "extend", "metavar": f.metadata["metavar"]}
    return common | {"metavar": f.metadata["metavar"]}


def default_in_help(f: dataclasses.Field[Any]) -> str:
    shown = f.default if isinstance(f.default, int | float) and not isinstance(f.default, bool) else ""
    return f" (default: {shown:g})" if shown else ""


def parse_flags(argv: list[str]) -> dict[str, Any]:
    made = build_parser()
    found, unknown = made.parse_known_args(argv)
    if unknown:
        raise UsageError(f"unknown argument {unknown[0]!r}.", hint=suggest_flag(unknown[0]))
    return vars(found)


def suggest_flag(word: str) -> str:
    if not word.startswith("-"):
        return "Put quotes around a text of several words."
    near = difflib.get_close_matches(word.split("=")[0], [name for f in option_fields() for name in flag_names(f)], 1)
    return f"Did you mean {near[0]}?" if near else "See --help."
