"""`cancel` and `interrupt`: send a command to the owner of a run through the store, and wait for its answer."""

import os
import secrets
import signal
import time
from argparse import Namespace
from typing import Any

from orchestra.cli.command_io import (
    add_all,
    add_repository_arguments,
    add_required_run,
    add_required_task,
    add_task_argument,
    print_plain,
)
from orchestra.cli.find import KnownRun, RunIndex, open_run_index
from orchestra.errors import OrchestraError, RequestRefused, UsageError
from orchestra.events import CommandAnswered
from orchestra.journal.ownership import describe_owner, machine_identity
from orchestra.journal.store import Owner, Store

ANSWER_TIMEOUT = 5.0  # seconds; an owner looks for commands several times a second
STOP_TIMEOUT = 30.0


add_cancel_arguments = add_all(add_required_run, add_repository_arguments, add_task_argument)
add_interrupt_arguments = add_all(add_required_run, add_repository_arguments, add_required_task)


def cmd_cancel(arguments: Namespace) -> None:
    """Stop a run that goes on in another terminal, with all its processes, or only one of its tasks. What is finished
    is kept; `resume` (or `retry RUN TASK`) continues it."""
    with open_run_index(arguments) as index:
        run, task = index.find(arguments.run), arguments.task
        owner = index.find_owner(run)
        if owner is None:
            hint = f"To continue it: aider-orchestrator resume {run.name}"
            raise UsageError(f"no process works on run {run.name}.", hint=hint)
        print_plain(ask_run_owner(index.store, run.key, run.name, "cancel", task) or kill_owner(owner, task))
        if task is None:
            wait_for_run_end(index, run, owner)


def cmd_interrupt(arguments: Namespace) -> int:
    """Stop one task of a run that goes on, until you decide about it with `resolve`. The other tasks go on."""
    with open_run_index(arguments) as index:
        run = index.find(arguments.run)
        if index.find_owner(run) is None:
            hint = f"To decide about one of its tasks: aider-orchestrator resolve {run.name} {arguments.task}"
            raise UsageError(f"no process works on run {run.name}.", hint=hint)
        answer = ask_run_owner(index.store, run.key, run.name, "interrupt", arguments.task)
        print_plain(answer or f"The run did not answer within {ANSWER_TIMEOUT:.0f} s.")
    return 0 if answer else 1


def ask_run_owner(store: Store, key: str, run: str, kind: str, task: int | None, **values: Any) -> str:
    """Return the owner's answer, or nothing if none comes in time. Raises RequestRefused."""
    token = secrets.token_hex(8)
    store.post_command(key, run, kind, task, {"token": token} | values)
    deadline = time.monotonic() + ANSWER_TIMEOUT
    while time.monotonic() < deadline:
        for event in store.read_events(key, run, kinds=(CommandAnswered.kind,)):
            answer = event.payload
            if isinstance(answer, CommandAnswered) and answer.token == token:
                if answer.refused:
                    raise RequestRefused(answer.answer)
                return answer.answer
        time.sleep(0.05)
    return ""


def kill_owner(owner: Owner, task: int | None) -> str:
    """Kill an owner that does not answer, if it is on this machine. The processes that it started then end too."""
    if task is not None or owner.host != machine_identity():
        raise OrchestraError(f"{describe_owner(owner)} has not answered within {ANSWER_TIMEOUT:.0f} s.")
    os.kill(owner.pid, signal.SIGKILL)
    return f"{describe_owner(owner)} did not answer and was killed."


def wait_for_run_end(index: RunIndex, run: KnownRun, owner: Owner) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT
    while time.monotonic() < deadline:
        current = index.find_owner(run)
        if current is None or current.owner != owner.owner:
            print_plain(f"Run {run.name} has stopped. To continue it: aider-orchestrator resume {run.name}")
            return
        time.sleep(0.05)
    raise OrchestraError(f"{describe_owner(owner)} still works on run {run.name} after {STOP_TIMEOUT:.0f} s.")
