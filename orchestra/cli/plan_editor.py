"""Make a plan, and edit it at a terminal: every change is checked and saved at once, and can be undone."""

import asyncio
import dataclasses
import difflib
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from orchestra.answers import prd_format
from orchestra.cli.command_io import print_plain
from orchestra.cli.launch import run_until_done
from orchestra.conduct.core.context import Run
from orchestra.conduct.core.deadline import enforce_deadline
from orchestra.conduct.core.locations import find_repository
from orchestra.conduct.core.models import Project, estimate_with_roles
from orchestra.conduct.deliver.finish import finish_run
from orchestra.conduct.planning import plan_files
from orchestra.conduct.planning.lead import (
    discuss_draft,
    emit_drafted,
    make_draft,
    plan_from_draft,
    prd_of_plan,
    survey_world,
)
from orchestra.conduct.planning.plan_files import is_users_plan
from orchestra.conduct.planning.prd import read_prd
from orchestra.conduct.session.open_run import open_run
from orchestra.conduct.session.preflight import run_plan_preflight
from orchestra.conduct.session.warmup import start_warmup
from orchestra.console import print_result, watch_progress
from orchestra.errors import MissingKey, OrchestraError, PlanError, UsageError, signal_exit_code
from orchestra.model import Prd
from orchestra.plan.check import CheckedDraft, check_draft
from orchestra.plan.draft import Draft
from orchestra.plan.edit import EDITS, HELP, edit_draft
from orchestra.plan.targets import Targets
from orchestra.plan.toml_file import format_draft
from orchestra.report.phrases import plural
from orchestra.report.plans.estimate import estimate_phrase
from orchestra.report.plans.preview import plan_tree
from orchestra.settings import Settings
from orchestra.workspace.repository import Repository

NO_PLANNER = (
    "There is no Google key for planning: set GOOGLE_API_KEY (or --api-key), or give the files to change "
    "(--files, with --no-prd or --prd FILE), which are then divided by what belongs together."
)
MAX_LINES = 12
MORE = """\
  show                          print the plan again
  ask TEXT                      discuss the plan with the model, which may propose changes
  undo                          undo the last change
  approve                       approve the plan, and leave
  execute                       approve the plan, and carry it out at once
  quit                          leave; `plan continue` goes on from here
"""


async def run_planning(settings: Settings, save_plan: Callable[[CheckedDraft], Path], *, single: bool = False) -> int:
    """Make a plan for the change. `save_plan` returns where it saved the plan."""

    async def work(run: Run, targets: Targets | None) -> None:
        checked = await make_draft(run, targets, single=single)
        emit_drafted(run, checked, save_plan(checked))

    return await run_plan_only(choose_planner(settings), work)


async def run_discussion(
    settings: Settings, path: Path, question_text: str, on_answer: Callable[[str, CheckedDraft | None], None]
) -> int:
    """Ask the model about the plan. Only errors are printed besides."""
    draft = plan_files.load_draft(path)

    async def work(run: Run, _: Targets | None) -> None:
        on_answer(*await discuss_draft(run, draft, question_text))
        emit_drafted(run, CheckedDraft(draft), path)

    settings = settings.with_values(change=question_text, use_prd=False, prd="", decompose=True)
    return await run_plan_only(settings, work, quietly=True)


async def run_plan_only(
    settings: Settings, work: Callable[[Run, Targets | None], Awaitable[None]], *, quietly: bool = False
) -> int:
    before = await run_plan_preflight(settings)
    screen, screens = watch_progress(settings.with_values(quiet=settings.quiet or quietly))
    async with start_warmup(settings, works=False) as shop, open_run(before, shop, screens=screens) as run:
        failure = None
        try:
            async with screen.display(), enforce_deadline(run, "before the plan was made"):
                await work(run, before.targets)
        except BaseException as error:
            failure = error
        finished = finish_run(run, failure)
    if not quietly or finished.code:
        print_result(finished)
    return finished.code


def choose_planner(settings: Settings) -> Settings:
    """Let a model make the plan, unless the user gave the files, or there is a PRD and no key."""
    key = settings.strongest_variable(("GOOGLE_API_KEY", "GEMINI_API_KEY"))[0] or settings.api_key or settings.replay
    if settings.files or settings.assign:
        return settings.with_values(decompose=False)
    if not key and not settings.prd:
        raise MissingKey(NO_PLANNER)
    return settings.with_values(decompose=bool(key))


@dataclass(frozen=True)
class EditedPlan:
    settings: Settings
    repository: Repository
    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @cached_property
    def project(self) -> Project:
        return Project(self.settings, self.repository, asyncio.run(self.repository.entries()))

    def load(self) -> Draft:
        return plan_files.load_draft(self.path)

    def save(self, draft: Draft) -> None:
        plan_files.save_draft(self.path, draft)

    def check_with_repository(self, draft: Draft) -> CheckedDraft:
        return check_draft(draft, asyncio.run(survey_world(self.project, draft, self.load_prd(draft))))

    def load_prd(self, draft: Draft) -> Prd:
        root = self.repository.root
        path = prd_of_plan(self.name, draft.prd, root, committed=not is_users_plan(root, self.path))
        return prd_format.parse_prd(read_prd(Path(path))) if path else Prd("")

    def format_page(self, draft: Draft) -> str:
        """Return the plan as it would be executed, with the problems and corrections."""
        checked = self.check_with_repository(draft)
        if checked.problems:
            problems = ["", "It cannot be executed:", *indent_some(checked.problems)] if draft.unfinished else []
            lines = [plan_tree(checked.draft, {}), *problems]
        else:
            lines = self.page_with_estimate(draft, checked)
        lines += ["", "Corrected for execution:", *indent_some(checked.repairs)] if checked.repairs else []
        return "\n".join(lines)

    def page_with_estimate(self, draft: Draft, checked: CheckedDraft) -> list[str]:
        """Return the page with the estimate of each task and of all, and what to reconsider."""
        plan = asyncio.run(plan_from_draft(self.project, self.load_prd(draft), checked.draft))
        estimate = estimate_with_roles(self.project, plan)
        by_task = {task.name: each for task, each in zip(plan.tasks, estimate.tasks, strict=True)}
        weights = {name: sum(estimate.minutes) for name, estimate in by_task.items()}
        phrases = {name: estimate_phrase(estimate, brief=True) for name, estimate in by_task.items()}
        notes = ["", *(f"Consider: {note}" for note in plan.basis.notes)] if plan.basis.notes else []
        total = f"Estimate: {estimate_phrase(estimate)} ({plural(plan.agents, 'agent')} at once)"
        return [plan_tree(checked.draft, weights, phrases), total, *notes]

    def show(self, draft: Draft) -> None:
        print_plain(self.format_page(draft))


def indent_some(lines: tuple[str, ...]) -> list[str]:
    more = [f"  and {len(lines) - MAX_LINES} more"] if len(lines) > MAX_LINES else []
    return [*(f"  {line}" for line in lines[:MAX_LINES]), *more]


def open_plan(settings: Settings, name: str) -> EditedPlan:
    repository = asyncio.run(find_repository(settings))
    return EditedPlan(settings, repository, plan_files.find_plan_file(repository.root, name))


class PlanEditor:
    """An edited plan with the states before each change."""

    def __init__(self, plan: EditedPlan) -> None:
        self.plan = plan
        self.draft = plan.load()
        self.undo_steps: list[Draft] = []
        self.executes = False

    def execute_line(self, text: str) -> bool:
        """Execute one line. Return false if it ends the editor."""
        word, _, rest = text.partition(" ")
        if word in ("quit", "exit", "q"):
            return False
        if word in ("approve", "execute"):
            self.approve()
            self.executes = word == "execute"
            return False
        if word == "ask":
            self.ask_model(rest.strip())
        elif word in EDITS:
            self.edit(split_words(text))
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

    def edit(self, words: Sequence[str]) -> None:
        before = self.draft
        self.change_draft(edit_draft(before, words))
        if words[0] == "add" and (paths := ask_for_files(words[1])):
            self.draft = edit_draft(self.draft, ["files", words[1], *paths])  # one step for `undo`
            self.plan.save(self.draft)
        print_plain(draft_difference(before, self.draft))
        self.warn()

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

    def approve(self) -> None:
        if problem := self.plan.check_with_repository(self.draft).problem_text:
            raise PlanError(f"the plan cannot be executed: {problem}.")
        self.draft = dataclasses.replace(self.draft, approved=True)
        self.plan.save(self.draft)

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


def run_plan_editor(plan: EditedPlan, execute: Callable[[str], int]) -> int:
    """Edit the plan line by line. `execute` carries out the plan of a name and returns the exit code."""
    editor = PlanEditor(plan)
    editor.show()
    print_plain("\n`help` lists the commands. Every change is saved at once.")
    while True:
        try:
            text = read_edited_line("plan> ").strip()
            if text and not editor.execute_line(text):
                break
        except EOFError:
            print_plain("")
            break
        except KeyboardInterrupt:
            print_plain(f"\nStopped by Ctrl-C; the plan is saved. Go on: aider-orchestrator plan continue {plan.name}")
            return signal_exit_code(signal.SIGINT)
        except OrchestraError as error:
            print_plain(str(error))
    if editor.executes:
        return execute(plan.name)
    state = "approved. Carry it out" if editor.draft.approved else "saved, not approved. Go on"
    command = "execute" if editor.draft.approved else "plan continue"
    print_plain(f"The plan is {state}: aider-orchestrator {command} {plan.name}")
    return 0


def ask_for_files(id: str) -> list[str]:
    """Ask for the files of a new task, because one without files cannot be executed."""
    if not sys.stdin.isatty():
        return []
    return split_words(read_edited_line(f"Files of {id}, with blanks between them (Enter: none yet): "))


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
