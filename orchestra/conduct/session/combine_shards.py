"""Begin the run of `combine`, or that of a shard whose earlier work is in an archive."""

import dataclasses
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestra import events
from orchestra.answers import prd_format
from orchestra.conduct.core.locations import BRANCHES, LOGS, find_repository
from orchestra.conduct.core.models import Project
from orchestra.conduct.planning import plan_files
from orchestra.conduct.planning.lead import (
    allow_draft,
    check_plan,
    keep_shard,
    load_plan_settings,
    plan_facts,
    plan_from_draft,
)
from orchestra.conduct.planning.prd import plan_made_event, prd_written_event
from orchestra.conduct.planning.shard_plan import check_cut, start_at_base
from orchestra.conduct.session.shard_archives import begin_from_archives, read_shard_archives
from orchestra.errors import PlanError, UsageError
from orchestra.events import Payload
from orchestra.journal.jsonl import prepare_log_folder
from orchestra.model import Prd
from orchestra.plan.draft import sharded_draft
from orchestra.plan.shards import Shards
from orchestra.settings import Settings
from orchestra.workspace.merge import free_namespace

LEAST_BUDGET = 0.01  # dollars; 0 would be no limit


@dataclass(frozen=True)
class GatheredRun:
    """A run that begins with what archives hold. `notes` name the archives that are not used or missing."""

    settings: Settings
    stamp: str
    notes: tuple[str, ...]


async def gather_shards(settings: Settings, paths: Sequence[Path]) -> GatheredRun:
    """Begin a run of the whole plan, or of --shard, with what the archives hold."""
    repository = await find_repository(settings)
    settings, draft = load_plan_settings(settings, repository.root)
    if draft is None:
        raise PlanError("no plan was given.")
    check_cut(settings.plan, draft)
    shards, draft = draft.shards, sharded_draft(draft)
    repository = await start_at_base(repository, draft)
    project = Project(settings, repository, await repository.entries())
    checked = await check_plan(project, draft)
    path = plan_files.find_plan_file(repository.root, settings.plan)
    allowed = allow_draft(project, checked.draft, by_person=plan_files.is_users_plan(repository.root, path))
    written = [prd_written_event(settings, repository.root)] if settings.prd else []
    prd = prd_format.parse_prd(written[0].text) if written else Prd("")
    plan = await plan_from_draft(project, prd, allowed.draft)
    prepare_log_folder(repository.root / LOGS)
    with tempfile.TemporaryDirectory(prefix="aider-orchestrator-") as folder:
        archives = read_shard_archives(paths, shards, plan, Path(folder))
        if not archives.used:
            raise UsageError(f"no archive can be used. {' '.join(archives.refused)}".rstrip())
        if not settings.shard:
            settings = limit_to_rest(settings, shards, archives.used)
            project = dataclasses.replace(project, settings=settings)
        namespace = await free_namespace(repository.git, BRANCHES)
        mine = keep_shard(settings, allowed.draft, plan) if settings.shard else plan
        made = plan_made_event(project, mine, **plan_facts(project, allowed, path, tuple(checked.repairs)))
        prepared: list[Payload] = [run_started_event(project, namespace), *written, made]
        stamp, notes = await begin_from_archives(project, prepared, mine, shards, archives, namespace)
    return GatheredRun(settings, stamp, notes)


def limit_to_rest(settings: Settings, shards: Shards, known: Collection[int]) -> Settings:
    """Return the settings with the plan's budget, without what shards that have no archive may have spent. What the
    others spent counts when the run begins. A --budget given now is another one for the whole plan."""
    if not shards.budget or settings.source_of("budget") == "flag":
        return settings
    lost = sum(shard.budget for number, shard in enumerate(shards.shard, start=1) if number not in known)
    return settings.with_values(budget=max(round(shards.budget - lost, 6), LEAST_BUDGET))


def run_started_event(project: Project, namespace: str) -> events.RunStarted:
    repository, settings = project.repository, project.settings
    return events.RunStarted(
        change=settings.change,
        options=settings.recorded_values(),
        folder="",
        pid=0,
        namespace=namespace,
        unborn=False,
        repository=str(repository.root),
        branch=repository.branch,
        base=repository.base,
        model=project.model.name,
        provider=project.model.provider.name,
    )
