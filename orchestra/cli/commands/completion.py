"""`completion`: the script that lets a shell complete commands and options."""

import argparse
from argparse import Namespace

from orchestra.cli.command_table import PROGRAM, build_parser
from orchestra.cli.parser import CommandParser

SHELLS = ("bash", "zsh", "fish")


def add_completion_arguments(parser: CommandParser) -> None:
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")


def cmd_completion(arguments: Namespace) -> None:
    """Print the script that lets a shell complete commands, options and their values. Redirect it into this file:

      bash   ~/.local/share/bash-completion/completions/aider-orchestrator
      zsh    _aider-orchestrator, in a folder of $fpath
      fish   ~/.config/fish/completions/aider-orchestrator.fish

    Restart shells that are open."""
    print(make_script(arguments.shell), end="")


def make_script(shell: str) -> str:
    """Return the script. Without a command, the options are those of `run`."""
    parser = build_parser()
    parser.add_run_options(listed=True)
    if shell == "fish":
        return "".join(f"{line}\n" for line in (f"complete -c {PROGRAM} -f", *describe_commands(parser, ())))
    import shtab

    for each in walk_parsers(parser):
        for child, summary in subcommands(each).values():
            child.description = summary  # shtab shows the description, which is the whole text of the help here
        for action in filter(names_files, each._actions):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return f"{shtab.complete(parser, shell)}\n"


def walk_parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    return [parser, *(inner for child, _ in subcommands(parser).values() for inner in walk_parsers(child))]


def subcommands(parser: argparse.ArgumentParser) -> dict[str, tuple[argparse.ArgumentParser, str]]:
    """Return the parser and the summary of each command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {each.dest: each.help or "" for each in action._choices_actions}
            return {name: (child, summaries.get(name, "")) for name, child in action.choices.items()}
    return {}


def names_files(action: argparse.Action) -> bool:
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    return any(word in metavar for word in ("FILE", "PATH", "DIR", "GLOB"))


def describe_commands(parser: argparse.ArgumentParser, before: tuple[str, ...]) -> list[str]:
    """Return a `complete` line of fish for each command and option, with the condition under which it counts: after the
    words of its command, and before those of a command below it."""
    children = subcommands(parser)
    seen = [f"__fish_seen_subcommand_from {word}" for word in before]
    unseen = [f"not __fish_seen_subcommand_from {' '.join(children)}"] if children else []
    start = f"complete -c {PROGRAM} -n {quote('; and '.join([*seen, *unseen]))}"
    lines = [f"{start} -a {quote(name)} -d {quote(summary)}" for name, (_, summary) in children.items()]
    for action in parser._actions:
        if action.option_strings:
            lines.append(f"{start} {describe_option(action)}")
        elif action.choices and not children:
            lines.append(f"{start} -a {quote(' '.join(map(str, action.choices)))}")
    for name, (child, _) in children.items():
        lines += describe_commands(child, (*before, name))
    return lines


def describe_option(action: argparse.Action) -> str:
    words = [f"-l {each[2:]}" if each.startswith("--") else f"-s {each[1:]}" for each in action.option_strings]
    if action.nargs != 0:
        words.append("-r -F" if names_files(action) else "-x")
    if action.choices:
        words.append(f"-a {quote(' '.join(map(str, action.choices)))}")
    return " ".join([*words, f"-d {quote((action.help or '').replace('%%', '%'))}"])


def quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
