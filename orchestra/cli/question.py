"""Ask the person at the terminal: what to do with a task that waits, and whether to carry out a plan."""

import asyncio
import os
import sys
import termios
from contextlib import suppress
from functools import partial

from orchestra.cli.command_io import is_attended, terminal_width
from orchestra.conduct.core.context import TerminalPrompts
from orchestra.conduct.session.preflight import Preflight
from orchestra.console import ProgressView
from orchestra.errors import ClusterUnavailable, UsageError
from orchestra.model import Decision
from orchestra.plan.draft import Draft
from orchestra.report.plans.preview import plan_tree
from orchestra.report.sanitize import escape_controls
from orchestra.report.state import TaskReport
from orchestra.settings import Settings
from orchestra.wording import wrap_line

CHOICES = """\
  r [HINT]   try it again, with a hint
  s TEXT     do TEXT in a new task instead
  a          give it up
  t          do it myself in a worktree
  Enter      decide later: the run goes on without it
  ?          explain this
"""
HELP = (
    "After r the agent edits the files again; it gets its earlier attempts and your hint. After s an agent does TEXT "
    "with the same files. After t you get the files in a folder that is named then. A task left for later keeps "
    "waiting, and the run ends with exit code 5. To decide about it at any time, from any terminal:"
)
HERE = "the terminal of the run"
LETTERS = {"r": "retry", "s": "spawn", "a": "abandon", "t": "take"}


def prompts_at_terminal(screen: ProgressView, settings: Settings) -> TerminalPrompts:
    """Return the prompts, none if no person can be asked."""
    if not is_attended(settings, sys.stderr):
        return TerminalPrompts()
    return TerminalPrompts(partial(ask_decision, screen), partial(confirm_plan, screen))


async def ask_decision(screen: ProgressView, task: TaskReport, command: str) -> Decision | None:
    with screen.pause_display():
        print(f"\n{format_question(task)}\n{CHOICES}", file=sys.stderr)
        while line := (await read_typed_line()).strip():
            if line in ("?", "h", "help"):
                print(f"{wrap_at_terminal(HELP)}\n  {command}\n", file=sys.stderr)
            elif decision := parse_decision(task.id, line):
                return decision
            else:
                print(f"That is not one of the choices:\n{CHOICES}", file=sys.stderr)
        return None


def format_question(task: TaskReport) -> str:
    """Return the question, and where the last change is."""
    text = wrap_at_terminal(escape_controls(f"{task.agent} ({task.title}) needs your decision: {task.asks}"))
    return f"{text}\nIts last change: {task.patch}" if task.patch else text


def wrap_at_terminal(text: str) -> str:
    return wrap_line(text, terminal_width(sys.stderr) or 80)


async def confirm_plan(screen: ProgressView, draft: Draft) -> bool:
    with screen.pause_display():
        return await ask_yes(f"\n{escape_controls(plan_tree(draft, {}))}\n\nCarry out this plan?")


async def confirm_dirty_files(preflight: Preflight) -> None:
    """Ask whether to go on although files to be changed have uncommitted changes, if a person can be asked."""
    note, settings = preflight.dirty_note(preflight.known_files), preflight.settings
    question = f"{wrap_at_terminal(escape_controls(note))}\nGo on?"
    if note and not settings.yes and can_ask(settings) and not await ask_yes(question):
        raise UsageError("Nothing was begun, and nothing is paid.")


async def confirm_one_machine(settings: Settings, trouble: ClusterUnavailable) -> bool:
    """Ask whether to run on this machine alone, if a person can be asked."""
    question = f"{wrap_at_terminal(escape_controls(str(trouble)))}\nRun on this machine alone?"
    return can_ask(settings) and await ask_yes(question)


def parse_decision(task: int, line: str) -> Decision | None:
    letter, _, text = line.partition(" ")
    action = LETTERS.get(letter.lower(), "")
    is_valid = action and (text.strip() or action != "spawn")
    return Decision(task, action, text.strip(), source=HERE) if is_valid else None


def can_ask(settings: Settings) -> bool:
    """Whether a person is at the terminal who wants to be asked."""
    return settings.ask != "never" and is_attended(settings, sys.stderr)


async def ask_yes(question: str) -> bool:
    """Ask a question, and return whether the answer is yes."""
    print(f"{question} [y/N]", file=sys.stderr)
    return (await read_typed_line()).strip().lower() in ("y", "yes")


async def read_typed_line() -> str:
    """Read a line; empty if the terminal is closed. The event loop goes on, so Ctrl-C and other terminals work."""
    print("> ", end="", file=sys.stderr, flush=True)
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, readable.set)
    try:
        await readable.wait()
        return sys.stdin.readline()
    except asyncio.CancelledError:
        # What was typed so far must not answer another question. In the background, this would stop the process.
        with suppress(termios.error, OSError):
            if os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp():
                termios.tcflush(sys.stdin, termios.TCIFLUSH)
        print(file=sys.stderr)
        raise
    finally:
        loop.remove_reader(sys.stdin)
