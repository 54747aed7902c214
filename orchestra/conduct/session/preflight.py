"""Preflight: check everything that can be checked for free before a run begins. Every problem is one sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestra.conduct.core.models import chosen_model, critic_model
from orchestra.conduct.core.money import check_prices
from orchestra.conduct.deliver.handover import check_handover
from orchestra.conduct.planning.lead import check_plan, lead_model, load_plan_settings
from orchestra.conduct.planning.prd import check_prd_source, chosen_targets
from orchestra.conduct.planning.roles import check_roles
from orchestra.conduct.previous.sessions import PreviousSessions
from orchestra.conduct.session.clone import check_disk_space, check_worktree_setup, find_repository
from orchestra.conduct.session.replay import with_recording
from orchestra.errors import UsageError
from orchestra.gateway.recording import Recording
from orchestra.hosts.isolation import check_sandbox
from orchestra.plan.check import CheckedDraft
from orchestra.plan.targets import Targets
from orchestra.settings import Settings
from orchestra.workspace.repository import Entry, Repository, check_writable


@dataclass(frozen=True)
class Preflight:
    """What the run is about. `targets` are the files that the user named, `draft` is the content of a plan's file."""

    settings: Settings
    recording: Recording | None
    repository: Repository
    entries: Mapping[str, Entry]
    targets: Targets | None = None
    draft: CheckedDraft | None = None


async def run_preflight(settings: Settings, previous: PreviousSessions | None) -> Preflight:
    settings, tape = with_recording(settings)
    if not (settings.change or settings.plan):
        raise UsageError("Give the change with --change TEXT (or @FILE, or - for stdin).")
    repository = await find_repository(settings, begin=not (settings.dry_run or settings.files or settings.assign))
    if previous is not None:
        repository = previous.restore_repository(repository)
    entries = await repository.entries()
    if previous is not None and previous.plan is not None:
        preflight = Preflight(settings, tape, repository, entries)
    else:
        preflight = await preflight_new_work(settings, tape, repository, entries)
    await check_preflight(preflight, previous)
    return preflight


async def run_plan_preflight(settings: Settings) -> Preflight:
    """Run the preflight for a run that only plans: no agent works."""
    settings, tape = with_recording(settings)
    repository = await find_repository(settings, begin=not settings.files)
    entries = await repository.entries()
    targets = await chosen_targets(settings, repository, entries, Path.cwd())
    check_prd_source(settings, replayed=tape is not None)
    if tape is None and settings.decompose:
        check_prices(settings, lead_model(settings), asks_gemini=settings.use_prd and not settings.prd)
    return Preflight(settings, tape, repository, entries, targets)


async def preflight_new_work(
    settings: Settings, recording: Recording | None, repository: Repository, entries: Mapping[str, Entry]
) -> Preflight:
    settings, draft = load_plan_settings(settings, repository.root)
    if draft is not None:
        checked = await check_plan(settings, repository, entries, draft)
        return Preflight(settings, recording, repository, entries, draft=checked)
    targets = await chosen_targets(settings, repository, entries, Path.cwd())
    return Preflight(settings, recording, repository, entries, targets)


async def check_preflight(preflight: Preflight, previous: PreviousSessions | None) -> None:
    settings, replayed = preflight.settings, preflight.recording is not None
    check_worktree_setup(settings, preflight.repository)
    await check_sandbox(settings)
    if not settings.dry_run:
        await check_writable(preflight.repository.git)
        await check_disk_space(preflight.repository, preflight.entries)
    await check_handover(settings, preflight.repository, previous.report if previous else None)
    has_prd = previous is not None and previous.prd is not None
    if not replayed:
        asks_gemini = settings.use_prd and not settings.prd and not has_prd
        check_prices(settings, chosen_model(settings), critic_model(settings), asks_gemini=asks_gemini)
    tasks = (
        preflight.draft.draft.unfinished
        if preflight.draft
        else previous.plan.tasks
        if previous and previous.plan
        else ()
    )
    check_roles(settings, [task.role for task in tasks], replayed=replayed)
    if not (settings.dry_run or has_prd):
        check_prd_source(settings, replayed=replayed)
