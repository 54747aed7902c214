"""The table of commands, and the parsers made from it. Only the module of the chosen command is imported."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from inspect import cleandoc

from orchestra import __version__
from orchestra.cli.parser import CommandParser
from orchestra.errors import UsageError

PROGRAM = "aider-orchestrator"
SUMMARY = "Divide a change among several Aider agents, combine their work, and run your\ntests on it."
EXAMPLES = (
    "demo",
    '"Add a password reset by e-mail" --test-cmd "pytest -q"',
    '"Rename User to Account" --files src --max-agents 4',
    "--change @request.md --budget 5 --dry-run",
)
EXIT_CODES = """\
exit codes:
  0 complete, 1 a task or check failed, 2 usage, 3 a bug, 4 a provider failed,
  5 you must decide, 6 a limit was reached, 130 and 143 signals

"""


@dataclass(frozen=True)
class Command:
    """`module` is one of cli/commands. For the command `plan list` it has `add_plan_list_arguments(parser)` and
    `cmd_plan_list(arguments)`, whose docstring is the description in its help. It returns the exit code; None is 0."""

    module: str
    summary: str
    starts_run: bool = False  # the function takes the story as its second argument


COMMANDS = {
    "init": Command("init", "set up this repository: keys, model, tests, CI", starts_run=True),
    "demo": Command("demo", "try it on a sample repository, without a key", starts_run=True),
    "doctor": Command("doctor", "check what a run needs"),
    "models": Command("config", "list the known models with their prices"),
    "config": Command("config", "show every setting with its source"),
    "trust": Command("config", "trust the committed settings file of this repository"),
    "completion": Command("completion", "print the script for completion in bash, zsh or fish"),
    "run": Command("run", "carry out a change; the default command", starts_run=True),
    "plan": Command("plan", "make a plan of tasks to read, edit and approve"),
    "plan new": Command("plan", "make a plan; `plan TEXT` is short for it", starts_run=True),
    "plan list": Command("plan", "list the plans"),
    "plan show": Command("plan", "print a plan"),
    "plan check": Command("plan", "tell whether a plan can be executed"),
    "plan edit": Command("plan", "change a plan, in your editor or by a command"),
    "plan approve": Command("plan", "approve a plan"),
    "plan continue": Command("plan", "discuss and change a plan at the terminal", starts_run=True),
    "plan shard": Command("shard", "cut a plan into shards for the jobs of a CI system"),
    "execute": Command("run", "carry out a plan", starts_run=True),
    "combine": Command("shard", "combine what the shards of a plan have done", starts_run=True),
    "submit": Command("plan", "add a task to the list that `run` carries out"),
    "worker": Command("worker", "let several machines work for one run, as a Ray cluster"),
    "worker head": Command("worker", "start a cluster on this machine"),
    "worker join": Command("worker", "make this machine a node of a cluster"),
    "worker list": Command("worker", "list the nodes of a cluster"),
    "status": Command("runs", "show a run's progress or result"),
    "resolve": Command("resume", "decide about a task that needs you", starts_run=True),
    "interrupt": Command("steer", "stop one task, until you decide about it"),
    "pause": Command("steer", "let a run begin no further attempt"),
    "unpause": Command("steer", "let a paused run go on"),
    "budget": Command("steer", "change the budget of a run that goes on"),
    "add": Command("steer", "add a task to a run that goes on"),
    "edit": Command("steer", "change a task that has not begun"),
    "replan": Command("steer", "work out anew which tasks wait for which"),
    "cancel": Command("steer", "stop a run, or one of its tasks"),
    "resume": Command("resume", "continue a run that was stopped", starts_run=True),
    "retry": Command("resume", "try one failed task again", starts_run=True),
    "restart": Command("resume", "repeat a run from the start", starts_run=True),
    "runs": Command("runs", "list the runs of this repository"),
    "logs": Command("runs", "print the events of a run"),
    "show": Command("diff", "show one task with its attempts"),
    "diff": Command("diff", "show what a run or a task changed"),
    "report": Command("report", "write the report of a run"),
    "serve": Command("serve", "show runs in the browser, and serve the API"),
    "clean": Command("clean", "delete what finished runs have left"),
    "export": Command("archive", "write a run into one file"),
    "import": Command("archive", "read an exported run"),
    "store": Command("store", "check or migrate the store of events"),
}
# The headings in the overview, each with the first command below it.
HEADINGS = {
    "init": "begin",
    "run": "change code",
    "status": "steer a run",
    "runs": "look at results",
    "clean": "keep and delete",
}
# Names that other orchestrators use.
ALIASES = {
    **{"agents": "status", "task": "show", "cleanup": "clean", "kill": "cancel"},
    **{"plan-list": "plan list", "plan-continue": "plan continue", "execute-plan": "execute"},
}

# Commands of other orchestrators that have no counterpart.
ABSENT = dict.fromkeys(
    ("start", "connect"), "No agent waits for work: `submit` adds tasks, and `run` starts agents that carry them out."
)


def overview() -> str:
    """Return what the program is, with examples and the commands in groups."""
    lines = [SUMMARY, "", "examples:", *(f"  {PROGRAM} {example}" for example in EXAMPLES)]
    for name, command in COMMANDS.items():
        if " " not in name:
            lines += ["", f"{HEADINGS[name]}:"] if name in HEADINGS else []
            lines.append(f"  {name:<10}  {command.summary}")
    hint = f"`{PROGRAM} COMMAND --help` tells more; `run --help` lists all options."
    return "\n".join([*lines, "", EXIT_CODES + hint])


def build_parser() -> CommandParser:
    """Return the parser of the program with its commands and their arguments."""
    parser = CommandParser(prog=PROGRAM)
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}", help="print the version")
    add_subcommands(parser, "", whole=True)
    return parser


def build_command_parser(name: str) -> CommandParser:
    parser = CommandParser(prog=f"{PROGRAM} {name}")
    add_arguments(parser, name, whole=False)
    return parser


def add_arguments(parser: CommandParser, name: str, *, whole: bool) -> None:
    aliases = [f"`{alias}`" for alias, meaning in ALIASES.items() if meaning == name]
    parser.epilog = f"Also called {', '.join(aliases)}." if aliases else None
    if has_subcommands(name):
        parser.description = f"{COMMANDS[name].summary[0].upper()}{COMMANDS[name].summary[1:]}."
        add_subcommands(parser, name, whole=whole)
        return
    parser.description = cleandoc(import_function(name, "cmd_{}").__doc__ or "")
    import_function(name, "add_{}_arguments")(parser)


def add_subcommands(parser: CommandParser, parent: str, *, whole: bool) -> None:
    children = parser.add_subparsers(title="commands", metavar="COMMAND", prog=parser.prog)
    for name, command in COMMANDS.items():
        before, _, word = name.rpartition(" ")
        if before == parent:
            child = children.add_parser(word, help=command.summary)
            if whole:
                add_arguments(child, name, whole=True)


def has_subcommands(name: str) -> bool:
    return any(other.startswith(f"{name} ") for other in COMMANDS)


def import_function(name: str, pattern: str) -> Callable[..., int | None]:
    module = import_module(f"orchestra.cli.commands.{COMMANDS[name].module}")
    function: Callable[..., int | None] = getattr(module, pattern.format(name.replace(" ", "_")))
    return function


def split_command(argv: list[str]) -> tuple[str, list[str]]:
    """Return the name of the command and the words after it."""
    argv = [*ALIASES.get(argv[0], argv[0]).split(" "), *argv[1:]] if argv[0] in ALIASES else argv
    if argv[0].startswith("-"):
        return "run", argv
    if len(argv[0].split()) > 1:  # no command has a blank, and what people type first is the change
        return "run", ["--change", *argv]
    if argv[0] not in COMMANDS:
        raise UsageError(f"there is no command {argv[0]!r}.", hint=suggest_command(argv[0]))
    if " ".join(argv[:2]) in COMMANDS:
        return " ".join(argv[:2]), argv[2:]
    # `plan TEXT` makes a plan; `plan` alone and `plan --help` describe the commands.
    new = argv[0] == "plan" and argv[1:] and argv[1] not in ("-h", "--help")
    return ("plan new" if new else argv[0]), argv[1:]


def suggest_command(word: str) -> str:
    import difflib

    if word in ABSENT:
        return ABSENT[word]
    names = [name for name in COMMANDS if " " not in name]
    near = difflib.get_close_matches(word, names, 1)
    return f"Did you mean {near[0]}?" if near else f"Commands: {', '.join(names)}."
