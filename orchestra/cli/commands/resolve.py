"""`resolve`: a person's decision about a task that failed or waits."""

from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestra.cli.commands.resume import add_retry_arguments, ask_owner_if_any, find_run_to_resume
from orchestra.cli.launch import Story, run_until_done
from orchestra.cli.load import why_unreadable
from orchestra.cli.parser import CommandParser
from orchestra.errors import UsageError
from orchestra.model import Decision

# The action, its flag, what the flag takes, its help.
DECISIONS = (
    ("retry", "--retry", "HINT", "try it again; the agent gets the hint"),
    ("brief", "--edit-brief", "FILE", "try it again with the text of FILE (- is stdin) as its brief"),
    ("abandon", "--abandon", "", "give it up"),
    ("spawn", "--spawn", "TEXT", "give it up, and have another task do TEXT with the same files"),
    ("take", "--take", "", "do it yourself in a worktree; the second time: use that as the work of the task"),
)


def add_resolve_arguments(parser: CommandParser) -> None:
    add_retry_arguments(parser)
    parser.usage = "%(prog)s [-h] RUN TASK DECISION [options]"
    group = parser.add_argument_group("DECISION, one of").add_mutually_exclusive_group(required=True)
    for action, flag, metavar, text in DECISIONS:
        keywords: dict[str, Any] = {"dest": "decision", "help": text}
        if metavar:
            keywords |= {"metavar": metavar, "type": parse_decision(action)}
        else:
            keywords |= {"action": "store_const", "const": (action, "")}
        if action == "retry":
            keywords |= {"nargs": "?", "const": (action, "")}
        group.add_argument(flag, **keywords)


def parse_decision(action: str) -> Callable[[str], tuple[str, str]]:
    def parse(text: str) -> tuple[str, str]:
        if not text and action != "retry":
            raise ArgumentTypeError("expected one argument")
        return action, text

    return parse


def cmd_resolve(arguments: Namespace, story: Story) -> int:
    """Decide about a task that failed or waits for you. If a process works on the run, it carries the decision out;
    otherwise the run is resumed for it."""
    action, text = arguments.decision
    decision = Decision(arguments.task, action, read_brief_file(text) if action == "brief" else text)
    settings, past = find_run_to_resume(arguments)
    settings = settings.for_resume(past.options)
    if answer := ask_owner_if_any(settings, past.stamp, "resolve", decision.task, action=action, text=decision.text):
        print(answer)
        return 0
    return run_until_done(story(settings, past=past.with_decision(decision)))


def read_brief_file(file: str) -> str:
    try:
        text = Path("/dev/stdin" if file == "-" else file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the brief {file} cannot be read: {why_unreadable(error)}.") from None
    if not text.strip():
        raise UsageError(f"the brief {file} is empty.")
    return text
