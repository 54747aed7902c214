"""Before anything is paid: the repository, what is to be brought into worktrees, and the dry run."""

import json
from collections.abc import Mapping
from pathlib import Path

from orchestra.conduct.dividing import divide
from orchestra.conduct.job import extra_arguments
from orchestra.conduct.lead import plan_of
from orchestra.conduct.planning import prd_targets, read_prd, relative_patterns
from orchestra.conduct.roles import expected
from orchestra.conduct.run import chosen_model
from orchestra.conduct.secrets import Secrets
from orchestra.conduct.survey import by_mode
from orchestra.errors import PlanError
from orchestra.model import Prd
from orchestra.plan.check import Checked
from orchestra.plan.targets import Targets
from orchestra.prd import parse
from orchestra.report import planned
from orchestra.settings import Settings
from orchestra.workspace.repository import (
    Entry,
    Repository,
    clone,
    initialise,
    is_empty,
    open_repository,
    present,
)
from orchestra.workspace.trees import check_furniture


async def find_repository(settings: Settings, *, begin: bool = False) -> Repository:
    """The current directory's, or --repo: a path, or a URL that is cloned into the current directory first. An empty
    folder is a fine start: with `begin` it becomes a repository."""
    start = Path(settings.repo).absolute() if settings.repo else Path.cwd()
    if begin and is_empty(start):
        await initialise(start)
    if not settings.repo:
        return await open_repository(start)
    if ":" in settings.repo and not present(Path(settings.repo)):
        return await open_repository(await clone(settings.repo, Path.cwd()))
    return await open_repository(start)


def check_furnishing(settings: Settings, repository: Repository) -> None:
    extra_arguments(settings.aider_args)
    keys = Secrets.of(settings).values
    check_furniture(repository.root, settings.worktree_copy, settings.worktree_link, keys)


async def dry_run(
    settings: Settings,
    repository: Repository,
    entries: Mapping[str, Entry],
    targets: Targets | None,
    checked: Checked | None = None,
) -> int:
    """The plan and an estimate. Nobody is asked, so what only Gemini could say must be given."""
    model = chosen_model(settings)
    prd = parse(read_prd(Path(settings.prd))) if settings.prd else Prd("")
    if checked is not None:
        targets = Targets(())
        plan = await plan_of(settings, repository, entries, prd, checked.draft, model.context)
    else:
        targets = targets or prd_only(settings, prd, entries)
        plan = await divide(settings, repository, entries, prd, targets, model.context)
    found = expected(settings, plan, model, entries)
    left_out = {
        "Aider cannot edit them": targets.skipped,
        "tools made them (say them one by one to take them)": targets.aside,
        "git ignores them": await ignored(settings, repository),
    }
    if settings.json:
        print(json.dumps(planned.record(plan, model.name, found, left_out), indent=2))
    else:
        print(planned.page(plan, model.name, found, left_out))
    return 0


def prd_only(settings: Settings, prd: Prd, entries: Mapping[str, Entry]) -> Targets:
    if not settings.prd:
        raise PlanError("A dry run asks nobody: say which files to change with --files, or give a --prd.")
    return prd_targets(prd, by_mode(entries))


async def ignored(settings: Settings, repository: Repository) -> list[str]:
    """What lies in the folders that were named, and is none of git's."""
    folders = [
        path
        for path in relative_patterns(settings, repository.root, Path.cwd())
        if repository.look_at(path) == "folder"
    ]
    return await repository.ignored_under(folders)
