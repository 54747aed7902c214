"""`resume`, `retry` and `restart`, and the past run that they name."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from orchestra.cli.commands.steer import ask, leading, number_of
from orchestra.cli.consent import tell_refused
from orchestra.cli.find import LATEST, chosen, looking
from orchestra.cli.load import settings_of
from orchestra.cli.start import Story, run_until_done
from orchestra.conduct.core.where import LOGS
from orchestra.conduct.previous.previous import Past, find_past
from orchestra.errors import UsageError
from orchestra.journal import jsonl
from orchestra.settings import Settings
from orchestra.workspace.git import top_level
from orchestra.workspace.tracked import may_be_anyones

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


def resume(argv: list[str], story: Story) -> int:
    """Take up the named run, or the latest one, with its own settings but for the flags given now."""
    if "--help" in argv or "-h" in argv:
        print(RESUME_USAGE, end="")
        return 0
    stamp, flags = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else ("", argv)
    settings, past = find(stamp, flags)
    return run_until_done(story(settings.resumed(past.options), past=past))


def retry(argv: list[str], story: Story) -> int:
    """One failed task again: by the run itself when it is under way, else by taking it up for this task alone."""
    if "--help" in argv or "-h" in argv:
        print(RETRY_USAGE, end="")
        return 0
    (stamp, task), flags = leading(argv, RETRY_USAGE, 2)
    settings, past = find(stamp, flags)
    if answer := told_there(settings.resumed(past.options), past.stamp, "retry", number_of(task)):
        print(answer)
        return 0
    return run_until_done(story(settings.resumed(past.options), past=past.again(number_of(task))))


def restart(argv: list[str], story: Story) -> int:
    """A new run with the settings of an old one."""
    if "--help" in argv or "-h" in argv:
        print(RESTART_USAGE, end="")
        return 0
    (stamp,), flags = leading(argv, RESTART_USAGE, 1)
    settings, past = find(stamp, flags)
    return run_until_done(story(settings.resumed(past.options)))


def find(stamp: str, flags: list[str]) -> tuple[Settings, Past]:
    """The run is one of this place: whatever runs of other machines a shared store tells of, their work is not here."""
    settings = settings_of(flags)
    if settings.committed is not None:
        tell_refused(settings.committed)  # what is used stands in the run's own log
    root = top_level(Path(settings.repo or ".")) or Path.cwd()
    stamps = jsonl.stamps(root / LOGS)
    past = find_past(root / LOGS, chosen(stamp, stamps) if stamps and stamp not in LATEST else "")
    log = f"{LOGS}/run_{past.stamp}.jsonl"
    if may_be_anyones(root, log):
        hint = f"If it is yours, `git rm --cached {log}` says so."
        raise UsageError(
            f"{log} is committed, so anyone may have written the settings in it; it is not taken up.", hint=hint
        )
    return settings, past


def told_there(settings: Settings, stamp: str, kind: str, task: int, **said: Any) -> str:
    """What the run's owner answers, if somebody is at work on it."""
    with looking(Namespace(repo=settings.repo, store=settings.store)) as here:
        at_work = here.owner(known := here.find(stamp))
        return ask(here.store, known.key, known.name, kind, task, **said) if at_work else ""
