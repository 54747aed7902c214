"""Commands to a run that goes on: sent to its owner through the store, which answers done, or refused and why."""

import os
import secrets
import signal
import time
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from orchestra.cli.command_io import (
    add_all,
    add_repository_arguments,
    add_required_run,
    add_required_task,
    add_task_argument,
    parse_task_number,
    print_plain,
)
from orchestra.cli.find import KnownRun, RunIndex, open_run_index
from orchestra.cli.parser import CommandParser
from orchestra.errors import OrchestraError, OwnerGone, RequestRefused, UsageError
from orchestra.events import CommandAnswered
from orchestra.journal.ownership import describe_owner, machine_identity
from orchestra.journal.store import Owner
from orchestra.plan.draft import PRIORITIES

ANSWER_TIMEOUT = 5.0  # seconds; an owner looks for commands several times a second
LOOK_PAUSE = 0.05
TERMINAL = "another terminal"  # where a command comes from
STOP_TIMEOUT = 30.0


add_cancel_arguments = add_all(add_required_run, add_repository_arguments, add_task_argument)
add_interrupt_arguments = add_all(add_required_run, add_repository_arguments, add_required_task)
add_pause_arguments = add_unpause_arguments = add_replan_arguments = add_all(add_required_run, add_repository_arguments)


def cmd_cancel(arguments: Namespace) -> None:
    """Stop a run that goes on in another terminal, with all its processes, or only one of its tasks. What is finished
    is kept; `resume` (or `retry RUN TASK`) continues it."""
    with open_run_index(arguments) as index:
        run, task = index.find(arguments.run), arguments.task
        owner = index.find_owner(run)
        if owner is None:
            hint = f"To continue it: aider-orchestrator resume {run.name}"
            raise UsageError(f"no process works on run {run.name}.", hint=hint)
        try:
            print_plain(ask_run_owner(index, run, "cancel", task) or kill_owner(owner, task))
        except OwnerGone:
            print_plain(f"Run {run.name} has ended by itself.")
            return
        if task is None:
            wait_for_run_end(index, run, owner)


def cmd_interrupt(arguments: Namespace) -> int:
    """Stop one task of a run that goes on, until you decide about it with `resolve`. The other tasks go on."""
    return steer_run(arguments, "interrupt", arguments.task)


def cmd_pause(arguments: Namespace) -> int:
    """Let a run begin no further attempt until `unpause`. Attempts that are running end, and are kept."""
    return steer_run(arguments, "pause")


def cmd_unpause(arguments: Namespace) -> int:
    """Let a paused run go on."""
    return steer_run(arguments, "unpause")


def cmd_replan(arguments: Namespace) -> int:
    """Work out anew what the tasks need that have not begun: a task begins after those whose files its own files
    import, and waits no longer for a task that was given up. No model is asked."""
    return steer_run(arguments, "replan")


def add_budget_arguments(parser: CommandParser) -> None:
    add_required_run(parser)
    parser.add_argument("dollars", metavar="DOLLARS", type=float, help="what the run may cost in all")
    add_repository_arguments(parser)


def cmd_budget(arguments: Namespace) -> int:
    """Raise or lower the budget of a run that goes on. Requests that wait are decided anew, and a later `resume`
    keeps it."""
    return steer_run(arguments, "budget", dollars=arguments.dollars)


def add_task_options(parser: CommandParser) -> None:
    parser.add_argument("--title", metavar="TEXT", help="what it achieves, in one line")
    parser.add_argument("--priority", choices=list(PRIORITIES), help="which tasks begin first")
    parser.add_argument("--files", metavar="PATH", nargs="+", help="the files that it changes or creates")
    parser.add_argument("--link", metavar="N", nargs="+", type=parse_task_number, help="begin only after these tasks")


def add_add_arguments(parser: CommandParser) -> None:
    parser.usage = "%(prog)s RUN TEXT --files PATH ... [options]"
    add_required_run(parser)
    parser.add_argument("brief", metavar="TEXT", help="everything that the agent must know and do")
    parser.add_argument("--role", metavar="ROLE", help="the role of the agent that does it")
    add_task_options(parser)
    add_repository_arguments(parser)


def cmd_add(arguments: Namespace) -> int:
    """Add a task to a run that goes on. It begins when a slot is free and the linked tasks are done."""
    return steer_run(arguments, "add", **given_values(arguments, "brief", "role", "title", "priority", "files", "link"))


def add_edit_arguments(parser: CommandParser) -> None:
    parser.usage = "%(prog)s RUN TASK [options]"
    add_required_run(parser)
    add_required_task(parser)
    parser.add_argument("--brief", metavar="TEXT", help="everything that the agent must know and do")
    add_task_options(parser)
    parser.add_argument("--unlink", metavar="N", nargs="+", type=parse_task_number, help="do not wait for these tasks")
    parser.add_argument("--abandon", action="store_true", help="give the task up")
    add_repository_arguments(parser)


def cmd_edit(arguments: Namespace) -> int:
    """Change a task of a run that goes on and has not begun the task. About one that failed decides `resolve`."""
    values = given_values(arguments, "brief", "title", "priority", "files", "link", "unlink")
    if arguments.abandon and values:
        raise UsageError("--abandon excludes changes of the task.")
    return steer_run(arguments, "abandon" if arguments.abandon else "edit", arguments.task, **values)


def given_values(arguments: Namespace, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(arguments, name))}


def steer_run(arguments: Namespace, kind: str, task: int | None = None, **values: Any) -> int:
    """Send a command to the process that works on the run, and print its answer."""
    with open_run_index(arguments) as index:
        run = index.find(arguments.run)
        command = f"resolve {run.name} {task}" if task else f"resume {run.name}"
        try:
            answer = ask_run_owner(index, run, kind, task, values)
        except OwnerGone as gone:
            raise UsageError(str(gone), hint=f"Go on: aider-orchestrator {command}") from None
    if not answer:
        raise OrchestraError(f"The run did not answer within {ANSWER_TIMEOUT:.0f} s.")
    print_plain(answer)
    return 0


def ask_run_owner(
    index: RunIndex,
    run: KnownRun,
    kind: str,
    task: int | None,
    values: Mapping[str, Any] | None = None,
    *,
    timeout: float = ANSWER_TIMEOUT,
    source: str = TERMINAL,
) -> str:
    """Return the owner's answer, or nothing if none comes in time. Raises RequestRefused, and OwnerGone if no process
    works on the run or its owner ended without an answer.

    The time is counted in looks, because on a busy machine these are as slow as the owner's.
    """
    owner, token = index.find_owner(run), secrets.token_hex(8)
    if owner is None:
        raise OwnerGone(f"no process works on run {run.name}.")
    index.store.post_command(run.key, run.name, kind, task, {**(values or {}), "token": token, "source": source})
    for _ in range(round(timeout / LOOK_PAUSE)):
        now = index.find_owner(run)  # before its answers are read: it may answer and end
        for event in index.store.read_events(run.key, run.name, kinds=(CommandAnswered.kind,)):
            answer = event.payload
            if isinstance(answer, CommandAnswered) and answer.token == token:
                if answer.refused:
                    raise RequestRefused(answer.answer)
                return answer.answer
        if now is None or now.owner != owner.owner:
            raise OwnerGone(f"run {run.name} ended before it took the command.")
        time.sleep(LOOK_PAUSE)
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
