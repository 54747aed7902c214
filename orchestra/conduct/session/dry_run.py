"""The dry run: the plan and what it would cost, and nobody is asked."""

import json
from collections.abc import Mapping
from pathlib import Path

from orchestra.answers.prd_format import parse_prd
from orchestra.conduct.core.models import chosen_model
from orchestra.conduct.core.permits import is_users_plan, permit_from_settings
from orchestra.conduct.planning.divide import plan_by_division
from orchestra.conduct.planning.lead import allow_draft, plan_from_draft
from orchestra.conduct.planning.plan_files import find_plan_file
from orchestra.conduct.planning.prd import prd_targets, read_prd, relative_patterns
from orchestra.conduct.planning.roles import estimate_with_roles
from orchestra.conduct.planning.survey import classify_by_mode
from orchestra.conduct.session.preflight import Preflight
from orchestra.errors import PlanError
from orchestra.model import Plan, Prd
from orchestra.plan.targets import PROTECTED, Targets
from orchestra.report.plans import preview
from orchestra.settings import Settings
from orchestra.workspace.repository import Entry, Repository


async def print_dry_run(preflight: Preflight) -> int:
    """What only Gemini could say must be given."""
    settings = preflight.settings
    model = chosen_model(settings)
    targets, plan = await plan_dry_run(preflight, model.context)
    found = estimate_with_roles(settings, plan, model, preflight.entries)
    left_out = {
        "Aider cannot edit them": targets.skipped,
        "tools made them (say them one by one to take them)": targets.aside,
        f"they {PROTECTED} (name them one by one to take them)": targets.protected,
        "git ignores them": await find_ignored_files(settings, preflight.repository),
    }
    if settings.json:
        print(json.dumps(preview.preview_record(plan, model.name, found, left_out), indent=2))
    else:
        print(preview.preview_page(plan, model.name, found, left_out))
    return 0


async def plan_dry_run(preflight: Preflight, context: int | None) -> tuple[Targets, Plan]:
    settings, repository, entries = preflight.settings, preflight.repository, preflight.entries
    prd = parse_prd(read_prd(Path(settings.prd))) if settings.prd else Prd("")
    if preflight.draft is not None:
        mine = is_users_plan(repository.root, find_plan_file(repository.root, settings.plan))
        allowed = allow_draft(preflight.draft.draft, settings, entries, by_person=mine)
        plan = await plan_from_draft(settings, repository, entries, prd, allowed.draft, context)
        return Targets((), protected=allowed.left_out), plan
    targets = preflight.targets or dry_run_targets(settings, prd, entries)
    return targets, await plan_by_division(settings, repository, entries, prd, targets, context)


def dry_run_targets(settings: Settings, prd: Prd, entries: Mapping[str, Entry]) -> Targets:
    if not settings.prd:
        raise PlanError("A dry run asks nobody: say which files to change with --files, or give a --prd.")
    return prd_targets(prd, classify_by_mode(entries), permit_from_settings(settings, entries))


async def find_ignored_files(settings: Settings, repository: Repository) -> list[str]:
    """What lies in the folders that were named, and is none of git's."""
    folders = [
        path
        for path in relative_patterns(settings, repository.root, Path.cwd())
        if repository.entry_kind(path) == "folder"
    ]
    return await repository.ignored_paths(folders)
