"""A plan that is edited: its file, its check against the repository, and its page."""

import asyncio
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from orchestra.answers import prd_format
from orchestra.cli.command_io import print_plain
from orchestra.conduct.core.locations import find_repository
from orchestra.conduct.core.models import Project, estimate_with_roles
from orchestra.conduct.planning import plan_files
from orchestra.conduct.planning.lead import plan_from_draft, prd_of_plan, survey_world
from orchestra.conduct.planning.plan_files import is_users_plan
from orchestra.conduct.planning.prd import read_prd
from orchestra.model import Prd
from orchestra.plan.check import CheckedDraft, check_draft
from orchestra.plan.draft import Draft
from orchestra.report.phrases import plural
from orchestra.report.plans.estimate import estimate_phrase
from orchestra.report.plans.plan_tree import plan_tree
from orchestra.settings import Settings
from orchestra.workspace.repository import Repository

MAX_LINES = 12


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
        prd = self.load_prd(draft)
        return check_draft(draft, asyncio.run(survey_world(self.project, draft, prd)))

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
        by_task = {task.name: estimate.tasks[task.id] for task in plan.tasks}
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
