"""The parsers of commands. Options of a run come from the settings' table, so help, variables and files agree."""

import argparse
import copy
import dataclasses
import difflib
from collections.abc import Sequence
from typing import Any, NoReturn

from orchestra.errors import UsageError
from orchestra.settings import flag_of, option_fields

GROUPS = {"work": "the work", "agents": "the agents", "limits": "limits", "models": "the models"}
GROUPS |= {"result": "the result", "handover": "handing it over"}
SHORT_FLAGS = {"quiet": ("-q",), "verbose": ("-v",)}


class ParagraphFormatter(argparse.HelpFormatter):
    """Wrap the paragraphs of a text, but not those with indented lines. List commands without a heading."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        return "\n\n".join(
            part if "\n  " in part else fill(part, width, indent) for part in text.strip("\n").split("\n\n")
        )

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):
            return "".join(map(super()._format_action, action._get_subactions()))
        return super()._format_action(action)


class CommandParser(argparse.ArgumentParser):
    """The parser of one command. An error is one sentence with exit code 2, without argparse's usage."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=ParagraphFormatter, **keywords)
        self._positionals.title = "arguments"
        self.run_groups: list[argparse._ArgumentGroup] = []
        self.lists_run_options = False

    def add_run_options(self, *, listed: bool = False) -> None:
        """Add the options of a run. Help lists them only if `listed`, because there are some 70."""
        self.lists_run_options = listed
        groups = {name: self.add_argument_group(title) for name, title in GROUPS.items()}
        for f in option_fields():
            groups[f.metadata["group"]].add_argument(*SHORT_FLAGS.get(f.name, ()), flag_of(f), **flag_keywords(f))
        self.run_groups = list(groups.values())

    def format_help(self) -> str:
        return super(CommandParser, self.without_run_options()).format_help()

    def format_usage(self) -> str:
        return super(CommandParser, self.without_run_options()).format_usage()

    def without_run_options(self) -> "CommandParser":
        """Return the parser with the options that help lists."""
        if not self.run_groups or self.lists_run_options:
            return self
        shown = copy.copy(self)
        hidden = [action for group in self.run_groups for action in group._group_actions]
        shown._actions = [action for action in self._actions if action not in hidden]
        shown._action_groups = [group for group in self._action_groups if group not in self.run_groups]
        shown.epilog = f"{self.epilog or ''}\n\nThe options of `aider-orchestrator run` are accepted too."
        return shown

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse flags and positional arguments in any order, unless one argument takes all remaining words."""
        nargs = [action.nargs for action in self._get_positional_actions()]
        mixed = nargs and not {argparse.REMAINDER, argparse.PARSER} & set(nargs)
        arguments, unknown = (self.parse_known_intermixed_args if mixed else self.parse_known_args)(words)
        if unknown:
            raise UsageError(f"unknown argument {unknown[0]!r}.", hint=self.suggest_argument(unknown[0]))
        return arguments

    def suggest_argument(self, word: str) -> str:
        takes_text = self.lists_run_options or any(
            action.metavar == "TEXT" for action in self._get_positional_actions()
        )
        if not word.startswith("-"):
            return "Put quotes around a text of several words." if takes_text else self.help_hint
        near = difflib.get_close_matches(word.split("=")[0], self._option_string_actions, 1)
        return f"Did you mean {near[0]}?" if near else self.help_hint

    @property
    def help_hint(self) -> str:
        return f"See `{self.prog} --help`."

    def error(self, message: str) -> NoReturn:
        usage = " ".join(self.format_usage().split()).replace("usage: ", "Usage: ").replace(" [-h]", "")
        raise UsageError(f"{message}.", hint=usage if "required" in message else self.help_hint)


def flag_keywords(f: dataclasses.Field[Any]) -> dict[str, Any]:
    is_flag = f.type is bool or isinstance(f.default, bool)
    default = f" (default: {f.default:g})" if f.default and isinstance(f.default, int | float) and not is_flag else ""
    common = {"dest": f.name, "default": None, "help": f.metadata["help"].replace("%", "%%") + default}
    if is_flag:
        return common | {"action": "store_const", "const": not f.default}
    if isinstance(f.default, tuple):
        return common | {"nargs": "+", "action": "extend", "metavar": f.metadata["metavar"]}
    return common | {"metavar": f.metadata["metavar"]}


def run_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of a run among parsed arguments; None for an option that was not given."""
    return {f.name: getattr(arguments, f.name, None) for f in option_fields()}
