"""`resume`, `retry` and `restart`, and the past run that they name."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from orchestra.cli.commands.steer import ask_run_owner, parse_task_argument, split_leading_words
from orchestra.cli.consent import print_refused
from orchestra.cli.find import LATEST, match_run_name, open_run_index
from orchestra.cli.load import read_settings
from orchestra.cli.start import Story, run_until_done
from orchestra.conduct.core.locations import LOGS
from orchestra.conduct.previous.sessions import PreviousSessions, find_previous_sessions
from orchestra.errors import UsageError
from orchestra.journal import jsonl
from orchestra.settings import Settings
from orchestra.workspace.git import top_level
from orchestra.workspace.tracked import may_be_tracked

RESUME_USAGE = """usage: aider-orchestrator resume [RUN] [options]

Take up a run that was stopped or died: the latest one, or RUN (the timestamp in its files' names).
Finished work is kept, failed tasks are tried again, and a reply that was paid for is not asked for again.
It goes on with the settings of the run; a flag given now changes one of them.
"""
RETRY_USAGE = """usage: aider-orchestrator retry RUN TASK [options]

Have a failed task tried again, and no other: by the run itself when it is under way, else by taking it up.
"""
RESTART_USAGE = """usage: aider-orchestrator restart RUN [options]

Do a run anew from the start, with its own settings but for the flags given now. Nothing of it is used again.
"""


def cmd_resume(argv: list[str], story: Story) -> int:
    """Take up the named run, or the latest one, with its own settings but for the flags given now."""
    if "--help" in argv or "-h" in argv:
        print(RESUME_USAGE, end="")
        return 0
    stamp, flags = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else ("", argv)
    settings, past = find_run_to_resume(stamp, flags)
    return run_until_done(story(settings.for_resume(past.options), past=past))


def cmd_retry(argv: list[str], story: Story) -> int:
    """One failed task again: by the run itself when it is under way, else by taking it up for this task alone."""
    if "--help" in argv or "-h" in argv:
        print(RETRY_USAGE, end="")
        return 0
    (stamp, task), flags = split_leading_words(argv, RETRY_USAGE, 2)
    settings, past = find_run_to_resume(stamp, flags)
    if answer := ask_owner_if_any(settings.for_resume(past.options), past.stamp, "retry", parse_task_argument(task)):
        print(answer)
        return 0
    return run_until_done(story(settings.for_resume(past.options), past=past.retry_only(parse_task_argument(task))))


def cmd_restart(argv: list[str], story: Story) -> int:
    """A new run with the settings of an old one."""
    if "--help" in argv or "-h" in argv:
        print(RESTART_USAGE, end="")
        return 0
    (stamp,), flags = split_leading_words(argv, RESTART_USAGE, 1)
    settings, past = find_run_to_resume(stamp, flags)
    return run_until_done(story(settings.for_resume(past.options)))


def find_run_to_resume(stamp: str, flags: list[str]) -> tuple[Settings, PreviousSessions]:
    """The run is one of this place: whatever runs of other machines a shared store tells of, their work is not here."""
    settings = read_settings(flags)
    if settings.committed is not None:
        print_refused(settings.committed)  # what is used stands in the run's own log
    root = top_level(Path(settings.repo or ".")) or Path.cwd()
    stamps = jsonl.list_run_stamps(root / LOGS)
    past = find_previous_sessions(root / LOGS, match_run_name(stamp, stamps) if stamps and stamp not in LATEST else "")
    log = f"{LOGS}/run_{past.stamp}.jsonl"
    if may_be_tracked(root, log):
        hint = f"If it is yours, `git rm --cached {log}` says so."
        raise UsageError(
            f"{log} is committed, so anyone may have written the settings in it; it is not taken up.", hint=hint
        )
    return settings, past


def ask_owner_if_any(settings: Settings, stamp: str, kind: str, task: int, **said: Any) -> str:
    """What the run's owner answers, if somebody is at work on it."""
    with open_run_index(Namespace(repo=settings.repo, store=settings.store)) as here:
        at_work = here.find_owner(known := here.find(stamp))
        return ask_run_owner(here.store, known.key, known.name, kind, task, **said) if at_work else ""
