"""Talk about a plan at a terminal: every change is checked and saved at once, and can be undone."""

import asyncio
import dataclasses
import difflib
import shlex
import sys

from orchestra.cli.plan_editor.desk import Desk, some
from orchestra.cli.plan_editor.drafting import Stoppable, discussion
from orchestra.cli.words import say
from orchestra.errors import OrchestraError, PlanError, UsageError
from orchestra.plan.check import Checked
from orchestra.plan.draft import Draft
from orchestra.plan.edit import EDITS, HELP, changed
from orchestra.plan.file import write

PROMPT = "plan> "
MORE = """\
  show                                  the plan again
  ask TEXT                              talk with the model, which may propose changes
  undo                                  take the last change back
  approve                               say yes to it, and leave
  quit                                  leave; `plan continue` goes on from here
"""


class Session:
    """The plan as it is, and as it was before each change."""

    def __init__(self, desk: Desk, stoppable: Stoppable) -> None:
        self.desk = desk
        self.stoppable = stoppable
        self.draft = desk.load()
        self.before: list[Draft] = []

    def obey(self, text: str) -> bool:
        """Carry out one line; false when that was the last."""
        word, _, rest = text.partition(" ")
        if word in ("quit", "exit", "q"):
            return False
        if word == "approve":
            return not self.approve()
        if word == "ask":
            self.ask(rest.strip())
        elif word in EDITS:
            self.put(changed(self.draft, split(text)))
            say(difference(self.before[-1], self.draft))
            self.warn()
        elif word in ("show", "undo", "help", "?"):
            {"show": self.show, "undo": self.undo, "help": tell_help, "?": tell_help}[word]()
        else:
            raise UsageError(f"there is no {word!r} here.", hint="`help` tells what there is.")
        return True

    def show(self) -> None:
        self.desk.show(self.draft)

    def put(self, draft: Draft) -> None:
        """The plan is another one now; the old one is kept for `undo`, and a yes to it does not count any more."""
        self.before.append(self.draft)
        self.draft = dataclasses.replace(draft, approved=False)
        self.desk.save(self.draft)

    def warn(self) -> None:
        if problems := self.desk.checked(self.draft).problems:
            say("\n".join(["It cannot be carried out like this:", *some(problems)]))

    def undo(self) -> None:
        if not self.before:
            raise UsageError("there is nothing to take back.")
        gone, self.draft = self.draft, self.before.pop()
        self.desk.save(self.draft)
        say(difference(gone, self.draft))

    def approve(self) -> bool:
        if problem := self.desk.checked(self.draft).complaint:
            raise PlanError(f"it cannot be carried out: {problem}.")
        self.draft = dataclasses.replace(self.draft, approved=True)
        self.desk.save(self.draft)
        say(f"Approved. Carry it out: aider-orchestrator execute {self.desk.name}")
        return True

    def ask(self, text: str) -> None:
        if not text:
            raise UsageError("say what you want to know or have changed: ask TEXT")
        heard: list[tuple[str, Checked | None]] = []
        asking = discussion(self.desk.settings, self.desk.path, text, lambda say, plan: heard.append((say, plan)))
        asyncio.run(self.stoppable(asking))  # type: ignore[arg-type]
        for words, proposed in heard:
            say(f"\n{words.strip()}")
            if proposed and proposed.draft != self.draft:
                say(f"\nIt proposes:\n{difference(self.draft, proposed.draft)}")
                if heard_line("Take it? [y/N] ").strip().lower() in ("y", "yes"):
                    self.put(proposed.draft)


def converse(desk: Desk, stoppable: Stoppable) -> int:
    session = Session(desk, stoppable)
    session.show()
    say("\n`help` tells what you can say. Every change is saved at once.")
    while True:
        try:
            text = heard_line(PROMPT).strip()
            if text and not session.obey(text):
                return 0
        except EOFError:
            return 0
        except OrchestraError as error:
            say(str(error))


def heard_line(prompt: str) -> str:
    if sys.stdin.isatty():
        import readline  # noqa: F401  input() edits lines with it
    return input(prompt)


def split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{text!r}: {str(error).lower()}.") from None


def difference(old: Draft, new: Draft) -> str:
    """What changed of the plan's file, without what surrounds it."""
    lines = difflib.unified_diff(write(old, "plan").splitlines(), write(new, "plan").splitlines(), lineterm="", n=1)
    kept = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
    return "\n".join(f"  {line}" for line in kept) or "  nothing changes"


def tell_help() -> None:
    say(HELP + MORE)
