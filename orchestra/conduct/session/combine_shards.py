"""Begin the run of `combine`, or that of a shard whose earlier work is in an archive."""

import dataclasses
import os
import tempfile
from collections.abc import Sequence
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
from orchestra.conduct.session.shard_archives import begin_from_archives, fetch_shards, read_shard_archives
from orchestra.conduct.session.shard_money import earlier_logs, limit_to_rest
from orchestra.errors import PlanError, UsageError
from orchestra.events import Payload
from orchestra.journal.jsonl import create_run_log, prepare_log_folder
from orchestra.model import Prd
from orchestra.plan.draft import sharded_draft
from orchestra.settings import Settings
from orchestra.workspace.merge import free_namespace


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
        if not archives.by_shard:
            raise UsageError(f"no archive can be used. {' '.join(archives.refused)}".rstrip())
        namespace = await free_namespace(repository.git, BRANCHES)
        mine = keep_shard(settings, allowed.draft, plan) if settings.shard else plan
        facts = plan_facts(project, allowed, path, tuple(checked.repairs)) | {"cut": shards.digest}
        made = plan_made_event(project, mine, **facts)
        earlier = list(earlier_logs(repository.root / LOGS, shards.digest, settings.shard))
        stamp = create_stamp(repository.root / LOGS)
        fetched = await fetch_shards(project, made, stamp, mine, shards, archives)
        settings = limit_to_rest(settings, shards, fetched, earlier)
        project = dataclasses.replace(project, settings=settings)
        prepared: list[Payload] = [run_started_event(project, namespace), *written, made]
        notes = await begin_from_archives(project, prepared, stamp, mine, shards, fetched)
    return GatheredRun(settings, stamp, notes)


def create_stamp(logs: Path) -> str:
    stamp, file = create_run_log(logs)
    os.close(file)
    return stamp


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
