"""The question at the terminal: what is to become of a task that waits for a person."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from orchestra.conduct.core.context import TerminalPrompts
from orchestra.console import ProgressView
from orchestra.model import Decision
from orchestra.plan.draft import Draft
from orchestra.report.plans.plan_tree import plan_tree
from orchestra.report.state import TaskReport
from orchestra.report.terminal_text import escape_controls
from orchestra.settings import Settings

CHOICES = """\
  r [HINT]   try it again, with a hint      a          give it up
  s TEXT     another task in its place      t          do it myself in a worktree
  Enter      decide later (the run ends with exit code 5)
"""
LETTERS = {"r": "retry", "s": "spawn", "a": "abandon", "t": "take"}


def prompts_at_terminal(screen: ProgressView, settings: Settings) -> TerminalPrompts:
    """Who can be asked: the person at the terminal, if there is one."""
    return (
        TerminalPrompts(make_task_prompt(screen), make_plan_prompt(screen))
        if is_attended(settings)
        else TerminalPrompts()
    )


def make_task_prompt(screen: ProgressView) -> Callable[[TaskReport], Awaitable[Decision | None]]:
    """What asks about a task that waits."""

    async def ask(task: TaskReport) -> Decision | None:
        with screen.pause_display():
            print(
                f"\n{escape_controls(f'{task.agent} ({task.title}) waits for you: {task.asks}')}\n{CHOICES}",
                file=sys.stderr,
            )
            while True:
                words = (await read_typed_line()).strip()
                if not words or (decision := parse_decision(task.id, words)):
                    return decision if words else None
                print("That is none of them.", file=sys.stderr)

    return ask


def make_plan_prompt(screen: ProgressView) -> Callable[[Draft], Awaitable[bool]]:
    """What asks whether a plan is to be carried out."""

    async def confirm(draft: Draft) -> bool:
        with screen.pause_display():
            print(f"\n{escape_controls(plan_tree(draft, {}))}\n\nCarry it out? y or N", file=sys.stderr)
            return (await read_typed_line()).strip().lower() in ("y", "yes")

    return confirm


def is_attended(settings: Settings) -> bool:
    alone = settings.quiet or settings.json or settings.events or os.environ.get("CI")
    return not alone and sys.stdin.isatty() and sys.stderr.isatty()


def parse_decision(task: int, words: str) -> Decision | None:
    letter, _, text = words.partition(" ")
    action = LETTERS.get(letter.lower(), "")
    understood = action and (text.strip() or action != "spawn")
    return Decision(task, action, text.strip()) if understood else None


async def read_typed_line() -> str:
    """A line; nothing when the terminal is closed. Waited for in the loop, so that Ctrl-C and other terminals count."""
    print("> ", end="", file=sys.stderr, flush=True)
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, readable.set)
    try:
        await readable.wait()
        return sys.stdin.readline()
    finally:
        loop.remove_reader(sys.stdin)
