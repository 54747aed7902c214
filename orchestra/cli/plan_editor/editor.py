"""Talk about a plan at a terminal: every change is checked and saved at once, and can be undone."""

import dataclasses
import difflib
import shlex
import sys

from orchestra.cli.command_io import print_plain
from orchestra.cli.plan_editor.drafting import run_discussion
from orchestra.cli.plan_editor.edited_plan import EditedPlan, indent_some
from orchestra.cli.start import run_until_done
from orchestra.errors import OrchestraError, PlanError, UsageError
from orchestra.plan.check import CheckedDraft
from orchestra.plan.draft import Draft
from orchestra.plan.edit import EDITS, HELP, edit_draft
from orchestra.plan.toml_file import format_draft

PROMPT = "plan> "
MORE = """\
  show                                  the plan again
  ask TEXT                              talk with the model, which may propose changes
  undo                                  take the last change back
  approve                               say yes to it, and leave
  quit                                  leave; `plan continue` goes on from here
"""


class PlanEditor:
    """The plan as it is, and as it was before each change."""

    def __init__(self, plan: EditedPlan) -> None:
        self.plan = plan
        self.draft = plan.load()
        self.undo_steps: list[Draft] = []

    def execute_line(self, text: str) -> bool:
        """Carry out one line; false when that was the last."""
        word, _, rest = text.partition(" ")
        if word in ("quit", "exit", "q"):
            return False
        if word == "approve":
            return not self.approve()
        if word == "ask":
            self.ask_model(rest.strip())
        elif word in EDITS:
            self.change_draft(edit_draft(self.draft, split_words(text)))
            print_plain(draft_difference(self.undo_steps[-1], self.draft))
            self.warn()
        elif word in ("show", "undo", "help", "?"):
            {"show": self.show, "undo": self.undo, "help": print_help, "?": print_help}[word]()
        else:
            raise UsageError(f"there is no {word!r} here.", hint="`help` tells what there is.")
        return True

    def show(self) -> None:
        self.plan.show(self.draft)

    def change_draft(self, draft: Draft) -> None:
        """The plan is another one now; the old one is kept for `undo`, and a yes to it does not count any more."""
        self.undo_steps.append(self.draft)
        self.draft = dataclasses.replace(draft, approved=False)
        self.plan.save(self.draft)

    def warn(self) -> None:
        if problems := self.plan.check_with_repository(self.draft).problems:
            print_plain("\n".join(["It cannot be carried out like this:", *indent_some(problems)]))

    def undo(self) -> None:
        if not self.undo_steps:
            raise UsageError("there is nothing to take back.")
        gone, self.draft = self.draft, self.undo_steps.pop()
        self.plan.save(self.draft)
        print_plain(draft_difference(gone, self.draft))

    def approve(self) -> bool:
        if problem := self.plan.check_with_repository(self.draft).problem_text:
            raise PlanError(f"it cannot be carried out: {problem}.")
        self.draft = dataclasses.replace(self.draft, approved=True)
        self.plan.save(self.draft)
        print_plain(f"Approved. Carry it out: aider-orchestrator execute {self.plan.name}")
        return True

    def ask_model(self, text: str) -> None:
        if not text:
            raise UsageError("say what you want to know or have changed: ask TEXT")
        heard: list[tuple[str, CheckedDraft | None]] = []
        asking = run_discussion(self.plan.settings, self.plan.path, text, lambda say, plan: heard.append((say, plan)))
        run_until_done(asking)
        for words, proposed in heard:
            print_plain(f"\n{words.strip()}")
            if proposed and proposed.draft != self.draft:
                print_plain(f"\nIt proposes:\n{draft_difference(self.draft, proposed.draft)}")
                if read_edited_line("Take it? [y/N] ").strip().lower() in ("y", "yes"):
                    self.change_draft(proposed.draft)


def run_plan_editor(plan: EditedPlan) -> int:
    session = PlanEditor(plan)
    session.show()
    print_plain("\n`help` tells what you can say. Every change is saved at once.")
    while True:
        try:
            text = read_edited_line(PROMPT).strip()
            if text and not session.execute_line(text):
                return 0
        except EOFError:
            return 0
        except OrchestraError as error:
            print_plain(str(error))


def read_edited_line(prompt: str) -> str:
    if sys.stdin.isatty():
        import readline  # noqa: F401  input() edits lines with it
    return input(prompt)


def split_words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{text!r}: {str(error).lower()}.") from None


def draft_difference(old: Draft, new: Draft) -> str:
    """What changed of the plan's file, without what surrounds it."""
    lines = difflib.unified_diff(
        format_draft(old, "plan").splitlines(), format_draft(new, "plan").splitlines(), lineterm="", n=1
    )
    kept = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
    return "\n".join(f"  {line}" for line in kept) or "  nothing changes"


def print_help() -> None:
    print_plain(HELP + MORE)
