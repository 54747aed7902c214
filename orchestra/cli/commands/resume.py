"""`resume`, `retry`, `restart` and `resolve`, and the run that they name."""

import os
from argparse import ArgumentTypeError, Namespace
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from orchestra.cli.command_io import add_all, add_required_run, add_required_task, add_run_argument
from orchestra.cli.commands.steer import TERMINAL, ask_run_owner
from orchestra.cli.consent import print_refused
from orchestra.cli.find import LATEST, match_run_name, open_run_index
from orchestra.cli.launch import Story, run_until_done
from orchestra.cli.load import read_settings, why_unreadable
from orchestra.cli.parser import CommandParser, run_options
from orchestra.conduct.core.locations import LOGS
from orchestra.conduct.previous.sessions import PreviousSessions, find_previous_sessions
from orchestra.errors import OwnerGone, UsageError
from orchestra.journal import jsonl
from orchestra.model import Decision
from orchestra.settings import LAUNCH, Settings
from orchestra.workspace.git import top_level
from orchestra.workspace.tracked import may_be_tracked

# The action, its flag, what the flag takes, its help.
DECISIONS = (
    ("retry", "--retry", "HINT", "try it again; the agent gets the hint"),
    ("brief", "--edit-brief", "FILE", "try it again with the text of FILE (- is stdin) as its brief"),
    ("abandon", "--abandon", "", "give it up"),
    ("spawn", "--spawn", "TEXT", "give it up, and have another task do TEXT with the same files"),
    ("take", "--take", "", "do it yourself in a worktree; the second time: use that as the work of the task"),
)


add_resume_arguments = add_all(add_run_argument, CommandParser.add_run_options)
add_retry_arguments = add_all(add_required_run, add_required_task, CommandParser.add_run_options)
add_restart_arguments = add_all(add_required_run, CommandParser.add_run_options)


def cmd_resume(arguments: Namespace, story: Story) -> int:
    """Continue a run that was stopped or died. Finished work is kept, failed tasks are tried again, and replies that
    were paid for are not requested again. The run keeps its settings; an option given now changes one of them."""
    settings, past = find_run_to_resume(arguments)
    return run_until_done(story(settings, past=past))


def cmd_retry(arguments: Namespace, story: Story) -> int:
    """Try one failed task again, and no other. If a process works on the run, it does so; otherwise the run is resumed
    for this task."""
    settings, past = find_run_to_resume(arguments)
    if answer := ask_owner_if_any(settings, past.stamp, "retry", arguments.task):
        print(answer)
        return 0
    return run_until_done(story(settings, past=past.retry_only(arguments.task)))


def cmd_restart(arguments: Namespace, story: Story) -> int:
    """Start a new run with the settings of an old one, except the options given now. No work of the old run is used."""
    settings, _ = find_run_to_resume(arguments)
    return run_until_done(story(settings))


def find_run_to_resume(arguments: Namespace) -> tuple[Settings, PreviousSessions]:
    """Return the run, and its settings with those given now. Not a run of another machine: its work is not here."""
    settings = read_settings(run_options(arguments))
    if settings.committed is not None:
        print_refused(settings.committed)  # the settings that are used stand in the run's log
    root = top_level(Path(settings.repo or ".")) or Path.cwd()
    stamps = jsonl.list_run_stamps(root / LOGS)
    stamp = match_run_name(arguments.run, stamps) if stamps and arguments.run not in LATEST else ""
    past = find_previous_sessions(root / LOGS, stamp)
    log = f"{LOGS}/run_{past.stamp}.jsonl"
    if may_be_tracked(root, log):
        raise UsageError(
            f"{log} is committed, so anyone may have written the settings in it; the run is not resumed.",
            hint=f"If it is yours, run `git rm --cached {log}`.",
        )
    return settings.for_resume(past.options), past


def ask_owner_if_any(settings: Settings, stamp: str, kind: str, task: int, **values: Any) -> str:
    """Return the answer of the run's owner, if a process works on it."""
    with open_run_index(Namespace(repo=settings.repo, store=settings.store)) as index, suppress(OwnerGone):
        return ask_run_owner(index, index.find(stamp), kind, task, values)
    return ""


def add_resolve_arguments(parser: CommandParser) -> None:
    add_retry_arguments(parser)
    parser.usage = "%(prog)s [-h] RUN TASK DECISION [options]"
    group = parser.add_argument_group("DECISION, one of").add_mutually_exclusive_group(required=True)
    for action, flag, metavar, text in DECISIONS:
        keywords: dict[str, Any] = {"dest": "decision", "help": text}
        if metavar:
            keywords |= {"metavar": metavar, "type": partial(parse_decision, action)}
        else:
            keywords |= {"action": "store_const", "const": (action, "")}
        if action == "retry":
            keywords |= {"nargs": "?", "const": (action, "")}
        group.add_argument(flag, **keywords)


def parse_decision(action: str, text: str) -> tuple[str, str]:
    if not text and action != "retry":
        raise ArgumentTypeError("expected one argument")
    return action, text


def cmd_resolve(arguments: Namespace, story: Story) -> int:
    """Decide about a task that failed or waits for you. If a process works on the run, it carries the decision out;
    otherwise the run is resumed for it."""
    action, text = arguments.decision
    source = "the dashboard" if os.environ.get(LAUNCH) else TERMINAL
    text = read_brief_file(text) if action == "brief" else text
    decision = Decision(arguments.task, action, text, source=source)
    settings, past = find_run_to_resume(arguments)
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
