"""One plan on the desk: its file, the repository that it is checked against, and how it looks."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from orchestra.answers import prd as prd_format
from orchestra.cli.words import say
from orchestra.conduct.core.models import chosen_model
from orchestra.conduct.core.permits import is_persons_plan
from orchestra.conduct.planning import plan_files as drafts
from orchestra.conduct.planning.lead import plan_of, prd_of_plan, world_of
from orchestra.conduct.planning.prd import read_prd
from orchestra.conduct.planning.roles import expected
from orchestra.conduct.session.clone import find_repository
from orchestra.model import Prd
from orchestra.plan.check import Checked, check
from orchestra.plan.draft import Draft
from orchestra.report.plans.estimate import in_words
from orchestra.report.plans.tree import tree
from orchestra.report.sentence import plural
from orchestra.settings import Settings
from orchestra.workspace.repository import Entry, Repository

MOST = 12  # repairs that are said


@dataclass(frozen=True)
class Desk:
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
        return drafts.load(self.path)

    def save(self, draft: Draft) -> None:
        drafts.save(self.path, draft)

    def checked(self, draft: Draft) -> Checked:
        context = chosen_model(self.settings).context
        prd = self.prd(draft)
        seen = asyncio.run(world_of(self.settings, self.repository, self.entries, draft, prd, context))
        return check(draft, seen)

    def prd(self, draft: Draft) -> Prd:
        root = self.repository.root
        path = prd_of_plan(self.name, draft.prd, root, committed=not is_persons_plan(root, self.path))
        return prd_format.parse(read_prd(Path(path))) if path else Prd("")

    def page(self, draft: Draft) -> str:
        """The plan as it would be carried out, what was put right for that, and what stands in its way."""
        checked = self.checked(draft)
        if checked.problems:
            wrong = ["", "It cannot be carried out:", *some(checked.problems)] if draft.left else []
            lines = [tree(checked.draft, {}), *wrong]
        else:
            lines = self.estimated(draft, checked)
        lines += ["", "Put right when it is carried out:", *some(checked.repairs)] if checked.repairs else []
        return "\n".join(lines)

    def estimated(self, draft: Draft, checked: Checked) -> list[str]:
        """With what each task and all of them are thought to cost, and what a lead would look at again."""
        model = chosen_model(self.settings)
        about = self.settings, self.repository, self.entries, self.prd(draft), checked.draft, model.context
        plan = asyncio.run(plan_of(*about))
        found = expected(self.settings, plan, model, self.entries)
        each = {task.name: found.tasks[task.id] for task in plan.tasks}
        weights = {name: sum(one.minutes) for name, one in each.items()}
        page = tree(checked.draft, weights, {name: in_words(one, brief=True) for name, one in each.items()})
        notes = ["", *(f"Consider: {note}" for note in plan.basis.notes)] if plan.basis.notes else []
        return [page, f"Estimate: {in_words(found)} ({plural(plan.agents, 'agent')} at once)", *notes]

    def show(self, draft: Draft) -> None:
        say(self.page(draft))


def some(said: tuple[str, ...]) -> list[str]:
    more = [f"  and {len(said) - MOST} more"] if len(said) > MOST else []
    return [*(f"  {one}" for one in said[:MOST]), *more]


def desk_for(settings: Settings, name: str) -> Desk:
    repository = asyncio.run(find_repository(settings))
    return Desk(settings, repository, drafts.place(repository.root, name))
