"""The dry run: print the plan and its cost without asking any model."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from orchestra.answers.prd_format import parse_prd
from orchestra.conduct.core.house_rules import read_house_rules
from orchestra.conduct.core.models import estimate_with_roles
from orchestra.conduct.planning.divide import plan_by_division
from orchestra.conduct.planning.lead import allow_draft, plan_from_draft
from orchestra.conduct.planning.plan_files import find_plan_file, is_users_plan
from orchestra.conduct.planning.prd import prd_targets, read_prd, relative_patterns
from orchestra.conduct.planning.survey import classify_by_mode
from orchestra.conduct.session.preflight import Preflight
from orchestra.errors import PlanError
from orchestra.model import Plan, Prd
from orchestra.plan.targets import PROTECTED, Targets
from orchestra.report.plans import preview


async def print_dry_run(preflight: Preflight, print_text: Callable[[str], None]) -> int:
    """Print the dry run. What only Gemini could decide must be given."""
    settings, repository, model = preflight.settings, preflight.repository, preflight.model
    targets, plan = await plan_dry_run(preflight)
    notes = filter(None, [preflight.dirty_note(plan.owners), *preflight.notes])
    plan = replace(plan, basis=replace(plan.basis, notes=(*plan.basis.notes, *notes)))
    found = estimate_with_roles(preflight, plan)
    patterns = relative_patterns(settings, repository.root)
    named_folders = [path for path in patterns if repository.entry_kind(path) == "folder"]
    left_out = {
        "Aider cannot edit them": targets.skipped,
        "made by tools (name them one by one to include them)": targets.aside,
        f"they {PROTECTED} (name them one by one to include them)": targets.protected,
        "git ignores them": await repository.ignored_paths(named_folders),
    }
    rules = list(await read_house_rules(preflight, [path for task in plan.tasks for path in task.paths]))
    if settings.json:
        record = preview.preview_record(plan, model.name, found, left_out)
        print(json.dumps(record | {"house_rules": rules}, indent=2))
    else:
        print_text(preview.preview_page(plan, model.name, found, left_out, rules))
    return 0


async def plan_dry_run(preflight: Preflight) -> tuple[Targets, Plan]:
    settings, root = preflight.settings, preflight.repository.root
    prd = parse_prd(read_prd(Path(settings.prd))) if settings.prd else Prd("")
    if preflight.draft is not None:
        mine = is_users_plan(root, find_plan_file(root, settings.plan))
        allowed = allow_draft(preflight, preflight.draft.draft, by_person=mine)
        return Targets((), protected=allowed.left_out), await plan_from_draft(preflight, prd, allowed.draft)
    if not (preflight.targets or settings.prd):
        raise PlanError("A dry run asks no model: give --files or --prd.")
    targets = preflight.targets or prd_targets(preflight, prd, classify_by_mode(preflight.entries))
    return targets, await plan_by_division(preflight, prd, targets)
