"""One plan on the desk: its file, the repository that it is checked against, and how it looks."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from orchestra import prd as prd_format
from orchestra.cli.words import say
from orchestra.conduct import drafts
from orchestra.conduct.lead import world_of
from orchestra.conduct.planning import read_prd
from orchestra.conduct.run import chosen_model
from orchestra.conduct.start import find_repository
from orchestra.model import Prd
from orchestra.plan.check import Checked, check
from orchestra.plan.draft import Draft, Item
from orchestra.report.tree import tree
from orchestra.settings import Settings
from orchestra.workspace.repository import Entry, Repository, present

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
        path = self.repository.root / draft.prd
        return prd_format.parse(read_prd(path)) if draft.prd and present(path) else Prd("")

    def page(self, draft: Draft) -> str:
        """The plan as it would be carried out, what was put right for that, and what stands in its way."""
        checked = self.checked(draft)
        weights = {item.id: self.weight(item, checked) for item in checked.draft.task}
        lines = [tree(checked.draft, weights)]
        lines += ["", "Put right when it is carried out:", *some(checked.repairs)] if checked.repairs else []
        wrong = checked.problems if draft.left else ()  # nothing left is nothing wrong
        lines += ["", "It cannot be carried out:", *some(wrong)] if wrong else []
        return "\n".join(lines)

    def weight(self, item: Item, checked: Checked) -> float:
        tracked = {path: entry.size for path, entry in self.entries.items() if path in item.files}
        return sum(tracked.values()) + 500.0

    def show(self, draft: Draft) -> None:
        say(self.page(draft))


def some(said: tuple[str, ...]) -> list[str]:
    more = [f"  and {len(said) - MOST} more"] if len(said) > MOST else []
    return [*(f"  {one}" for one in said[:MOST]), *more]


def desk_for(settings: Settings, name: str) -> Desk:
    repository = asyncio.run(find_repository(settings))
    return Desk(settings, repository, drafts.place(repository.root, name))
