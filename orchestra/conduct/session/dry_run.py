"""The dry run: the plan and what it would cost, and nobody is asked."""

import json
from collections.abc import Mapping
from pathlib import Path

from orchestra.answers.prd import parse
from orchestra.conduct.core.models import chosen_model
from orchestra.conduct.core.permits import early_permit, is_persons_plan
from orchestra.conduct.planning.divide import divide
from orchestra.conduct.planning.lead import allow, plan_of
from orchestra.conduct.planning.plan_files import place
from orchestra.conduct.planning.prd import prd_targets, read_prd, relative_patterns
from orchestra.conduct.planning.roles import expected
from orchestra.conduct.planning.survey import by_mode
from orchestra.conduct.session.preflight import Before
from orchestra.errors import PlanError
from orchestra.model import Plan, Prd
from orchestra.plan.targets import PROTECTED, Targets
from orchestra.report.plans import planned
from orchestra.settings import Settings
from orchestra.workspace.repository import Entry, Repository


async def dry_run(before: Before) -> int:
    """What only Gemini could say must be given."""
    settings = before.settings
    model = chosen_model(settings)
    targets, plan = await planned_work(before, model.context)
    found = expected(settings, plan, model, before.entries)
    left_out = {
        "Aider cannot edit them": targets.skipped,
        "tools made them (say them one by one to take them)": targets.aside,
        f"they {PROTECTED} (name them one by one to take them)": targets.protected,
        "git ignores them": await ignored(settings, before.repository),
    }
    if settings.json:
        print(json.dumps(planned.record(plan, model.name, found, left_out), indent=2))
    else:
        print(planned.page(plan, model.name, found, left_out))
    return 0


async def planned_work(before: Before, context: int | None) -> tuple[Targets, Plan]:
    settings, repository, entries = before.settings, before.repository, before.entries
    prd = parse(read_prd(Path(settings.prd))) if settings.prd else Prd("")
    if before.draft is not None:
        mine = is_persons_plan(repository.root, place(repository.root, settings.plan))
        allowed = allow(before.draft.draft, settings, entries, by_person=mine)
        plan = await plan_of(settings, repository, entries, prd, allowed.draft, context)
        return Targets((), protected=allowed.left_out), plan
    targets = before.targets or prd_only(settings, prd, entries)
    return targets, await divide(settings, repository, entries, prd, targets, context)


def prd_only(settings: Settings, prd: Prd, entries: Mapping[str, Entry]) -> Targets:
    if not settings.prd:
        raise PlanError("A dry run asks nobody: say which files to change with --files, or give a --prd.")
    return prd_targets(prd, by_mode(entries), early_permit(settings, entries))


async def ignored(settings: Settings, repository: Repository) -> list[str]:
    """What lies in the folders that were named, and is none of git's."""
    folders = [
        path
        for path in relative_patterns(settings, repository.root, Path.cwd())
        if repository.look_at(path) == "folder"
    ]
    return await repository.ignored_under(folders)
