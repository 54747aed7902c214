"""One plan on the desk: its file, the repository that it is checked against, and how it looks."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from orchestra.answers import prd_format
from orchestra.cli.command_io import print_plain
from orchestra.conduct.core.models import chosen_model
from orchestra.conduct.core.permits import is_users_plan
from orchestra.conduct.planning import plan_files as drafts
from orchestra.conduct.planning.lead import plan_from_draft, prd_of_plan, survey_world
from orchestra.conduct.planning.prd import read_prd
from orchestra.conduct.planning.roles import estimate_with_roles
from orchestra.conduct.session.clone import find_repository
from orchestra.model import Prd
from orchestra.plan.check import CheckedDraft, check_draft
from orchestra.plan.draft import Draft
from orchestra.report.phrases import plural
from orchestra.report.plans.estimate import estimate_phrase
from orchestra.report.plans.plan_tree import plan_tree
from orchestra.settings import Settings
from orchestra.workspace.repository import Entry, Repository

MOST = 12  # repairs that are said


@dataclass(frozen=True)
class EditedPlan:
    settings: Settings
    repository: Repository
    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @cached_property
    def entries(self) -> Mapping[str, Entry]:
        return asyncio.run(self.repository.entries())

    def load(self) -> Draft:
        return drafts.load_draft(self.path)

    def save(self, draft: Draft) -> None:
        drafts.save_draft(self.path, draft)

    def check_with_repository(self, draft: Draft) -> CheckedDraft:
        context = chosen_model(self.settings).context
        prd = self.load_prd(draft)
        seen = asyncio.run(survey_world(self.settings, self.repository, self.entries, draft, prd, context))
        return check_draft(draft, seen)

    def load_prd(self, draft: Draft) -> Prd:
        root = self.repository.root
        path = prd_of_plan(self.name, draft.prd, root, committed=not is_users_plan(root, self.path))
        return prd_format.parse_prd(read_prd(Path(path))) if path else Prd("")

    def format_page(self, draft: Draft) -> str:
        """The plan as it would be carried out, what was put right for that, and what stands in its way."""
        checked = self.check_with_repository(draft)
        if checked.problems:
            wrong = ["", "It cannot be carried out:", *indent_some(checked.problems)] if draft.unfinished else []
            lines = [plan_tree(checked.draft, {}), *wrong]
        else:
            lines = self.page_with_estimate(draft, checked)
        lines += ["", "Put right when it is carried out:", *indent_some(checked.repairs)] if checked.repairs else []
        return "\n".join(lines)

    def page_with_estimate(self, draft: Draft, checked: CheckedDraft) -> list[str]:
        """With what each task and all of them are thought to cost, and what a lead would look at again."""
        model = chosen_model(self.settings)
        about = self.settings, self.repository, self.entries, self.load_prd(draft), checked.draft, model.context
        plan = asyncio.run(plan_from_draft(*about))
        found = estimate_with_roles(self.settings, plan, model, self.entries)
        each = {task.name: found.tasks[task.id] for task in plan.tasks}
        weights = {name: sum(one.minutes) for name, one in each.items()}
        page = plan_tree(checked.draft, weights, {name: estimate_phrase(one, brief=True) for name, one in each.items()})
        notes = ["", *(f"Consider: {note}" for note in plan.basis.notes)] if plan.basis.notes else []
        return [page, f"Estimate: {estimate_phrase(found)} ({plural(plan.agents, 'agent')} at once)", *notes]

    def show(self, draft: Draft) -> None:
        print_plain(self.format_page(draft))


def indent_some(said: tuple[str, ...]) -> list[str]:
    more = [f"  and {len(said) - MOST} more"] if len(said) > MOST else []
    return [*(f"  {one}" for one in said[:MOST]), *more]


def open_plan(settings: Settings, name: str) -> EditedPlan:
    repository = asyncio.run(find_repository(settings))
    return EditedPlan(settings, repository, drafts.find_plan_file(repository.root, name))
