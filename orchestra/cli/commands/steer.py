"""Ask a run that is under way: its owner is told through the store, and its answer is waited for."""

import os
import secrets
import signal
import time
from argparse import ArgumentTypeError
from typing import Any

from orchestra.cli.command_io import CommandParser, print_plain
from orchestra.cli.commands.logs import parse_task_number
from orchestra.cli.find import KnownRun, RunIndex, open_run_index
from orchestra.errors import OrchestraError, RequestRefused, UsageError
from orchestra.events import CommandAnswered
from orchestra.journal.ownership import describe_owner, machine_identity
from orchestra.journal.store import Owner, Store

ANSWERED = 5.0  # seconds; an owner looks several times in each
STOPPED = 30.0
CANCEL_USAGE = """usage: aider-orchestrator cancel RUN [TASK] [--repo PATH] [--store URL]

Stop a run that is under way in another terminal, with all its processes; or only one of its tasks.
What is finished is kept, and `resume` (or `retry RUN TASK`) takes it up again.
"""
INTERRUPT_USAGE = """usage: aider-orchestrator interrupt RUN TASK [--repo PATH] [--store URL]

Stop one task of a run that is under way, and let it wait until you decide about it with `resolve`. Others go on.
"""


def cmd_cancel(argv: list[str]) -> int:
    words = CommandParser(CANCEL_USAGE)
    words.add_argument("run")
    words.add_argument("task", nargs="?", type=parse_task_number)
    given = words.parse(argv)
    with open_run_index(given) as here:
        known = here.find(given.run)
        holder = here.find_owner(known)
        if holder is None:
            raise UsageError(f"nobody is at work on run {known.name}.", hint=f"To take it up: resume {known.name}.")
        print_plain(
            ask_run_owner(here.store, known.key, known.name, "cancel", given.task) or kill_owner(holder, given.task)
        )
        if given.task is None:
            wait_for_run_end(here, known, holder)
    return 0


def cmd_interrupt(argv: list[str]) -> int:
    words = CommandParser(INTERRUPT_USAGE)
    words.add_argument("run")
    words.add_argument("task", type=parse_task_number)
    given = words.parse(argv)
    with open_run_index(given) as here:
        known = here.find(given.run)
        if here.find_owner(known) is None:
            hint = f"To decide about one of its tasks: resolve {known.name} {given.task}."
            raise UsageError(f"nobody is at work on run {known.name}.", hint=hint)
        answer = ask_run_owner(here.store, known.key, known.name, "interrupt", given.task)
        print_plain(answer or f"The run did not answer within {ANSWERED:.0f} s.")
    return 0 if answer else 1


def split_leading_words(argv: list[str], usage: str, count: int) -> tuple[list[str], list[str]]:
    """The words before the first flag, of which there must be so many, and the flags: those of a run."""
    words = next((n for n, word in enumerate(argv) if word.startswith("-")), len(argv))
    if words != count:
        raise UsageError(f"say it as in: {usage.splitlines()[0].removeprefix('usage: ')}")
    return argv[:words], argv[words:]


def parse_task_argument(task: str) -> int:
    try:
        return parse_task_number(task)
    except ArgumentTypeError as error:
        raise UsageError(f"{error}.") from None


def ask_run_owner(store: Store, key: str, run: str, kind: str, task: int | None, **said: Any) -> str:
    """The owner's answer, or nothing when it does not give one. Raises Refused where it says no."""
    token = secrets.token_hex(8)
    store.post_command(key, run, kind, task, {"token": token} | said)
    deadline = time.monotonic() + ANSWERED
    while time.monotonic() < deadline:
        for event in store.read_events(key, run, kinds=(CommandAnswered.kind,)):
            answered = event.payload
            if isinstance(answered, CommandAnswered) and answered.token == token:
                if answered.refused:
                    raise RequestRefused(answered.answer)
                return answered.answer
        time.sleep(0.05)
    return ""


def kill_owner(holder: Owner, task: int | None) -> str:
    """An owner that does not answer hangs. On this machine it can be killed; what it started then ends by itself."""
    if task is not None or holder.host != machine_identity():
        raise OrchestraError(f"{describe_owner(holder)} has not answered within {ANSWERED:.0f} s.")
    os.kill(holder.pid, signal.SIGKILL)
    return f"{describe_owner(holder)} did not answer and was killed."


def wait_for_run_end(here: RunIndex, known: KnownRun, holder: Owner) -> None:
    deadline = time.monotonic() + STOPPED
    while time.monotonic() < deadline:
        now = here.find_owner(known)
        if now is None or now.owner != holder.owner:
            print_plain(f"Run {known.name} has stopped. To take it up again: resume {known.name}")
            return
        time.sleep(0.05)
    raise OrchestraError(f"{describe_owner(holder)} is still at work on run {known.name} after {STOPPED:.0f} s.")
