"""The question at the terminal: what is to become of a task that waits for a person."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from orchestra.conduct.core.context import People
from orchestra.console import View
from orchestra.model import Decision
from orchestra.plan.draft import Draft
from orchestra.report.plain import plain
from orchestra.report.plans.tree import tree
from orchestra.report.state import TaskReport
from orchestra.settings import Settings

CHOICES = """\
  r [HINT]   try it again, with a hint      a          give it up
  s TEXT     another task in its place      t          do it myself in a worktree
  Enter      decide later (the run ends with exit code 5)
"""
LETTERS = {"r": "retry", "s": "spawn", "a": "abandon", "t": "take"}


def people_at(screen: View, settings: Settings) -> People:
    """Who can be asked: the person at the terminal, if there is one."""
    return People(asker(screen), confirmer(screen)) if is_attended(settings) else People()


def asker(screen: View) -> Callable[[TaskReport], Awaitable[Decision | None]]:
    """What asks about a task that waits."""

    async def ask(task: TaskReport) -> Decision | None:
        with screen.aside():
            print(f"\n{plain(f'{task.agent} ({task.title}) waits for you: {task.asks}')}\n{CHOICES}", file=sys.stderr)
            while True:
                words = (await typed()).strip()
                if not words or (decision := read(task.id, words)):
                    return decision if words else None
                print("That is none of them.", file=sys.stderr)

    return ask


def confirmer(screen: View) -> Callable[[Draft], Awaitable[bool]]:
    """What asks whether a plan is to be carried out."""

    async def confirm(draft: Draft) -> bool:
        with screen.aside():
            print(f"\n{plain(tree(draft, {}))}\n\nCarry it out? y or N", file=sys.stderr)
            return (await typed()).strip().lower() in ("y", "yes")

    return confirm


def is_attended(settings: Settings) -> bool:
    alone = settings.quiet or settings.json or settings.events or os.environ.get("CI")
    return not alone and sys.stdin.isatty() and sys.stderr.isatty()


def read(task: int, words: str) -> Decision | None:
    letter, _, text = words.partition(" ")
    action = LETTERS.get(letter.lower(), "")
    understood = action and (text.strip() or action != "spawn")
    return Decision(task, action, text.strip()) if understood else None


async def typed() -> str:
    """A line; nothing when the terminal is closed. Waited for in the loop, so that Ctrl-C and other terminals count."""
    print("> ", end="", file=sys.stderr, flush=True)
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, readable.set)
    try:
        await readable.wait()
        return sys.stdin.readline()
    finally:
        loop.remove_reader(sys.stdin)
