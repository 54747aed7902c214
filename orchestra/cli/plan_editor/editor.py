"""Edit a plan at a terminal: every change is checked and saved at once, and can be undone."""

import dataclasses
import difflib
import shlex
import sys

from orchestra.cli.command_io import print_plain
from orchestra.cli.launch import run_until_done
from orchestra.cli.plan_editor.drafting import run_discussion
from orchestra.cli.plan_editor.edited_plan import EditedPlan, indent_some
from orchestra.errors import OrchestraError, PlanError, UsageError
from orchestra.plan.check import CheckedDraft
from orchestra.plan.draft import Draft
from orchestra.plan.edit import EDITS, HELP, edit_draft
from orchestra.plan.toml_file import format_draft

PROMPT = "plan> "
MORE = """\
  show                          print the plan again
  ask TEXT                      discuss the plan with the model, which may propose changes
  undo                          undo the last change
  approve                       approve the plan, and leave
  quit                          leave; `plan continue` goes on from here
"""


class PlanEditor:
    """An edited plan with the states before each change."""

    def __init__(self, plan: EditedPlan) -> None:
        self.plan = plan
        self.draft = plan.load()
        self.undo_steps: list[Draft] = []

    def execute_line(self, text: str) -> bool:
        """Execute one line. Return false if it ends the editor."""
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
            {"show": self.show, "undo": self.undo}.get(word, lambda: print_plain(HELP + MORE))()
        else:
            commands = [*EDITS, *(line.split()[0] for line in MORE.splitlines()), "help"]
            near = difflib.get_close_matches(word, commands, 1)
            hint = f"Did you mean {near[0]}?" if near else "`help` lists the commands."
            raise UsageError(f"there is no command {word!r}.", hint=hint)
        return True

    def show(self) -> None:
        self.plan.show(self.draft)

    def change_draft(self, draft: Draft) -> None:
        """Save the new plan, and keep the old one for `undo`. The approval was for the old plan, so it ends."""
        self.undo_steps.append(self.draft)
        self.draft = dataclasses.replace(draft, approved=False)
        self.plan.save(self.draft)

    def warn(self) -> None:
        if problems := self.plan.check_with_repository(self.draft).problems:
            print_plain("\n".join(["The plan cannot be executed like this:", *indent_some(problems)]))

    def undo(self) -> None:
        if not self.undo_steps:
            raise UsageError("there is nothing to undo.")
        undone, self.draft = self.draft, self.undo_steps.pop()
        self.plan.save(self.draft)
        print_plain(draft_difference(undone, self.draft))

    def approve(self) -> bool:
        if problem := self.plan.check_with_repository(self.draft).problem_text:
            raise PlanError(f"the plan cannot be executed: {problem}.")
        self.draft = dataclasses.replace(self.draft, approved=True)
        self.plan.save(self.draft)
        print_plain(f"Approved. To carry it out: aider-orchestrator execute {self.plan.name}")
        return True

    def ask_model(self, text: str) -> None:
        if not text:
            raise UsageError("TEXT is missing.", hint="Usage: ask TEXT, a question or a change that you want.")
        answers: list[tuple[str, CheckedDraft | None]] = []
        run_until_done(run_discussion(self.plan.settings, self.plan.path, text, lambda *answer: answers.append(answer)))
        for reply_text, proposed in answers:
            print_plain(f"\n{reply_text.strip()}")
            if proposed and proposed.draft != self.draft:
                print_plain(f"\nIt proposes:\n{draft_difference(self.draft, proposed.draft)}")
                if read_edited_line("Apply this change? [y/N] ").strip().lower() in ("y", "yes"):
                    self.change_draft(proposed.draft)


def run_plan_editor(plan: EditedPlan) -> int:
    editor = PlanEditor(plan)
    editor.show()
    print_plain("\n`help` lists the commands. Every change is saved at once.")
    while True:
        try:
            text = read_edited_line(PROMPT).strip()
            if text and not editor.execute_line(text):
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
    """Return the changed lines of the plan's file."""
    lines = difflib.unified_diff(
        format_draft(old, "plan").splitlines(), format_draft(new, "plan").splitlines(), lineterm="", n=1
    )
    changes = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
    return "\n".join(f"  {line}" for line in changes) or "  nothing changes"
